package evidence

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const procStat = "%d (gate way) %s 1 7 7 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 12 0 %d 1000 200"

// sampled is a sampler of a laid out host with one process, and a clock that moves by
// two seconds a sample.
func sampled(t *testing.T, k *made) *Sampler {
	t.Helper()
	p := lay(t, "mlx5.txtar", k)
	for file, text := range map[string]string{
		"stat": "cpu0 100 0 0 900 0 0 0 0", "net/softnet_stat": "1 2 3", "net/netstat": "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 2",
		"net/snmp": "Tcp: OutSegs RetransSegs\nTcp: 1 1\nUdp: RcvbufErrors SndbufErrors\nUdp: 1 1",
		"77/stat":  fmt.Sprintf(procStat, 77, "S", 5000), "77/smaps_rollup": "[rollup]\nRss:  2048 kB\n", "77/statm": "1 2 3", "77/fd/0": "", "77/fd/1": "",
		"77/status": "Name:\tgate way\nCpus_allowed_list:\t2-3,7\n",
	} {
		put(t, p.proc("%s", file), text)
	}
	k.spent = map[int]time.Duration{77: time.Hour}
	now := time.Unix(0, 0)
	return &Sampler{
		place: p, watched: []Watched{{"gateway", 77}}, born: make([]uint64, 1),
		now: func() time.Time { now = now.Add(2 * time.Second); return now },
	}
}

func sample(t *testing.T, s *Sampler) Sample {
	t.Helper()
	got, err := s.Sample()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFirstSampleIsBase(t *testing.T) {
	t.Parallel()
	s := sampled(t, mlx5())
	first := sample(t, s)
	if first.Took != 0 || first.Cores != nil || first.MemoryFree != 65536000 || first.Network.ConntrackMax != 1000 {
		t.Errorf("%+v", first)
	}
	for _, in := range first.Interfaces {
		if in.RXBytes != 0 || in.Share != 0 || in.Driver != nil {
			t.Errorf("%+v", in)
		}
	}
	if p := first.Processes[0]; p.Cores != 0 || p.RSSKiB != 2048 || p.Threads != 12 || p.Allowed != 3 {
		t.Errorf("%+v", p)
	}
}

func TestSampleOfProcess(t *testing.T) {
	t.Parallel()
	k := mlx5()
	s := sampled(t, k)
	sample(t, s)
	k.spent[77] += 3 * time.Second
	put(t, s.proc("stat"), "cpu0 200 0 0 1000 0 0 0 0")
	got := sample(t, s)
	if got.Took != 2*time.Second || got.Processes[0].Cores != 1.5 || got.Cores[0].User != .5 || got.Cores[0].MHz != 3600 {
		t.Errorf("took %v, %+v, %+v", got.Took, got.Processes, got.Cores)
	}
}

// A process that ended is a gap for good, and nobody else's time is counted as its own
// when its number goes to another.
func TestProcessEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"a zombie": fmt.Sprintf(procStat, 77, "Z", 5000), "another": fmt.Sprintf(procStat, 77, "R", 5001),
	} {
		k := mlx5()
		s := sampled(t, k)
		sample(t, s)
		put(t, s.proc("77/stat"), end)
		for range 2 {
			k.spent[77] += time.Second
			got := sample(t, s)
			if len(got.Processes) != 0 || gapOf(got.Gaps, "gateway (process 77): all of it") != "the process has ended" {
				t.Errorf("%s: %+v, gaps %v", name, got.Processes, got.Gaps)
			}
		}
	}
}

// The line is negotiated anew during a run: a share of the old rate would be a lie.
func TestSpeedChanges(t *testing.T) {
	t.Parallel()
	k := mlx5()
	s := sampled(t, k)
	sample(t, s)
	put(t, s.sys("class/net/ens1f0np0/speed"), "10000")
	k.linkList[1].counters = linkCounters{txBytes: 1e9}
	got := sample(t, s).Interfaces[1]
	if got.Share != 8e9/(2*10e9) {
		t.Errorf("share %v of 10 Gbit/s", got.Share)
	}
	k.linkList[1].counters.txBytes += 1e9
	k.linkList[1].up = false
	if got := sample(t, s).Interfaces[1]; got.Share != 0 || got.TXBytes != 1e9 {
		t.Errorf("down: %+v", got)
	}
}

// Only cards are asked for counters of their driver.
func TestDriverCounters(t *testing.T) {
	t.Parallel()
	k := mlx5()
	k.drivers["veth0"] = map[string]uint64{"peer_ifindex": 1}
	s := sampled(t, k)
	sample(t, s)
	k.drivers["ens1f0np0"] = map[string]uint64{"rx_out_of_buffer": 9, "rx0_packets": 1000, "rx_pause_ctrl_phy": 3, "rx_prio0_pause": 3}
	k.drivers["veth0"] = map[string]uint64{"peer_ifindex": 2}
	got := sample(t, s)
	if in := got.Interfaces[1]; in.Driver["rx_out_of_buffer"] != 4 || in.Pause != 2 || len(in.Driver) != 3 {
		t.Errorf("%+v", in)
	}
	if in := got.Interfaces[2]; in.Driver != nil {
		t.Errorf("%+v", in)
	}
	for _, gap := range got.Gaps {
		if strings.Contains(gap.What, "driver") {
			t.Errorf("gap %v", gap)
		}
	}
}
