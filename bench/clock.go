package bench

import (
	"context"
	"time"
)

const (
	// clockTries is how often a clock is asked; the fastest answer counts.
	clockTries = 25
	// clockPause spreads the tries, so that one burst of other traffic does not
	// spoil them all.
	clockPause = 2 * time.Millisecond
	// clockGood is the uncertainty above which a report says so.
	clockGood = 5 * time.Millisecond
	// clockBad is how far a clock may move within a run: seconds of samples and of
	// the schedule then no longer belong together.
	clockBad = 100 * time.Millisecond
)

// clockAbsurd is an offset that no clock has which anybody sets.
const clockAbsurd = 366 * 24 * time.Hour

// recorded is whether a moment can be one of a run, or none: JSON has none beyond the
// year 9999, nor before the year 0, and none is moved there by an offset.
func recorded(t time.Time) bool { return t.IsZero() || t.Year() >= 1970 && t.Year() < 9000 }

// clock is what is known of another host's clock: it shows offset more than ours,
// and the truth lies within uncertain of that.
//
//	ours    asked ────── rtt ────── answered        offset = theirs − (asked + rtt/2)
//	theirs          ▲ theirs                        uncertain = rtt/2
//
// The answer was made at some moment between asking and hearing; the faster the
// exchange, the less that can be.
type clock struct {
	offset    time.Duration
	uncertain time.Duration
}

// readClock asks a host for its time again and again. now must carry a monotonic
// reading, so that a step of our own clock within an exchange does not matter.
func readClock(ctx context.Context, now func() time.Time, ask func(context.Context) (time.Time, error)) (clock, error) {
	best := clock{uncertain: -1}
	for range clockTries {
		asked := now()
		theirs, err := ask(ctx)
		if err != nil {
			return clock{}, err
		}
		half := now().Sub(asked) / 2
		if best.uncertain < 0 || half < best.uncertain {
			best = clock{theirs.Round(0).Sub(asked.Round(0)) - half, half}
		}
		if err := pause(ctx, clockPause); err != nil {
			return clock{}, err
		}
	}
	return best, nil
}

// theirs is a moment of ours as the other host's clock shows it.
func (c clock) theirs(t time.Time) time.Time { return t.Round(0).Add(c.offset) }

// ours is a moment of the other host's as our clock shows it.
func (c clock) ours(t time.Time) time.Time { return t.Round(0).Add(-c.offset) }

// drift is how far the clock moved between two readings, less what the readings
// leave open; 0 if they agree.
func (c clock) drift(later clock) time.Duration {
	return max(0, (later.offset-c.offset).Abs()-c.uncertain-later.uncertain)
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
