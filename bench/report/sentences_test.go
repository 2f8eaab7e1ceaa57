package report

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

// did is a report of one endpoint with rounds of these results.
func did(kind string, results ...load.Result) *Report {
	s := load.Default(kind)
	r := &Report{Endpoints: []string{"gw"}, Plan: load.Plan{Scenario: s}}
	for i, result := range results {
		r.Rounds = append(r.Rounds, Round{Number: i + 1, Endpoint: "gw", Result: result})
	}
	return r
}

// took1000 is a kind of operation that took 1 to 1,000 ms.
func took1000(name string) []load.Operation {
	op := load.Operation{Name: name, Within10s: 1000, Within30s: 1000}
	for ms := range 1000 {
		op.Latency.Record(time.Duration(ms+1) * time.Millisecond)
	}
	return []load.Operation{op}
}

func TestSentences(t *testing.T) {
	all := func(name string) load.Result {
		return load.Result{Scheduled: 1000, Done: 1000, Operations: took1000(name)}
	}
	for _, c := range []struct {
		report  *Report
		asked   string
		reached string
	}{
		{did("setup", all("setup")), "New tunnels were opened at 100 a second for 60 s through gw, in 1 round.",
			"gw served 100 % of 1,000 operations, half of them in 500 ms and 99 of 100 in 990 ms."},
		{did("idle", load.Result{Held: 1000, Died: 2}, load.Result{Held: 998}), "1,000 tunnels were opened and held idle for 60 s",
			"gw held 999 (998–1,000) tunnels, of which 2 in all rounds ended by themselves."},
		{did("bulk", load.Result{Down: 125e6, Sustain: time.Second}, load.Result{Down: 250e6, Sustain: time.Second}), "4 bulk transfers at a time were kept up for 60 s",
			"gw carried 1.50 Gbit/s (1.00–2.00) of bodies."},
		{did("requests", load.Result{Scheduled: 2000, Done: 1000, Failed: 1000, Operations: took1000("exchange")}), "Requests were made at 500 a second over 100 held tunnels",
			"gw served 50.0 % of 2,000 operations"},
		{did("push", all("poll")), "1,000 devices held long polls of 8 min to 59 min, 60 times as fast as by day, for 2 min", "half of them in 500 ms"},
		// Who got no answer was not within anything.
		{did("storm", load.Result{Scheduled: 2000, Done: 1000, Operations: took1000("wake")}), "1,000 devices were woken within 10 s, 50 % of them with a tunnel standing, through gw",
			"gw served 50.0 % of 2,000 devices within 10 s and 50.0 % within 30 s"},
		{did("morning", all("morning")), "1,000 devices came online within 30 s, each with a new tunnel, through", "100 % of 1,000 devices within 10 s"},
		{did("revoke", load.Result{Scheduled: 1000, Done: 997, Lived: 3, Operations: took1000("revoke")}), "1,000 tunnels were held, and ended by a command, through",
			"gw ended 997 of 1,000 tunnels, and 3 lived on."},
		{did("extender", all("event")), "12 accounts of 1,250 mailboxes each streamed notifications for 2 min", "99 of 100 in 990 ms"},
		{did("attachments", all("attachment")), "Attachments were fetched at 5 a second for 60 s", "99 of 100 in 990 ms"},
		{did("day", all("sync")), "500 devices lived through a working day, 60 times as fast as by day, for 2 min", "99 of 100 in 990 ms"},
		{did("news", all("news")), "The scenario news ran for 0 s", "99 of 100 in 990 ms"},
		{did("setup"), "New tunnels", "gw was not tried."},
		{did("setup", load.Result{Scheduled: 10}), "New tunnels", "gw served 0 % of 10 operations."},
	} {
		v := c.report.verdict(c.report.outcomes())
		if got := plain(v.Asked); !strings.HasPrefix(got, c.asked) {
			t.Errorf("%s: %q, not %q", c.report.Plan.Scenario.Kind, got, c.asked)
		}
		if got := plain(v.Reached); !strings.Contains(got, c.reached) {
			t.Errorf("%s: %q, not %q", c.report.Plan.Scenario.Kind, got, c.reached)
		}
	}
}

// TestVoidRoundsAreLeftOut: a round that does not count is in no sum, but where none
// counts they are shown rather than nothing.
func TestVoidRoundsAreLeftOut(t *testing.T) {
	r := did("setup", load.Result{Scheduled: 10, Done: 10}, load.Result{Scheduled: 500}, load.Result{Scheduled: 90, Done: 90})
	r.Rounds[1].Void = []Cause{{What: "sink"}}
	o := r.outcomes()[0]
	if o.Total.Scheduled != 100 || o.Total.Done != 100 || !o.Counts {
		t.Errorf("%+v", o.Total)
	}
	if n := o.Total.Sustain; n != 0 {
		t.Errorf("rounds that took turns sustained for %v", n)
	}
	if s := r.confidence(); !strings.Contains(s, "Of 3 rounds that were begun, 1 is void.") {
		t.Error(s)
	}
	r.Rounds[0].Void, r.Rounds[2].Void = r.Rounds[1].Void, r.Rounds[1].Void
	if o := r.outcomes()[0]; o.Total.Scheduled != 600 || o.Counts {
		t.Errorf("%+v", o.Total)
	}
}

// TestRunBrokenOff: what was done until then is told, as what it is, and beside what was
// asked for.
func TestRunBrokenOff(t *testing.T) {
	r := did("setup", load.Result{Scheduled: 10, Done: 10})
	r.Turns = 3
	r.Rounds[0].Void = []Cause{{What: Partial}}
	v := r.verdict(r.outcomes())
	if got := plain(v.Asked); !strings.HasSuffix(got, "in 3 rounds.") {
		t.Error(got)
	}
	if got := plain(v.Reached); got != "Nothing that counts: it was broken off in its first round. Until then: gw served 100 % of 10 operations." {
		t.Error(got)
	}
	if s := r.confidence(); !strings.HasSuffix(s, " Of 1 round that was begun, 1 is broken off.") {
		t.Error(s)
	}
	r.Rounds = append(r.Rounds, r.Rounds[0])
	r.Rounds[0].Void = nil
	if got := plain(r.verdict(r.outcomes()).Reached); got != "It was broken off. In the rounds before: gw served 100 % of 10 operations." {
		t.Error(got)
	}
}

// TestConfidenceOfTheFewest: a report is worth what its weakest endpoint is.
func TestConfidenceOfTheFewest(t *testing.T) {
	five := []float64{1, 2, 3, 4, 5}
	r := &Report{Figures: []Figure{
		NewFigure("ours", "done", "/s", "higher", five[:2]), NewFigure("ours", "memory", "MiB", "lower", five[:1]),
		NewFigure("theirs", "done", "/s", "higher", five),
	}}
	if s := r.confidence(); !strings.HasPrefix(s, "2 rounds: too few") {
		t.Error(s)
	}
}

// TestVoidByHowMany: the banner says which rounds make the run void.
func TestVoidByHowMany(t *testing.T) {
	r := did("setup", load.Result{}, load.Result{}, load.Result{}, load.Result{})
	for broken, want := range []string{"", "", ": 2 of 4 rounds through gw", ": 3 of 4 rounds through gw"} {
		if got := r.voided(); got != want {
			t.Errorf("%d: %q", broken, got)
		}
		r.Rounds[broken].Void = []Cause{{What: "sink"}}
	}
	r.Rounds[3].Void = []Cause{{What: Partial}}
	if got := r.voided(); got != ": 3 of 3 rounds through gw" {
		t.Error(got)
	}
}

// TestKneeRoundsAreNotMixedIn: rounds at other loads belong to the search for the knee.
func TestKneeRoundsAreNotMixedIn(t *testing.T) {
	r := did("setup", load.Result{Scheduled: 1}, load.Result{Scheduled: 1}, load.Result{Scheduled: 1000})
	r.Rounds[2].Load = 1000
	if o := r.outcomes()[0]; o.Total.Scheduled != 2 || o.Load != 0 {
		t.Errorf("%+v", o)
	}
}

// TestMemoryIsOfTheOwnGateway: of two gateways on one host, each endpoint shows its own.
func TestMemoryIsOfTheOwnGateway(t *testing.T) {
	r := storm()
	host := &r.watched()[2]
	both := r.memory(host, r.outcomes())
	if both == nil || len(both.Panels) != 2 || both.Panels[0].SVG == both.Panels[1].SVG {
		t.Fatalf("%+v", both)
	}
	for i := range host.samples {
		host.samples[i].Processes = host.samples[i].Processes[:1]
	}
	if one := r.memory(host, r.outcomes()); one == nil || len(one.Panels) != 1 || one.Panels[0].Caption != "sallyport" {
		t.Errorf("%+v", one)
	}
}

// TestCourseByAnyClock: a host whose clock is five minutes off has its samples where
// they belong, and a client's seconds count from its own first.
func TestCourseByAnyClock(t *testing.T) {
	r := storm()
	host := &r.Hosts[2]
	straight := r.watched()[2]
	o := r.outcomes()[0]
	before := straight.course(&o, rss).points()
	for i := range host.Samples {
		host.Samples[i].At = host.Samples[i].At.Add(5 * time.Minute)
	}
	host.Offset += 5 * time.Minute
	shifted := r.watched()[2]
	after := shifted.course(&o, rss).points()
	if len(before) != 60 || len(after) != 60 || before[30] != after[30] || before[0].X != 0 {
		t.Errorf("%d points, then %d: %v, %v", len(before), len(after), before[30], after[30])
	}
	// All of what is sustained, and nothing of a ramp.
	n := 0
	shifted.sustained(&o, func(*evidence.Sample) { n++ })
	if n != 5*(fixtureSustain-1) {
		t.Errorf("%d samples of %d rounds", n, len(o.Rounds))
	}
}

func rss(s *evidence.Sample) float64 { return float64(s.Processes[0].RSSKiB) }

// TestThinning: an hour is drawn with few points, and none of its extremes is lost.
func TestThinning(t *testing.T) {
	c := make(course)
	for s := range 3600 {
		c.add(s, 10)
	}
	c.add(1234, 9000)
	points := c.points()
	if len(points) > moments || highest(points) != 9000 {
		t.Errorf("%d points up to %v", len(points), highest(points))
	}
}
