package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var someMachine = machine{
	Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CPU: "Some CPU", Cores: 1, Memory: 8,
	Kernel: "Linux 6.1.0-9 x86_64", Go: "go1.26.1", Sallyport: "sallyport v1",
}

func level(v float64) spread { return spread{v, v, v} }

// someReport has a ratio, and the naive gateway that it is made to.
func someReport(ratio spread) report {
	return report{Machine: someMachine, Plan: plan{Tunnels: 9}, Rows: []row{
		{Figure: relayDown, Gateway: naiveGateway, Unit: "CPU-s/GiB", Value: level(2)},
		{Figure: relayDown, Gateway: stdLayer, Unit: "CPU-s/GiB", Value: level(1), Ratio: &ratio},
	}}
}

func TestSaveAndCompare(t *testing.T) {
	folder := t.TempDir()
	r := someReport(spread{0.48, 0.5, 0.53})
	name, err := r.saveBaseline(folder)
	if err != nil {
		t.Fatal(err)
	}
	before, err := loadBaseline(os.DirFS(folder), someMachine.fingerprint())
	if err != nil || before == nil {
		t.Fatal(before, err)
	}
	if files, _ := filepath.Glob(filepath.Join(folder, "*")); len(files) != 1 || filepath.Base(files[0]) != name {
		t.Errorf("files %q", files)
	}
	for _, test := range []struct {
		now  spread
		want mark
	}{
		{spread{0.48, 0.5, 0.53}, ""},
		{level(0.57), ""}, // 14 %: processor time differs by 15
		{level(0.58), worse},
		{level(0.42), better},
		{spread{0.4, 0.6, 0.75}, ""},    // its rounds are further apart than that
		{spread{0.56, 0.6, 0.9}, worse}, // one of them far out, away from the baseline's
	} {
		c := someReport(test.now).compare(before)
		if len(c.Rows) != 2 || c.Rows[0].Ratio != nil || c.Rows[1].Ratio == nil || c.Rows[1].Ratio.Mark != test.want {
			t.Errorf("%v: %+v", test.now, c.Rows)
		}
	}
	wide := level(0.5)
	wide.Max = 0.58 // 16 %
	before.Figures[1].Ratio = &wide
	if c := someReport(level(0.579)).compare(before); c.Rows[1].Ratio.Mark != "" {
		t.Errorf("beyond the bound, and within the baseline's own spread: %+v", c.Rows[1].Ratio)
	}
}

func TestCompareNamesWhatIsMissing(t *testing.T) {
	before := newBaseline(someReport(level(0.5)))
	r := someReport(level(0.5))
	r.Rows[1].Figure = relayUp
	var out bytes.Buffer
	if err := r.compare(&before).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"not in this run\n  " + relayDown + " of std", "not in the baseline\n  " + relayUp + " of std", "of 0 ratios",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	r.Plan.Tunnels, r.Plan.Bulk = 10, 512<<20
	if c := r.compare(&before); len(c.Rows) != 0 || !strings.HasSuffix(c.Why, ": -bulk 512, not 0, -tunnels 10, not 9") {
		t.Errorf("%+v", c)
	}
}

func TestOtherMachines(t *testing.T) {
	b := newBaseline(someReport(level(0.5)))
	text, err := b.encode()
	if err != nil {
		t.Fatal(err)
	}
	is := someMachine.fingerprint()
	for name, change := range map[string]func(*machine){
		"processor": func(m *machine) { m.CPU = "Another CPU" },
		"memory":    func(m *machine) { m.Memory = 16 },
		"kernel":    func(m *machine) { m.Kernel = "Linux 6.2.0-9 x86_64" },
		"Go":        func(m *machine) { m.Go = "go1.26.2" },
	} {
		other := someMachine
		change(&other)
		if got, err := loadBaseline(fstest.MapFS{b.file: {Data: text}}, other.fingerprint()); got != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		_, err := loadBaseline(fstest.MapFS{other.fingerprint().file(): {Data: text}}, other.fingerprint())
		if err == nil || !strings.Contains(err.Error(), "another machine") {
			t.Errorf("%s, by its file's name: %v", name, err)
		}
	}
	patched := someMachine
	patched.Kernel = "Linux 6.1.99-1 x86_64"
	if got, err := loadBaseline(fstest.MapFS{b.file: {Data: text}}, patched.fingerprint()); got == nil || err != nil {
		t.Errorf("a later patch of the kernel: %v", err)
	}
	if c := someReport(level(0.5)).compare(nil); !strings.Contains(c.Why, "none for this machine") || !strings.Contains(c.Why, is.CPU) {
		t.Errorf("%+v", c)
	}
	unknown := someMachine
	unknown.CPU = "unknown"
	if unknown.fingerprint().tells() {
		t.Error("any machine is this one")
	}
}

func TestDamagedBaselines(t *testing.T) {
	b := newBaseline(someReport(level(0.5)))
	good, err := b.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":     "",
		"half":      string(good[:len(good)/2]),
		"more":      string(good) + "{}",
		"unknown":   strings.Replace(string(good), `"format"`, `"shape"`, 1),
		"later":     strings.Replace(string(good), `"format": 1`, `"format": 2`, 1),
		"twice":     strings.Replace(string(good), `"gateway":"std"`, `"gateway":"naive"`, 1),
		"unordered": strings.Replace(string(good), `"min":0.5`, `"min":0.6`, 1),
	} {
		if text == string(good) {
			t.Fatalf("%s: nothing is damaged in\n%s", name, good)
		}
		if got, err := loadBaseline(fstest.MapFS{b.file: {Data: []byte(text)}}, b.Machine); got != nil || err == nil || !strings.Contains(err.Error(), b.file) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is shortened, partial or disturbed is not kept.
func TestBaselinesRefused(t *testing.T) {
	for _, args := range [][]string{{"-quick"}, {"-only", "relay"}, {"-rounds", "1"}, {"-bulk", "1"}} {
		if _, err := parsePlan(append(args, "-save-baseline", t.TempDir()), &bytes.Buffer{}); err == nil {
			t.Errorf("%q is kept", args)
		}
	}
	missed, busy, apart := someReport(level(0.5)), someReport(level(0.5)), someReport(spread{0.2, 0.5, 0.8})
	missed.Missing = []missing{{What: "idle", Why: "no descriptors"}}
	busy.Machine.Others = 0.2
	apart.Rows[1].Goal = &target{}
	for name, r := range map[string]report{"missed": missed, "busy": busy, "apart": apart} {
		folder := t.TempDir()
		if _, err := r.saveBaseline(folder); err == nil {
			t.Errorf("%s: kept", name)
		}
		if files, _ := os.ReadDir(folder); len(files) != 0 {
			t.Errorf("%s: files %v", name, files)
		}
	}
}

// What cannot be written is said before anything is measured, and costs no file that is
// there already.
func TestOutputsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	figures, nowhere := filepath.Join(dir, "figures.json"), filepath.Join(dir, "nowhere")
	if err := os.WriteFile(figures, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-json", filepath.Join(nowhere, "figures.json")},
		{"-json", figures, "-save-baseline", nowhere},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "nowhere") || stdout.Len() > 0 {
			t.Errorf("%v: exit code %d, %q", args, code, &stderr)
		}
	}
	if text, err := os.ReadFile(figures); err != nil || string(text) != "{}" {
		t.Errorf("%q, %v", text, err)
	}
}

// Whatever stands in a file, what is taken can be written, and is the same then.
func FuzzBaseline(f *testing.F) {
	b := newBaseline(someReport(level(0.5)))
	good, err := b.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"figures":[{"figure":"a","gateway":"b","value":{"min":1,"median":0,"max":2}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseBaseline(text)
		if err != nil {
			return
		}
		again, err := b.encode()
		if err != nil {
			return // a date that JSON has no form for
		}
		c, err := parseBaseline(again)
		if err != nil {
			t.Fatalf("%v in\n%s", err, again)
		}
		if twice, err := c.encode(); err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%v\n%s\n%s", err, again, twice)
		}
	})
}
