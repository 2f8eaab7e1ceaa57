package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/bench"
	"github.com/sallyport/sallyport/bench/load"
	benchreport "github.com/sallyport/sallyport/bench/report"
)

// benchSays runs bench and returns its exit code and what it printed.
func benchSays(ctx context.Context, stdout io.Writer, args ...string) (code int, stderr string) {
	root := &cobra.Command{Use: "sallyport", SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs}
	root.AddCommand(newBench())
	mistakesAreUsage(root)
	var said bytes.Buffer
	root.SetOut(stdout)
	root.SetErr(&said)
	root.SetArgs(append([]string{"bench"}, args...))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitGood, said.String()
	}
	said.WriteString(err.Error())
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code, said.String()
	}
	return exitRuntime, said.String()
}

// startBenchSink runs bench sink until the test ends, and returns where it listens.
func startBenchSink(t *testing.T, key string) (control, service string) {
	t.Helper()
	read, write := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		code, said := benchSays(ctx, write, "sink", "--listen", "127.0.0.1:0", "--service-listen", "127.0.0.1:0", "--key-file", key)
		if code != exitGood {
			t.Errorf("the sink ended with %d: %s", code, said)
		}
		_ = write.Close()
		ended <- code
	}()
	t.Cleanup(func() { stop(); <-ended })
	text := make([]byte, 0, 200)
	for chunk := make([]byte, 200); strings.Count(string(text), "\n") < 2; {
		n, err := read.Read(chunk)
		if err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		text = append(text, chunk[:n]...)
	}
	words := strings.Fields(string(text))
	return words[1], words[3]
}

// From the command line to the page and back: a run without a gateway, on loopback.
func TestBenchRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "bench.key")
	control, service := startBenchSink(t, key)
	slo := filepath.Join(dir, "slo.yaml")
	if err := os.WriteFile(slo, []byte("latency: {max: 1ns}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	args := []string{"run", "setup", "--to", "tcp://" + service + "?name=direct", "--sink", control, "--key-file", key,
		"--rounds", "1", "--settle", "1ms", "--calibrate", "100ms", "--rate", "20", "--ramp", "0s", "--sustain", "1s", "--down", "0s", "--slo", slo, "--out", out}
	if code, said := benchSays(t.Context(), io.Discard, args...); code != exitUsage || !strings.Contains(said, "--allow-loopback") {
		t.Errorf("loopback: %d, %s", code, said)
	}
	var stdout bytes.Buffer
	if code, said := benchSays(t.Context(), &stdout, append(args, "--allow-loopback", "--json")...); code != exitNo {
		t.Fatalf("an objective that cannot be met: %d, %s", code, said)
	}
	r, err := benchreport.Read(&stdout)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 1 || r.Rounds[0].Result.Done == 0 || len(r.Verdicts) == 0 || r.Verdicts[0].Met {
		t.Errorf("%d rounds, verdicts %+v", len(r.Rounds), r.Verdicts)
	}
	checkBenchReports(t, dir, filepath.Join(out, "report.json"))
}

// checkBenchReports shows a report again, in every form.
func checkBenchReports(t *testing.T, dir, record string) {
	t.Helper()
	var shown bytes.Buffer
	if code, said := benchSays(t.Context(), &shown, "report", record); code != exitGood || !strings.Contains(shown.String(), "loopback") {
		t.Errorf("report: %d, %s\n%s", code, said, shown.String())
	}
	page := filepath.Join(dir, "page.html")
	for _, args := range [][]string{{record, "--html", page}, {"--diff", record, record, "--html", page}} {
		if code, said := benchSays(t.Context(), io.Discard, append([]string{"report"}, args...)...); code != exitGood {
			t.Errorf("%q: %d, %s", args, code, said)
		}
		if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("<html")) {
			t.Errorf("%q: the page has %d bytes, %v", args, len(text), err)
		}
		if err := os.Remove(page); err != nil {
			t.Error(err)
		}
	}
	if code, said := benchSays(t.Context(), &shown, "report", "--diff", record, record); code != exitGood {
		t.Errorf("diff: %d, %s", code, said)
	}
}

func TestBenchMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if _, _, err := bench.MakeKey(key); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	good := []string{"run", "setup", "--to", "tcp://10.0.0.1:1", "--sink", "10.0.0.1:7400", "--key-file", key}
	with := func(more ...string) []string { return append(slices.Clone(good), more...) }
	for want, args := range map[string][]string{
		"required flag":          {"run", "setup"},
		"accepts 1 arg":          good[2:],
		"is not one of":          append([]string{"run", "rain"}, good[2:]...),
		"tickets=FILE":           with("--to", "https://u:hunter2@gw:443"),
		"chmod 600":              with("--key-file", open),
		"two endpoints":          with("--compare", "tcp://10.0.0.1:1"),
		"setup has none":         with("--devices", "5"),
		"is not a range":         with("--heartbeat", "long"),
		"is not HOST:PORT,pid=N": with("--watch", "gw:7400"),
		"needs some":             with("--knee"),
		"--source":               with("--source", "here"),
		"did you mean":           with("--slo", open, "--compare", "tcp://10.0.0.1:2?nam=x"),
		"keys and values":        with("--slo", open),
		"not a list of cores":    {"sink", "--key-file", key, "--cpus", "2-"},
		"by --diff":              {"report", open, open},
		"not a report":           {"report", open},
	} {
		if args[0] != "run" && args[0] != "sink" && args[0] != "report" {
			args = append([]string{"run"}, args...)
		}
		code, said := benchSays(t.Context(), io.Discard, args...)
		if code != exitUsage || !strings.Contains(said, want) {
			t.Errorf("%q: %d, %s, want %s", args, code, said, want)
		}
		if strings.Contains(said, "hunter2") {
			t.Errorf("the password is shown: %s", said)
		}
	}
}

func TestBenchScenarioFlags(t *testing.T) {
	t.Parallel()
	var f benchRunFlags
	cmd := &cobra.Command{}
	f.add(cmd)
	if err := cmd.ParseFlags([]string{"--devices", "7", "--heartbeat", "1m-2m", "--warm", "0", "--trigger", "revoke --user u"}); err != nil {
		t.Fatal(err)
	}
	got, err := f.scenario.scenario(load.Push, cmd.Flags().Changed)
	want := load.Default(load.Push)
	want.Devices, want.Heartbeat, want.Trigger = 7, [2]time.Duration{time.Minute, 2 * time.Minute}, []string{"revoke", "--user", "u"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// Whatever is wrong with a scenario is called by the flag that sets it.
func TestBenchMistakesNameFlags(t *testing.T) {
	flags := newBenchRun().Flags()
	named := make(map[string]bool)
	for _, kind := range load.Kinds() {
		for _, wrong := range []load.Scenario{
			{Kind: kind, Rate: -1, Devices: -1, Streams: -1, Ramp: -1, Sustain: -1, Down: -1, Within: -1, Scale: -1, UpBytes: -1, DownBytes: -1,
				Write: -1, Direction: "x", Warm: -1, Poisson: true, Trigger: []string{"x"}, Accounts: -1, Mailboxes: -1, Heartbeat: [2]time.Duration{2, 1}},
			{Kind: kind},
		} {
			o := bench.Options{Scenario: wrong, Endpoints: []load.Endpoint{{Name: "a", Way: "tcp", Address: "10.0.0.1:1"}}, Sink: "10.0.0.1:2",
				Sources: []netip.Addr{{}}, Patience: -1, MaxInFlight: -1}
			for line := range strings.Lines(inFlags(o.Check()).Error()) {
				name, is := strings.CutPrefix(line, "--")
				if name, _, _ = strings.Cut(name, ":"); is {
					named[name] = true
				}
				if is && flags.Lookup(name) == nil {
					t.Errorf("%s: there is no such flag: %s", kind, line)
				}
				if strings.Contains(line, "scenario.") {
					t.Errorf("%s: %s", kind, line)
				}
			}
		}
	}
	for _, name := range []string{"rate", "devices", "up-bytes", "max-in-flight", "source", "patience", "heartbeat"} {
		if !named[name] {
			t.Errorf("no mistake is of --%s", name)
		}
	}
}

// stuck is a terminal that was stopped.
type stuck struct{ until chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.until
	return len(p), nil
}

// A terminal that was stopped holds up neither the sink nor its end.
func TestBenchSinkLogStuck(t *testing.T) {
	out := stuck{make(chan struct{})}
	defer close(out.until)
	log, end := newSinkLog(out)
	for range 10_000 {
		log("turned away somebody")
	}
	end()
	var whole bytes.Buffer
	log, end = newSinkLog(&whole)
	log("a coordinator came")
	end()
	if !strings.HasSuffix(whole.String(), " a coordinator came\n") {
		t.Errorf("%q", &whole)
	}
}

func TestBenchWatch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bench.Watch{
		"gw:7400,pid=12":                {Address: "gw:7400", PID: 12},
		"gw:7400,pid=12,endpoint=ours":  {Address: "gw:7400", PID: 12, Endpoint: "ours"},
		"gw:7400,endpoint=ours,pid=012": {Address: "gw:7400", PID: 12, Endpoint: "ours"},
	} {
		if got, err := parseWatch(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "gw:7400", ",pid=1", "gw:7400,pid=x", "gw:7400,pid=1,role=x"} {
		if got, err := parseWatch(text); err == nil {
			t.Errorf("%q became %+v", text, got)
		}
	}
}

// What a trigger is told stays out of the report.
func TestBenchTyped(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"bench", "--trigger", "curl -u a:hunter2", "--rate", "1"}, {"bench", "--trigger=curl -u a:hunter2"}, {"--trigger"},
	} {
		if got := typed(args); strings.Contains(strings.Join(got, " "), "hunter2") || len(got) != len(args) || got[0] != args[0] && args[0] == "bench" {
			t.Errorf("%q", got)
		}
	}
}

func TestBenchCores(t *testing.T) {
	t.Parallel()
	if got, err := parseCores("2-4,8"); err != nil || !slices.Equal(got, []int{2, 3, 4, 8}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "-1", "4-2", "1024", "1,,2", "a", "1-2-3"} {
		if got, err := parseCores(text); err == nil {
			t.Errorf("%q became %v", text, got)
		}
	}
	if runtime.GOOS == "linux" {
		if err := pinTo("1023"); err == nil {
			t.Error("a core that is not there was taken")
		}
	}
}

func TestBenchProgressLine(t *testing.T) {
	t.Parallel()
	step := bench.Step{Text: "round 1 of 2 through ours", Done: 10 * time.Second, Of: 40 * time.Second,
		Second: load.Second{At: time.Now(), Done: 50, Failed: 1, P99: 12 * time.Millisecond}}
	if got, want := progressLine(step, 10*time.Second), "[==========          ]  50 %  round 1 of 2 through ours · 50 done, 1 failed, p99 12ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := progressLine(step, time.Hour); !strings.Contains(got, "100 %") {
		t.Errorf("%q", got)
	}
	if got := progressLine(bench.Step{Text: "reaching the hosts"}, 0); got != "reaching the hosts" {
		t.Errorf("%q", got)
	}
}
