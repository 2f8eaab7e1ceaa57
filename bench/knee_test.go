package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// A queue's answer to load: fine until its capacity, and not beyond.
func TestKnee(t *testing.T) {
	for _, c := range []struct {
		start, capacity float64
		whole           bool
	}{
		{100, 1234, false}, {100, 100, false}, {1000, 37, false}, {1, 5000, true}, {4, 1, true}, {50, 51, true}, {7, 7, true},
	} {
		knee, err := searchKnee(t.Context(), c.start, c.whole, func(_ context.Context, load float64) (attempt, error) {
			if c.whole && load != float64(int(load)) {
				t.Errorf("%v devices were tried", load)
			}
			if load > c.capacity {
				return attempt{missed: "p99"}, nil
			}
			return attempt{}, nil
		})
		if err != nil || len(knee.Tries) > kneeTries {
			t.Fatalf("%+v: %v after %d tries", c, err, len(knee.Tries))
		}
		if knee.Load > c.capacity || knee.Above != 0 && knee.Above <= c.capacity {
			t.Errorf("%+v: the knee is said to be between %v and %v", c, knee.Load, knee.Above)
		}
		near := knee.Above/knee.Load <= kneeNear || c.whole && knee.Above-knee.Load <= 1
		if !near && len(knee.Tries) < kneeTries {
			t.Errorf("%+v: stopped after %d tries between %v and %v", c, len(knee.Tries), knee.Load, knee.Above)
		}
	}
}

// Nothing holds, and everything does: both end.
func TestKneeWithoutOne(t *testing.T) {
	never, err := searchKnee(t.Context(), 100, true, func(context.Context, float64) (attempt, error) {
		return attempt{missed: "p99"}, nil
	})
	if err != nil || never.Load != 0 || never.Above != 1 || len(never.Tries) > kneeTries {
		t.Errorf("%+v, %v", never, err)
	}
	ever, err := searchKnee(t.Context(), 1, true, func(context.Context, float64) (attempt, error) { return attempt{}, nil })
	if err != nil || ever.Above != 0 || len(ever.Tries) != kneeTries || ever.Load != 1<<(kneeTries-1) {
		t.Errorf("%+v, %v", ever, err)
	}
}

// What is missed once, and met when it is tried again, does not bound the search.
func TestKneeTriesAgain(t *testing.T) {
	tries := make(map[float64]int)
	knee, err := searchKnee(t.Context(), 100, false, func(_ context.Context, load float64) (attempt, error) {
		if tries[load]++; load == 200 && tries[load] == 1 || load > 400 {
			return attempt{missed: "p99"}, nil
		}
		return attempt{}, nil
	})
	if err != nil || knee.Load < 400 || tries[200] != 2 || tries[100] != 1 || tries[knee.Above] != 2 {
		t.Errorf("%+v, %v, %v", knee, tries, err)
	}
}

// What fails is longer than any limit, however fast the rest is.
func TestKneeOfSomeFailures(t *testing.T) {
	o, err := ReadObjectives(strings.NewReader("latency: {p99: 2s}"))
	if err != nil {
		t.Fatal(err)
	}
	for failed, met := range map[int]bool{0: true, 10: true, 11: false, 100_000: false} {
		v := calmView()
		v.result.Done, v.result.Failed = 1000, uint64(failed)
		v.result.Operations = []load.Operation{{Name: "setup", Due: uint64(1000 + failed)}}
		for range 1000 {
			v.result.Operations[0].Latency.Record(time.Millisecond)
		}
		for range failed {
			v.result.Operations[0].GaveUp.Record(time.Millisecond)
		}
		if a := attemptOf(v, o); (a.missed == "") != met {
			t.Errorf("%d failed: %q", failed, a.missed)
		}
	}
}

func TestKneeEndsWhenVoid(t *testing.T) {
	tries := 0
	knee, err := searchKnee(t.Context(), 100, false, func(_ context.Context, load float64) (attempt, error) {
		if tries++; tries == 3 {
			return attempt{void: "The generator used up its processors."}, nil
		}
		return attempt{}, nil
	})
	if err != nil || tries != 3 || knee.Load != 200 || knee.Above != 0 {
		t.Fatalf("%d tries, %+v, %v", tries, knee, err)
	}
	if last := knee.Tries[2]; last.Met || last.Reason == "" {
		t.Errorf("the void try is said to be %+v", last)
	}
	broken := errors.New("gone")
	if _, err := searchKnee(t.Context(), 1, false, func(context.Context, float64) (attempt, error) { return attempt{}, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// A load under which everything fails has no latency, and is not held for all that; a
// load that is held has the latencies that the curve is drawn of.
func TestKneeOfFailures(t *testing.T) {
	for _, text := range []string{"latency: {p99: 2s}", "gateway_cpu: 6"} {
		o, err := ReadObjectives(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		knee, err := searchKnee(t.Context(), 100, false, func(_ context.Context, load float64) (attempt, error) {
			v := calmView()
			if load > 100 {
				v.result.Done, v.result.Failed, v.result.Operations = 0, 1000, nil
			}
			return attemptOf(v, o), nil
		})
		if err != nil || knee.Load != 100 || knee.Above == 0 {
			t.Fatalf("%s: %+v, %v", text, knee, err)
		}
		held, failed := knee.Tries[0], knee.Tries[1]
		if !held.Met || held.P50.Round(time.Millisecond) != 10*time.Millisecond || held.P99.Round(time.Millisecond) != 10*time.Millisecond {
			t.Errorf("%s: %+v", text, held)
		}
		if again := knee.Tries[2]; again != failed {
			t.Errorf("%s: what was missed is tried again: %+v, and then %+v", text, failed, again)
		}
		if want := (report.Try{Load: 200, Reason: "all of 1000 operations failed"}); failed != want {
			t.Errorf("%s: %+v, want %+v", text, failed, want)
		}
	}
}
