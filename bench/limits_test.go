package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// repeated is a histogram of so many equal durations.
func repeated(n int, d time.Duration) load.Histogram {
	var h load.Histogram
	for range n {
		h.Record(d)
	}
	return h
}

// calm is a host on which nothing is at its limit: four cores, one physical interface
// of 10 Gbit/s with a shaper of 1 Gbit/s on it, ten samples of a second.
func calm(name string, process string, used float64) seen {
	host := evidence.Host{Name: name, Cores: 4, Allowed: []int{0, 1, 2, 3}, MemoryKiB: 16 << 20,
		Interfaces: []evidence.Interface{{Name: "eth0", Kind: "physical", SpeedMbit: 10_000,
			Qdiscs: []evidence.Qdisc{{Kind: "tbf", Handle: "1:", RateBit: 1e9}}}}}
	s := seen{name: name, host: host}
	for range 10 {
		sample := evidence.Sample{Took: time.Second,
			Interfaces: []evidence.Traffic{{Name: "eth0", RXBytes: 1e6, TXBytes: 1e6, RXPackets: 1000, TXPackets: 1000, WireRX: 8e6, WireTX: 8e6}},
			Qdiscs:     []evidence.QdiscTraffic{{Interface: "eth0", Kind: "tbf", Handle: "1:", Bytes: 1e6}},
		}
		for id := range 4 {
			sample.Cores = append(sample.Cores, evidence.Core{ID: id, User: 0.2, System: 0.1, SoftIRQ: 0.05, Idle: 0.65})
		}
		if process != "" {
			sample.Processes = []evidence.Process{{Role: process, PID: 1, Cores: used, RSSKiB: 50_000}}
		}
		s.samples = append(s.samples, sample)
	}
	return s
}

// calmView is a round in which the load asked for was served.
func calmView() *view {
	gateway := calm("gateway", roleGateway, 1)
	return &view{
		plan:    load.Plan{Scenario: load.Scenario{Kind: load.Requests, Rate: 100}, Endpoint: load.Endpoint{Name: "ours"}, MaxInFlight: 1000},
		clients: []seen{calm("client 1", roleGenerator, 1)},
		sink:    calm("sink", roleSink, 0.5),
		gateway: &gateway,
		service: exchange.Account{Asks: 1000, Busy: 100 * time.Millisecond, Waited: 10 * time.Second},
		result: load.Result{Scheduled: 1000, Done: 1000, Sustain: 10 * time.Second, Operations: []load.Operation{{
			Name: "exchange", Due: 1000, Latency: repeated(1000, 10*time.Millisecond), Service: repeated(1000, 100*time.Microsecond), Slip: repeated(1000, 50*time.Microsecond)}}},
	}
}

func (s seen) each(change func(*evidence.Sample)) {
	for i := range s.samples {
		change(&s.samples[i])
	}
}

// what a round is, who voids it (nobody where it is empty), and its limit.
var verdicts = map[string]struct {
	change func(*view)
	void   string
	limit  string
}{
	"all was served":       {func(*view) {}, "", "schedule"},
	"nobody watched":       {func(v *view) { v.gateway = nil; v.result.Done = 900; v.result.Unfinished = 100 }, "", "unknown"},
	"bulk has no schedule": {func(v *view) { v.plan.Scenario.Kind = load.Bulk }, "", "unknown"},

	"generator busy": {func(v *view) {
		v.clients[0].each(func(s *evidence.Sample) { s.Processes[0].Cores = 3.7 })
	}, "generator", "generator"},
	"generator's host busy": { // with interrupts, and others
		func(v *view) {
			v.clients[0].each(func(s *evidence.Sample) {
				for i := range s.Cores {
					s.Cores[i].SoftIRQ = 0.66
				}
			})
		}, "generator", "generator"},
	"generator at its quota": {func(v *view) {
		v.clients[0].host.Quota = 1.05
	}, "generator", "generator"},
	"generator nearly busy": {func(v *view) {
		v.clients[0].each(func(s *evidence.Sample) { s.Processes[0].Cores = 3.5 })
	}, "", "schedule"},
	"second client busy": {func(v *view) {
		v.clients = append(v.clients, calm("client 2", roleGenerator, 3.9))
	}, "generator", "generator"},
	"steal": {func(v *view) {
		v.clients[0].each(func(s *evidence.Sample) {
			for i := range s.Cores {
				s.Cores[i].Steal = 0.06
			}
		})
	}, "generator", "generator"},
	"others on pinned cores": {func(v *view) {
		v.clients[0].host.Allowed = []int{2, 3}
		v.clients[0].each(func(s *evidence.Sample) { s.Cores[2].User, s.Processes[0].Cores = 0.9, 1 })
	}, "generator", "generator"},
	"alone on pinned cores": {func(v *view) {
		v.clients[0].host.Allowed = []int{2, 3}
		v.clients[0].each(func(s *evidence.Sample) { s.Cores[0].User, s.Processes[0].Cores = 0.9, 0.55 })
	}, "", "schedule"},
	"slip": {func(v *view) { v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond) }, "generator", "generator"},
	"slip of a tenth": {func(v *view) {
		v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond)
		v.result.Operations[0].Latency = repeated(1000, 100*time.Millisecond)
	}, "", "schedule"},
	"slip behind a slow endpoint": {func(v *view) {
		v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond)
		v.result.Full = 11
	}, "", "unknown"},
	"slip, and few waited for a slow endpoint": {func(v *view) {
		v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond)
		v.result.Full = 10
	}, "generator", "generator"},
	"slip of short ones beside long ones": {func(v *view) {
		v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond)
		v.result.Operations = append(v.result.Operations, load.Operation{Name: "attachment", Latency: repeated(50, 2*time.Second), Slip: repeated(50, 0)})
	}, "generator", "generator"},
	"a source of another host": {func(v *view) {
		v.result.Done, v.result.Failed, v.result.Failures = 0, 1000, map[string]uint64{"source": 1000}
	}, "generator", "generator"},
	"not begun": {func(v *view) {
		v.result.Unstarted, v.result.Failed, v.result.Done = 11, 11, 989
		v.result.Failures = map[string]uint64{"timeout": 11}
	}, "generator", "generator"},
	"no descriptors": {func(v *view) { v.result.Failures = map[string]uint64{"descriptors": 1} }, "generator", "generator"},
	"no ports":       {func(v *view) { v.result.Failures = map[string]uint64{"ports": 3} }, "generator", "generator"},

	"sink busy": {func(v *view) {
		v.service.Busy, v.service.Waited = 6*time.Second, 4*time.Second
	}, "sink", "sink"},
	"sink full": {func(v *view) { v.service.TurnedAway = 1 }, "sink", "sink"},
	"sink busy with nothing": { // 1.2 ms of a latency of a second
		func(v *view) {
			v.service.Busy, v.service.Waited = 1200*time.Millisecond, time.Second
			v.result.Operations[0].Latency = repeated(1000, time.Second)
		}, "", "schedule"},
	"sink's cores": {func(v *view) {
		v.sink.each(func(s *evidence.Sample) {
			for i := range s.Cores {
				s.Cores[i].User = 0.85
			}
		})
	}, "sink", "sink"},
	"sink's cores, nobody asked": {func(v *view) {
		v.sink.each(func(s *evidence.Sample) {
			for i := range s.Cores {
				s.Cores[i].User = 0.85
			}
		})
		v.service = exchange.Account{}
		v.result.Done, v.result.Failed = 0, 1000
	}, "", "gateway refuses"},
	"sink busy with one long ask": {func(v *view) {
		v.service = exchange.Account{Open: 1, Busy: 9 * time.Second, Waited: time.Second}
	}, "sink", "sink"},
	"sink's quota": {func(v *view) { v.sink.host.Quota = 0.5 }, "sink", "sink"},
	"sink late":    {func(v *view) { v.result.Operations[0].Service = repeated(1000, 6*time.Millisecond) }, "sink", "sink"},

	"missed at the client": {func(v *view) { v.clients[0].samples[3].Interfaces[0].RXMissed = 1 }, "nic", "nic"},
	"dropped at the sink":  {func(v *view) { v.sink.samples[3].Interfaces[0].RXDropped = 10 }, "nic", "nic"},
	"one missed in 200,000": {func(v *view) {
		v.clients[0].samples[3].Interfaces[0].RXMissed = 1
		v.clients[0].samples[3].Interfaces[0].RXPackets = 200_000
	}, "", "schedule"},
	"dropped on an interface that carries nothing": {func(v *view) {
		v.sink.samples[3].Interfaces = append(v.sink.samples[3].Interfaces, evidence.Traffic{Name: "mgmt0", RXBytes: 1000, RXPackets: 20, RXDropped: 20, RXMissed: 1})
	}, "", "schedule"},
	"a broadcast dropped": {func(v *view) { v.sink.samples[3].Interfaces[0].RXDropped = 1 }, "", "schedule"},
	"softnet":             {func(v *view) { v.sink.samples[0].Network.SoftnetDropped = 1 }, "nic", "nic"},
	"dropped at the gateway": {func(v *view) {
		v.gateway.samples[0].Interfaces[0].RXMissed = 1000
	}, "", "schedule"},

	"shaped link": {func(v *view) {
		v.clients[0].each(func(s *evidence.Sample) {
			s.Qdiscs[0] = evidence.QdiscTraffic{Interface: "eth0", Kind: "tbf", Handle: "1:", Bytes: 115e6, Overlimits: 100, Backlog: 3000}
		})
	}, "", "link"},
	"shaper never waited": {func(v *view) {
		v.clients[0].each(func(s *evidence.Sample) {
			s.Qdiscs[0] = evidence.QdiscTraffic{Interface: "eth0", Kind: "tbf", Handle: "1:", Bytes: 115e6}
		})
	}, "", "schedule"},
	"line rate": {func(v *view) {
		v.sink.each(func(s *evidence.Sample) { s.Interfaces[0].WireTX = 9.6e9 })
	}, "", "link"},
	"line rate of a veth": {func(v *view) {
		v.sink.host.Interfaces[0].Kind = "veth"
		v.sink.each(func(s *evidence.Sample) { s.Interfaces[0].WireTX = 9.6e9 })
	}, "", "schedule"},
	"full link and a slipping generator": {func(v *view) {
		v.sink.each(func(s *evidence.Sample) { s.Interfaces[0].WireTX = 9.6e9 })
		v.result.Operations[0].Slip = repeated(1000, 6*time.Millisecond)
	}, "generator", "link"},

	"gateway busy": {func(v *view) {
		v.gateway.each(func(s *evidence.Sample) { s.Processes[0].Cores = 3.7 })
	}, "", "gateway CPU"},
	"gateway busy on the core that it has": {func(v *view) { // whatever the agent may use
		v.gateway.each(func(s *evidence.Sample) { s.Processes[0].Cores, s.Processes[0].Allowed = 0.95, 1 })
	}, "", "gateway CPU"},
	"gateway at its quota": {func(v *view) {
		v.gateway.each(func(s *evidence.Sample) {
			s.Processes[0].Cores, s.Processes[0].Allowed, s.Processes[0].Quota = 1.95, 4, 2
		})
	}, "", "gateway CPU"},
	"gateway with more cores than the agent": {func(v *view) {
		v.gateway.host.Allowed = []int{0}
		v.gateway.each(func(s *evidence.Sample) { s.Processes[0].Cores, s.Processes[0].Allowed = 1.5, 4 })
	}, "", "schedule"},
	"gateway of unknown affinity beside a pinned agent": {func(v *view) {
		v.gateway.host.Allowed = []int{0}
		v.gateway.each(func(s *evidence.Sample) { s.Processes[0].Cores = 1.5 })
	}, "", "schedule"},
	"tunnels refused in the ramp": {func(v *view) {
		v.result.Held, v.result.Outside = 900, map[string]uint64{"ticket": 100}
	}, "", "gateway refuses"},
	"gateway refuses": {func(v *view) {
		v.result.Done, v.result.Failed = 900, 100
		v.result.Failures = map[string]uint64{"refused": 90, "reset": 10}
	}, "", "gateway refuses"},
}

func TestVoidsAndLimits(t *testing.T) {
	for name, c := range verdicts {
		v := calmView()
		c.change(v)
		causes, limit := voidOf(v), limitOf(v)
		switch {
		case c.void == "" && len(causes) > 0:
			t.Errorf("%s: void because of %+v", name, causes)
		case c.void != "" && (len(causes) != 1 || causes[0].What != c.void):
			t.Errorf("%s: void because of %+v, want %s", name, causes, c.void)
		case limit.Resource != c.limit:
			t.Errorf("%s: limited by %+v, want %s", name, limit, c.limit)
		}
		if limit.Endpoint != "ours" || limit.Says == "" || limit.Resource != "unknown" && len(limit.Evidence) == 0 {
			t.Errorf("%s: the limit says %+v", name, limit)
		}
		for _, cause := range causes {
			if cause.Says == "" || len(cause.Evidence) == 0 {
				t.Errorf("%s: the cause says %+v", name, cause)
			}
		}
	}
}

// A round in which nothing was seen at all has no opinion and no crash.
func TestNothingSeen(t *testing.T) {
	v := &view{}
	if causes := voidOf(v); causes != nil {
		t.Errorf("void: %+v", causes)
	}
	if limit := limitOf(v); limit.Resource != "unknown" {
		t.Errorf("limit: %+v", limit)
	}
	if values := valuesOf(v); values != nil {
		t.Errorf("figures: %+v", values)
	}
}

func TestSamplesWithin(t *testing.T) {
	at := time.Unix(1000, 0)
	var samples []evidence.Sample
	for i := range 10 { // each ends at i+1 s and covers the second before
		samples = append(samples, evidence.Sample{At: at.Add(time.Duration(i+1) * time.Second), Took: time.Second})
	}
	in := within(samples, at.Add(2400*time.Millisecond), at.Add(5600*time.Millisecond))
	if len(in) != 4 || !in[0].At.Equal(at.Add(3*time.Second)) {
		t.Errorf("%d samples, the first of %v", len(in), in[0].At)
	}
}

// A clock that moved by a little is only marked.
func TestClocksMoved(t *testing.T) {
	if says, evidence := clocksMoved([]drift{{"client 1", 50 * time.Millisecond}}); says != "" || evidence != nil {
		t.Errorf("50 ms: %s %q", says, evidence)
	}
	r := &run{report: new(report.Report)}
	r.conclude([]drift{{"client 1", 50 * time.Millisecond}, {"sink", 150 * time.Millisecond}})
	if len(r.report.Void) != 1 || r.report.Void[0].What != "clocks" || len(r.report.Void[0].Evidence) != 1 || !strings.HasPrefix(r.report.Void[0].Evidence[0], "sink:") {
		t.Errorf("150 ms: %+v", r.report.Void)
	}
}

// Void rounds are named and left out while they are few, and void the run from half on.
func TestVoidRounds(t *testing.T) {
	for _, c := range []struct{ void, all int }{{0, 5}, {1, 5}, {2, 5}, {3, 5}, {1, 2}, {5, 5}} {
		r := &run{report: &report.Report{Endpoints: []string{"ours"}}}
		for n := 1; n <= c.all; n++ {
			round := report.Round{Endpoint: "ours", Number: n, Limit: report.Limit{Resource: "schedule"}}
			if n <= c.void {
				round.Void = []report.Cause{{What: "sink", Says: "The sink was busy."}}
			}
			r.report.Rounds = append(r.report.Rounds, round)
			r.valued = append(r.valued, valued{endpoint: "ours", number: n, void: n <= c.void, values: []value{whole(figureRate, "/s", "higher", float64(n))}})
		}
		r.conclude(nil)
		void := 2*c.void >= c.all && c.void > 0
		if got := len(r.report.Void) == 1; got != void {
			t.Errorf("%d of %d void: the run is void: %v", c.void, c.all, got)
		}
		named := len(r.report.Marks) == 1 && strings.Contains(r.report.Marks[0], "The sink was busy.")
		if named != (c.void > 0 && !void) {
			t.Errorf("%d of %d void: marks %q", c.void, c.all, r.report.Marks)
		}
		rounds := len(r.report.Figures[0].Rounds)
		if want := c.all - c.void; want > 0 && rounds != want || want == 0 && rounds != c.all {
			t.Errorf("%d of %d void: figures of %d rounds", c.void, c.all, rounds)
		}
	}
}
