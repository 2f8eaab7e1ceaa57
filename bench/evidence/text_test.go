package evidence

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestHostText(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "mlx5.txtar", mlx5()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Kernel = "Linux 6.8.0-45-generic amd64" // whatever it was tested on
	var out bytes.Buffer
	if err := h.Text(&out); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/mlx5.text")
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSampleText(t *testing.T) {
	t.Parallel()
	s := Sample{
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 2 * time.Second,
		Cores:      []Core{{ID: 0, User: .25, Idle: .75}, {ID: 1, System: .5, SoftIRQ: .4, Steal: .05, Idle: .05}},
		Interfaces: []Traffic{{Name: "eth0", RXBytes: 250e6, RXPackets: 200_000, TXBytes: 1000, TXPackets: 10, RXMissed: 7, Share: .5}},
		Qdiscs:     []QdiscTraffic{{Interface: "eth0", Kind: "tbf", Handle: "1:", Overlimits: 3, Backlog: 1500}, {Interface: "eth0", Kind: "mq"}},
		Network:    Network{Segments: 10, Retransmits: 2},
		Processes:  []Process{{Role: "gateway", Cores: 1.5, RSSKiB: 2048, Threads: 9, Files: 12}},
		Gaps:       []Gap{{What: "eth1: counters", Why: "it is gone"}},
	}
	const want = `03:04:05      1.20 of 2 cores busy; core 1 most, 95 %, softirq 40 %; 0.05 stolen
  eth0        rx 1 Gbit/s 100000 packets/s, tx 4 kbit/s 5 packets/s, 50.0 % of the line, 7 missed
  eth0        tbf 1:, 3 over its limit, 1500 bytes waiting
  network     2 retransmits
  gateway     1.50 cores, 2.0 MiB, 9 threads, 12 files

not read
  eth1: counters: it is gone
`
	var out bytes.Buffer
	if err := s.Text(&out); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}

// A name that would move a terminal's cursor, or turn its text round, is shown as what
// it is.
func TestTextIsPlain(t *testing.T) {
	t.Parallel()
	const nasty = "eth\x1b[2J\u202e"
	h := Host{
		Name: nasty, CPU: nasty, Governor: nasty, Gaps: []Gap{{What: nasty, Why: nasty}},
		Interfaces: []Interface{{Name: nasty, Kind: "physical", Driver: nasty, Firmware: nasty, Qdiscs: []Qdisc{{Kind: nasty}}, Interrupts: []Interrupt{{Cores: nasty}}}},
	}
	s := Sample{Took: time.Second, Interfaces: []Traffic{{Name: nasty}}, Processes: []Process{{Role: nasty}}, Qdiscs: []QdiscTraffic{{Interface: nasty, Kind: nasty, Drops: 1}}}
	a := Advice{Interface: nasty, Finding: nasty, Command: nasty}
	for _, text := range []func(io.Writer) error{h.Text, s.Text, a.Text} {
		var out bytes.Buffer
		if err := text(&out); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(out.String(), "\x1b\u202e") || !strings.Contains(out.String(), `\x1b`) {
			t.Errorf("%q", out.String())
		}
	}
}

func TestTextSaysWhenItCannotWrite(t *testing.T) {
	t.Parallel()
	for _, text := range []func(io.Writer) error{Host{}.Text, Sample{}.Text, Advice{}.Text} {
		if err := text(full{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%v", err)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestRate(t *testing.T) {
	t.Parallel()
	for bits, want := range map[uint64]string{0: "0 bit/s", 999: "999 bit/s", 1500: "1.5 kbit/s", 999_999_999: "999.99 Mbit/s", 1e9: "1 Gbit/s", 1e11: "100 Gbit/s"} {
		if got := rate(bits); got != want {
			t.Errorf("%d: %s, want %s", bits, got, want)
		}
	}
}
