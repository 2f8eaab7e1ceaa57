package bench

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

const allObjectives = `
latency: {p99: 2s, max: 20s}
operations:
  wake: {p50: 800ms, p99: 8s}
within_10s: 99.9%
within_30s: 100%
failures: 0.1%
throughput: 0.9 Gbit/s
gateway_rss_per_tunnel: 40 KiB
gateway_cpu: 6
`

func TestObjectives(t *testing.T) {
	o, err := ReadObjectives(strings.NewReader(allObjectives))
	if err != nil || o.Count() != 10 {
		t.Fatalf("%d objectives, %v", o.Count(), err)
	}
	figures := []report.Figure{
		{Endpoint: "ours", Name: "setup p99", Median: 1999},
		{Endpoint: "ours", Name: "setup max", Median: 20001},
		{Endpoint: "ours", Name: "wake p50", Median: 801},
		{Endpoint: "ours", Name: "wake p99", Median: 8000}, // its own objective, not that of all
		{Endpoint: "ours", Name: figureWithin10, Median: 99.9},
		{Endpoint: "ours", Name: figureWithin30, Median: 99.99},
		{Endpoint: "ours", Name: figureFailures, Median: 0.1},
		{Endpoint: "ours", Name: figureBodies, Median: 899},
		{Endpoint: "ours", Name: figureRSSPerTunnel, Median: 12},
		{Endpoint: "theirs", Name: figureGatewayCPU, Median: 1}, // another's
	}
	got := make(map[string]bool)
	for _, v := range o.judge("ours", figures, map[string]float64{"wake": 0.02, "nothing": 1}) {
		got[v.Objective] = v.Met
	}
	want := map[string]bool{
		"setup p99 (p99 ≤ 2s)": true, "setup max (max ≤ 20s)": false, "wake p50 ≤ 800ms": false, "wake p99 ≤ 8s, and 2 % failed": false,
		"nothing p99 (p99 ≤ 2s), which all failed": false, "nothing max (max ≤ 20s), which all failed": false,
		"done within 10 s ≥ 99.9 %": true, "done within 30 s ≥ 100 %": false, "failed ≤ 0.1 %": true,
		"throughput of bodies ≥ 900 Mbit/s": false, "gateway memory per tunnel ≤ 40 KiB": true,
		"gateway CPU ≤ 6 cores, which was not measured": false,
	}
	if !equal(got, want) {
		t.Errorf("judged %v, want %v", got, want)
	}
	if verdicts := (*Objectives)(nil).judge("ours", figures, nil); verdicts != nil {
		t.Errorf("without objectives: %v", verdicts)
	}
}

// An objective of every operation's latency is missed where nothing has a latency, and
// has nothing to say where each operation has an objective of its own.
func TestObjectivesOfNothing(t *testing.T) {
	for _, c := range []struct {
		text, figure string
		want         map[string]bool
	}{
		{"latency: {p99: 2s}", figureFailures, map[string]bool{"p99 ≤ 2s, which was not measured": false}},
		{"latency: {p99: 2s}", "wake p50", map[string]bool{"p99 ≤ 2s, which was not measured": false}},
		{"latency: {p99: 2s}", "wake max", map[string]bool{"wake p99 (p99 ≤ 2s), of too few: the longest counts": true}},
		{"operations: {wake: {p99.9: 900us}}", "wake max", map[string]bool{"wake p99.9 ≤ 900µs, of too few: the longest counts": false}},
		{"latency: {p99: 2s}\noperations: {wake: {p99: 8s}}", "wake max", map[string]bool{"wake p99 ≤ 8s, of too few: the longest counts": true}},
		{"latency: {p99: 2s}\noperations: {wake: {p99: 8s}}", "wake p99", map[string]bool{"wake p99 ≤ 8s": true}},
	} {
		o, err := ReadObjectives(strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]bool)
		for _, v := range o.judge("ours", []report.Figure{{Endpoint: "ours", Name: c.figure, Median: 1}}, nil) {
			got[v.Objective] = v.Met
		}
		if !equal(got, c.want) {
			t.Errorf("%s of %s: %v, want %v", c.text, c.figure, got, c.want)
		}
	}
}

// Objectives of operations that the scenario does not have are refused before the run.
func TestObjectivesOfOtherScenarios(t *testing.T) {
	for _, c := range []struct{ kind, operation, want string }{
		{load.Storm, "wake", ""},
		{load.Storm, "wak", `line 1, column 14: operations.wak: storm has no such operation; did you mean wake?`},
		{load.Setup, "wake", `setup has no such operation; did you mean `},
	} {
		o, err := ReadObjectives(strings.NewReader("operations: {" + c.operation + ": {p99: 8s}}"))
		if err != nil {
			t.Fatal(err)
		}
		options := Options{Scenario: load.Default(c.kind), Key: newKey(), Sink: "10.0.0.1:7400", Objectives: o,
			Endpoints: []load.Endpoint{{Name: "a", Way: "tcp", Address: "10.0.0.2:1"}}}
		switch err := options.Check(); {
		case c.want == "" && err != nil:
			t.Errorf("%s of %s: %v", c.operation, c.kind, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s of %s: %v, want %s", c.operation, c.kind, err, c.want)
		}
	}
}

func TestObjectivesRefused(t *testing.T) {
	for text, want := range map[string]string{
		"latency: {p99: 2s}\nfailure: 1%":       `line 2, column 1: failure: there is no such objective; did you mean failures?`,
		"latency: {p98: 2s}":                    `line 1, column 11: latency.p98: there is no such objective; did you mean p`,
		"latency:\n  p99: fast":                 `line 2, column 3: latency.p99: "fast" is not a time`,
		"latency: {p50: 1s, p99: -2s}":          `line 1, column 20: latency.p99: "-2s" is not a time`,
		"latency: 2s":                           "line 1, column 1: latency: keys and values are expected",
		"operations: {wake: {p9: 2s}}":          `column 21: operations.wake.p9: there is no such objective; did you mean p90?`,
		"operations: {'': {p90: 2s}}":           `column 14: operations."": an operation has a name`,
		"\"a\\nb\": 2":                          `column 1: "a\nb": there is no such`,
		"failures: 0.1":                         `line 1, column 1: failures: "0.1" is not a figure in %`,
		"failures: 101%":                        "not a figure",
		"failures: 1%\n\nfailures: 2%":          "line 3, column 1: failures: stands there twice",
		"throughput: 900":                       "not a figure in Mbit/s",
		"throughput: [900 Mbit/s]":              "not a figure in Mbit/s",
		"gateway_cpu: NaN":                      "not a figure in cores",
		"gateway_rss_per_tunnel: 40 MiB":        "not a figure in KiB",
		"failures: 1%\n---\nlatency: {p99: 1s}": "a second document begins here",
		"failures: 1%\n...\nlatency: {p99: 1s}": "yaml: ",
		"latency: {p99: &a 1s, p50: *a}":        `latency.p50: "a" is not a time`,
		"throughput: 1e306 Gbit/s":              "not a figure in Mbit/s",
		"":                                      "no objectives",
		"{}":                                    "no objectives",
		"- p99":                                 "keys and values",
		"latency: {}":                           "no objectives",
		strings.Repeat("#", maxObjectives):      "no objectives",
		strings.Repeat("#", maxObjectives+1):    "larger than",
	} {
		if _, err := ReadObjectives(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
}

func FuzzObjectives(f *testing.F) {
	f.Add(allObjectives)
	f.Add("latency: {p99: &a 2s, max: *a}")
	f.Add("operations: {wake: {p99: 1h}}\nfailures: 0%")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseObjectives([]byte(text))
		if err != nil {
			return
		}
		if o.Count() == 0 {
			t.Fatal("no objectives, and no error")
		}
		for _, each := range o.all {
			if each.limit < 0 || (each.figure == "") == (each.percentile == "") || each.text == "" {
				t.Fatalf("%+v", each)
			}
		}
	})
}
