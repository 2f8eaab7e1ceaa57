package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

// realDeeds are what a host really does. The service's account is the agent's to add.
func realDeeds() deeds {
	return deeds{
		now:  time.Now,
		look: evidence.Look,
		watch: func(processes []evidence.Watched) func() (evidence.Sample, error) {
			return evidence.NewSampler(processes...).Sample
		},
		rehearse: rehearse,
		run: func(ctx context.Context, plan load.Plan, second func(load.Second)) (load.Result, error) {
			return load.Run(ctx, plan, load.Observer{Second: second})
		},
	}
}

func rehearse(ctx context.Context, r rehearsal) (rehearsed, error) {
	const most, fastest = time.Minute, 1e6
	if !(r.Rate > 0 && r.Rate <= fastest && r.Lasts > 0 && r.Lasts <= most) {
		return rehearsed{}, fmt.Errorf("a rehearsal is at most %g operations a second for %s", fastest, most)
	}
	test, err := load.SelfTest(ctx, r.Rate, r.Lasts)
	return rehearsed{Rate: test.Achieved, P99: test.Slip.Quantile(0.99), Max: test.Slip.Max()}, err
}
