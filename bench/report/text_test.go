package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// later is a report of the same question a week after storm's, on a gateway that was
// meddled with.
func later() *Report {
	r := storm()
	r.ID, r.Version, r.Commit = "20261129T224501Z-77c1", "0.10.0", "aa11bb2"
	r.Began = r.Began.AddDate(0, 0, 7)
	gateway := &r.Hosts[2]
	gateway.Kernel = "6.11.0-9-generic"
	gateway.Sysctls = map[string]string{"net.core.somaxconn": "8192", "net.core.rmem_max": "212992", "net.ipv4.tcp_congestion_control": "bbr", "net.core.wmem_max": "212992"}
	gateway.Interfaces[0].Offloads = map[string]bool{"tx-tcp-segmentation": true, "rx-gro": false, "rx-lro": false, "tx-udp-segmentation": true}
	for i := range r.Figures {
		f := &r.Figures[i]
		by := map[string]float64{"wake p50": 0.8, "wake p90": 0.96, "setup p99": 1.6, "done": 0.9}[f.Name]
		if by == 0 {
			continue
		}
		var rounds []float64
		for _, v := range f.Rounds {
			rounds = append(rounds, by*v)
		}
		*f = NewFigure(f.Endpoint, f.Name, f.Unit, f.Better, rounds)
	}
	r.Limits[0].Resource = "link"
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is different now; if that is meant, run the test with -update:\n%s", path, got)
	}
}

func summary(t *testing.T, r *Report, width int, colour bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteSummary(&b, width, colour); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func difference(t *testing.T, d *Difference, width int, colour bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteText(&b, width, colour); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTexts(t *testing.T) {
	void := storm()
	void.Void = []Cause{{What: "sink", Says: "The sink was the limit.", Evidence: []string{"busy 63 % of 214 s", "core 3 at 99 %"}}}
	few := storm()
	few.Rounds = few.Rounds[:4]
	for i := range few.Figures {
		f := &few.Figures[i]
		*f = NewFigure(f.Endpoint, f.Name, f.Unit, f.Better, f.Rounds[:2])
	}
	otherwise := later()
	otherwise.Plan.Scenario.Devices, otherwise.Plan.Scenario.Within = 2000, otherwise.Plan.Scenario.Within/2
	golden(t, "summary.txt", summary(t, madeStorm(), 0, false))
	golden(t, "summary-narrow.txt", summary(t, madeStorm(), 72, false))
	golden(t, "summary-void.txt", summary(t, void, 0, false))
	golden(t, "summary-few.txt", summary(t, few, 0, false))
	golden(t, "difference.txt", difference(t, Diff(madeStorm(), later()), 110, false))
	golden(t, "difference-otherwise.txt", difference(t, Diff(madeStorm(), otherwise), 110, false))
	golden(t, "difference-void.txt", difference(t, Diff(void, later()), 110, false))
	golden(t, "difference-few.txt", difference(t, Diff(few, later()), 110, false))
}

// TestSummaryFits: however much there is to say, it is 40 lines, of the width that was
// asked for.
func TestSummaryFits(t *testing.T) {
	full := storm()
	for range 9 {
		full.Void = append(full.Void, Cause{What: "sink", Says: strings.Repeat("The sink was the limit. ", 20), Evidence: []string{hostile, hostile}})
		full.Marks = append(full.Marks, strings.Repeat("a mark ", 40))
		full.Limits = append(full.Limits, full.Limits[0])
		full.Figures = append(full.Figures, NewFigure("sallyport", strings.Repeat("f", len(full.Figures)), "ms", "", []float64{1}))
	}
	for name, r := range map[string]*Report{"storm": storm(), "full": full, "hostile": poisoned(), "empty": {}} {
		for _, width := range []int{60, 160} {
			text := string(summary(t, r, width, false))
			if n := strings.Count(text, "\n"); n > summaryLines {
				t.Errorf("%s, %d columns: %d lines", name, width, n)
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
					t.Errorf("%s, %d columns: %d in %q", name, width, n, line)
				}
			}
		}
	}
}

// TestTerminalIsLeftAlone: no text of others moves the cursor. Colours are ours, and
// there are none where none were asked for.
func TestTerminalIsLeftAlone(t *testing.T) {
	texts := map[string][]byte{"summary": summary(t, poisoned(), 100, false), "difference": difference(t, Diff(poisoned(), storm()), 100, false)}
	for name, text := range texts {
		if i := bytes.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x202e || r == utf8.RuneError }); i >= 0 {
			t.Errorf("%s: %q", name, text[max(0, i-20):i+20])
		}
	}
	coloured := string(summary(t, poisoned(), 100, true))
	for part := range strings.SplitSeq(coloured, "\x1b") {
		if code, _, _ := strings.Cut(strings.TrimPrefix(part, "["), "m"); strings.HasPrefix(part, "[") && strings.Trim(code, "0123456789;") != "" {
			t.Errorf("an escape sequence that is not ours: %q", part[:min(len(part), 20)])
		}
	}
	if !strings.Contains(coloured, "\x1b["+banner+"m") {
		t.Error("VOID is not painted")
	}
}
