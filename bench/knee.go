package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sallyport/sallyport/bench/report"
)

const (
	// kneeTries bounds a search: nine doublings or halvings, five bisections down to a
	// twentieth, and second tries of what was missed.
	kneeTries = 20
	// kneeNear is when two loads are close enough to one another to stop: nearer than
	// rounds of one load are to one another.
	kneeNear = 1.05
)

// attempt is one load and what became of it. void says why it does not count; it ends
// the search, because what failed there was not the endpoint.
type attempt struct {
	missed string // the objective that was missed; empty if all were met
	void   string
	// p50 and p99 are of the operation that the scenario is about; 0 of too few.
	p50, p99 time.Duration
}

// attemptOf holds a round against the objectives. One in which everything failed misses
// them, whatever they are about: it has no latency that could be too long.
func attemptOf(v *view, objectives *Objectives) attempt {
	var a attempt
	r := v.result
	if main := report.Principal(v.plan.Scenario.Kind, r.Operations); main != nil {
		a.p50, _ = main.Latency.Percentile(0.50)
		a.p99, _ = main.Latency.Percentile(0.99)
	}
	if r.Done == 0 && r.Failed > 0 {
		a.missed = fmt.Sprintf("all of %d operations failed", r.Failed)
		return a
	}
	endpoint := v.plan.Endpoint.Name
	round := []valued{newValued(endpoint, 0, false, v)}
	a.missed = missed(objectives.judge(endpoint, figuresOf([]string{endpoint}, round), failedOf(round, endpoint)))
	return a
}

// searchKnee looks for the highest load within the objectives: it doubles from start
// until one is missed, or halves until all are met, and then bisects. A load that missed
// one is tried once more, for a moment of somebody else's must not bound the search. whole
// says that loads are whole numbers (devices, streams).
func searchKnee(ctx context.Context, start float64, whole bool, try func(context.Context, float64) (attempt, error)) (report.Knee, error) {
	var knee report.Knee
	again := false // this load was missed once
	for at := start; len(knee.Tries) < kneeTries && at > 0; {
		a, err := try(ctx, at)
		if err != nil {
			return knee, err
		}
		t := report.Try{Load: at, Met: a.missed == "" && a.void == "", Reason: a.missed, P50: a.p50, P99: a.p99}
		if a.void != "" {
			t.Reason = "void, and the search ends here: " + a.void
			knee.Tries = append(knee.Tries, t)
			return knee, nil
		}
		knee.Tries = append(knee.Tries, t)
		if !t.Met && !again {
			again = true
			continue
		}
		again = false
		if t.Met {
			knee.Load = max(knee.Load, at)
		} else if knee.Above == 0 || at < knee.Above {
			knee.Above = at
		}
		if knee.Load > 0 && knee.Above > 0 && (knee.Above/knee.Load <= kneeNear || whole && knee.Above-knee.Load <= 1) {
			break
		}
		at = next(knee, at, whole)
	}
	return knee, nil
}

// next is the load to try after one at a given load; 0 ends the search.
func next(knee report.Knee, at float64, whole bool) float64 {
	var load float64
	switch {
	case knee.Above == 0:
		return 2 * at
	case knee.Load == 0:
		load = at / 2
	default:
		load = (knee.Load + knee.Above) / 2
	}
	if whole {
		load = math.Floor(load)
	}
	return load
}
