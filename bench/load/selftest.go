package load

import (
	"context"
	"time"
)

// Exactness says what a generator can do on this host.
type Exactness struct {
	Asked    float64       `json:"asked"`    // operations a second
	Achieved float64       `json:"achieved"` // begun a second, from the first to the last
	Begun    uint64        `json:"begun"`
	Took     time.Duration `json:"took"`
	Slip     Histogram     `json:"slip"` // how much later than scheduled each began
}

// SelfTest runs a schedule, evenly at rate for d, of operations that do nothing:
// what slips here, slips whatever the gateway. The error is ctx's; the figures are
// good until then.
func SelfTest(ctx context.Context, rate float64, d time.Duration) (Exactness, error) {
	plan := Plan{Scenario: Scenario{Kind: "setup", Rate: rate, Sustain: d}}
	rec := newRecorder(time.Now().Add(10*time.Millisecond), plan.Scenario)
	p := pacer{rec: rec, slots: make(chan struct{}, 1<<10), patience: time.Minute, wait: waitSharply}
	p.run(ctx, row("nothing"), rec.begin, plan.arrivals(), func(context.Context, uint64, time.Time) error { return nil })
	test := Exactness{Asked: rate, Took: time.Since(rec.begin)}
	for _, o := range rec.take().Operations {
		test.Slip, test.Begun = o.Slip, o.Slip.Count()
	}
	test.Achieved = float64(test.Begun) / max(test.Took.Seconds(), d.Seconds())
	return test, ctx.Err()
}
