package bench

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

func TestFiguresOfARound(t *testing.T) {
	v := calmView()
	v.result.Up, v.result.Down = 1<<30, 1<<30
	v.plan.Scenario.Kind = load.Idle
	v.result.Held, v.rssBefore = 100, 40_000
	v.result.Outside = map[string]uint64{"timeout": 2, "reset": 1}
	v.result.Done, v.result.Failed, v.result.Scheduled = 990, 10, 1000
	v.result.Operations[0].Within10s, v.result.Operations[0].Within30s = 980, 985
	got := make(map[string]float64)
	for _, each := range valuesOf(v) {
		if _, twice := got[each.name]; twice {
			t.Errorf("%s stands there twice", each.name)
		}
		got[each.name] = each.of
	}
	for name, want := range map[string]float64{
		figureRate: 99, figureFailures: 1, "exchange p50": 10, "exchange p99.9": 10, "exchange max": 10,
		figureWithin10: 98, figureWithin30: 98.5, // of what was scheduled
		figureBodies:   8 * 2 * float64(1<<30) / 1e6 / 10,
		figureWireDown: 8, figureWireUp: 8,
		figureGatewayCPU: 1, figureCPUPerOp: 10. / 990 * 1000, figureCPUPerGiB: 5,
		figureRSS: 50_000, figureRSSPerTunnel: 100, figureHeld: 100, figureDied: 0, figureOutside: 3, figureSlip: 0.05,
	} {
		if of, has := got[name]; !has || math.Abs(of-want) > 0.01*want {
			t.Errorf("%s is %v, want %v", name, of, want)
		}
	}
}

// What a scenario is about comes first, whatever the alphabet says.
func TestPrincipalComesFirst(t *testing.T) {
	for kind, want := range map[string]string{load.Storm: "wake p50", load.Setup: "setup p50", load.Requests: "exchange p50"} {
		v := calmView()
		v.plan.Scenario.Kind = kind
		v.result.Operations = nil
		for _, name := range []string{"exchange", "setup", "wake"} {
			if name == "wake" && kind != load.Storm {
				continue
			}
			v.result.Operations = append(v.result.Operations, load.Operation{Name: name, Latency: repeated(3, time.Second), Slip: repeated(3, 0)})
		}
		values := valuesOf(v)
		i := slices.IndexFunc(values, func(each value) bool { return strings.HasSuffix(each.name, " p50") })
		if values[i].name != want {
			t.Errorf("%s begins with %s, want %s", kind, values[i].name, want)
		}
		n := 0
		for _, each := range values {
			if strings.HasSuffix(each.name, " p50") {
				n++
			}
		}
		if n != len(v.result.Operations) {
			t.Errorf("%s: %d of %d operations", kind, n, len(v.result.Operations))
		}
	}
}

// Shares are of all that was scheduled, however many steps each took.
func TestBudgets(t *testing.T) {
	many := func(n int) load.Histogram { return repeated(n, time.Second) }
	for name, c := range map[string]struct {
		result     load.Result
		in10, in30 float64
	}{
		"a storm": {load.Result{Scheduled: 1000, Done: 900, Failed: 100, Operations: []load.Operation{
			{Name: "setup", Latency: many(500), Within10s: 500, Within30s: 500},
			{Name: "wake", Latency: many(900), Due: 1000, Within10s: 850, Within30s: 900},
		}}, 85, 90},
		"set-ups of which half fail in their exchange": {load.Result{Scheduled: 100, Done: 50, Failed: 50, Operations: []load.Operation{
			{Name: "exchange", Latency: many(50), Within10s: 50, Within30s: 50},
			{Name: "setup", Latency: many(100), Due: 100, Within10s: 100, Within30s: 100},
		}}, 50, 50},
		"a day of several kinds": {load.Result{Scheduled: 100, Done: 90, Failed: 10, Operations: []load.Operation{
			{Name: "exchange", Latency: many(20), Within10s: 20, Within30s: 20},
			{Name: "setup", Latency: many(20), Due: 20, Within10s: 20, Within30s: 20},
			{Name: "sync", Latency: many(70), Due: 80, Within10s: 60, Within30s: 65},
		}}, 80, 85},
		"all failed": {load.Result{Scheduled: 100, Failed: 100}, 0, 0},
	} {
		got := budgets(c.result)
		if len(got) != 2 || got[0].of != c.in10 || got[1].of != c.in30 {
			t.Errorf("%s: %+v, want %v and %v %%", name, got, c.in10, c.in30)
		}
	}
	if got := budgets(load.Result{}); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestRatiosArePaired(t *testing.T) {
	at := func(endpoint string, number int, void bool, of float64) valued {
		return valued{endpoint: endpoint, number: number, void: void, values: []value{whole(figureRate, "/s", "higher", of), whole(figureWireUp, "Mbit/s", "", of)}}
	}
	// The machine was twice as fast in round 2, for both; round 3 of the one does not count.
	rounds := []valued{at("a", 1, false, 100), at("b", 1, false, 150), at("b", 2, false, 300), at("a", 2, false, 200),
		at("a", 3, true, 1), at("b", 3, false, 300)}
	ratios := ratiosOf([]string{"a", "b"}, rounds)
	if len(ratios) != 1 || ratios[0].Median != 1.5 || ratios[0].Low != 1.5 || ratios[0].High != 1.5 || ratios[0].Pairs != 2 {
		t.Errorf("%+v", ratios)
	}
	figures := figuresOf([]string{"a", "b"}, rounds)
	if len(figures) != 4 || figures[0].Median != 150 || len(figures[0].Rounds) != 2 || figures[2].Median != 300 || len(figures[2].Rounds) != 3 {
		t.Errorf("%+v", figures)
	}
}

// A percentile is a figure if every round that counts knows it, and a ratio if every round
// of both endpoints does: the rounds that had too few are those in which most failed.
func TestPercentilesOfEveryRound(t *testing.T) {
	round := func(endpoint string, number, done int, took time.Duration) valued {
		v := calmView()
		v.result.Done = uint64(done)
		v.result.Operations = []load.Operation{{Name: "setup", Due: 100, Latency: repeated(done, took), GaveUp: repeated(100-done, took)}}
		return newValued(endpoint, number, false, v)
	}
	var rounds []valued
	for n := 1; n <= 5; n++ {
		done, took := 99, 9*time.Second
		if n == 3 {
			done, took = 100, time.Second
		}
		rounds = append(rounds, round("a", n, done, took), round("b", n, 100, time.Second))
	}
	has := func(endpoint, name string) bool {
		return slices.ContainsFunc(figuresOf([]string{"a", "b"}, rounds), func(f report.Figure) bool { return f.Endpoint == endpoint && f.Name == name })
	}
	if has("a", "setup p99") || !has("a", "setup p90") || !has("a", "setup max") || !has("b", "setup p99") {
		t.Errorf("%+v", figuresOf([]string{"a", "b"}, rounds))
	}
	if slices.ContainsFunc(ratiosOf([]string{"a", "b"}, rounds), func(r report.Ratio) bool { return r.Name == "setup p99" }) {
		t.Error("a ratio to the one round that knew")
	}
	o, err := parseObjectives([]byte("latency: {p99: 2s}"))
	if err != nil {
		t.Fatal(err)
	}
	for endpoint, met := range map[string]bool{"a": false, "b": true} {
		verdicts := o.judge(endpoint, figuresOf([]string{"a", "b"}, rounds), failedOf(rounds, endpoint))
		if len(verdicts) != 1 || verdicts[0].Met != met {
			t.Errorf("%s: %+v", endpoint, verdicts)
		}
	}
}

func TestSizing(t *testing.T) {
	figures := []report.Figure{{Endpoint: "ours", Name: figureCPUPerOp, Median: 2}, {Endpoint: "ours", Name: figureRSSPerTunnel, Median: 10}}
	sizes := sizingOf("ours", load.Storm, figures, 4, 16<<20)
	want := []float64{14_000, 42_000, math.Floor(float64(16<<20) / 10 * headroom)} // 500 a core-second × 4 × 10 s × 0.7
	if len(sizes) != len(want) {
		t.Fatalf("%+v", sizes)
	}
	for i, s := range sizes {
		if s.Value != want[i] || !strings.Contains(s.Reckoned, "0.7") || !strings.HasPrefix(s.What, "ours: ") {
			t.Errorf("%+v, want %v", s, want[i])
		}
	}
	if sizes := sizingOf("ours", load.Requests, figures[:1], 4, 0); sizes != nil {
		t.Errorf("requests size nothing: %+v", sizes)
	}
}

// Two agents on one host see the same bytes, those on two hosts do not.
func TestWireOfManyClients(t *testing.T) {
	for want, second := range map[float64]string{8: "10.0.0.1", 16: "10.0.0.2"} {
		v := calmView()
		v.clients = append(v.clients, calm("client 2", roleGenerator, 1))
		v.clients[0].addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
		v.clients[1].addresses = []netip.Addr{netip.MustParseAddr(second)}
		if down := wire(v)[0].of; down != want {
			t.Errorf("%v Mbit/s through clients at 10.0.0.1 and %s, want %v", down, second, want)
		}
	}
}

// The interface that carried the load is not loopback, unless nothing else moved.
func TestCarrier(t *testing.T) {
	s := seen{host: evidence.Host{Interfaces: []evidence.Interface{{Name: "lo", Kind: "loopback"}, {Name: "eth0", Kind: "physical"}}}}
	s.samples = []evidence.Sample{{Took: time.Second, Interfaces: []evidence.Traffic{{Name: "lo", RXBytes: 1 << 30}, {Name: "eth0", RXBytes: 1 << 20}}}}
	if name, _, _ := s.carrier(); name != "eth0" {
		t.Errorf("%s", name)
	}
	s.samples[0].Interfaces[1].RXBytes = 1000
	if name, _, _ := s.carrier(); name != "lo" {
		t.Errorf("%s", name)
	}
}

func TestOptionsRefused(t *testing.T) {
	good := func() Options {
		return Options{Scenario: load.Default(load.Setup), Key: newKey(), Sink: "10.0.0.1:7400",
			Endpoints: []load.Endpoint{{Name: "a", Way: "tcp", Address: "10.0.0.2:1"}, {Name: "b", Way: "tcp", Address: "10.0.0.2:2"}}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"no endpoint":           func(o *Options) { o.Endpoints = nil },
		"no key":                func(o *Options) { o.Key = Key{} },
		"1 to 100":              func(o *Options) { o.Rounds = -1 },
		"needs some":            func(o *Options) { o.Knee = true },
		"HOST:PORT":             func(o *Options) { o.Sink = "10.0.0.1" },
		"a client twice":        func(o *Options) { o.Clients = []string{"a:1", "b:1", "a:1"} },
		"a minute at most":      func(o *Options) { o.Calibrate = time.Hour },
		"two endpoints":         func(o *Options) { o.Endpoints[1].Name = "a" },
		"scenario.rate":         func(o *Options) { o.Scenario.Rate = 0 },
		"id of a process":       func(o *Options) { o.Watch = []Watch{{PID: 0}} },
		"no endpoint is called": func(o *Options) { o.Watch = []Watch{{PID: 1, Endpoint: "c"}} },
		"one can be watched":    func(o *Options) { o.Watch = []Watch{{PID: 1}, {PID: 2, Endpoint: "a"}} },
	} {
		o := good()
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Everybody on one host sits on one seat, whatever the roles.
func TestSeats(t *testing.T) {
	o := Options{Sink: "s:1", Clients: []string{"c:1", "g:1"}, Endpoints: []load.Endpoint{{Name: "a"}, {Name: "b"}},
		Watch: []Watch{{Address: "g:1", PID: 7, Endpoint: "a"}, {Address: "g:1", PID: 8, Endpoint: "b"}, {PID: 9, Endpoint: "c"}}}
	var got []string
	for _, s := range o.seats() {
		got = append(got, fmt.Sprintf("%s %v %v", s.address, s.roles, s.watch))
	}
	want := []string{
		"s:1 [sink] [{sink 0}]",
		"c:1 [client 1] [{generator 0}]",
		"g:1 [client 2 gateway gateway b] [{generator 0} {gateway 7} {gateway b 8}]",
		" [gateway c] [{gateway c 9}]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if alone := (Options{Sink: "s:1"}).seats(); len(alone) != 2 || alone[1].address != "" || alone[1].roles[0] != "client 1" {
		t.Errorf("%+v", alone)
	}
}

func TestLoadsMove(t *testing.T) {
	for _, kind := range load.Kinds() {
		s := load.Default(kind)
		amount, unit, whole := loadOf(s)
		if amount <= 0 || unit == "" {
			t.Errorf("%s: %v %s", kind, amount, unit)
		}
		more := withLoad(s, 2*amount)
		if got, _, _ := loadOf(more); got != 2*amount || whole != (got == math.Floor(got) && unit != "/s") {
			t.Errorf("%s: twice %v is %v", kind, amount, got)
		}
		if short := shortened(more, nil); lasts(short) > lasts(more) || short.Within != more.Within {
			t.Errorf("%s: shortened to %v", kind, lasts(short))
		}
		plan := Options{}.withDefaults().plan(load.Endpoint{Name: "a", Way: "tcp", Address: "10.0.0.2:1"}, shortened(more, nil), "10.0.0.2:1")
		if err := plan.Check(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
