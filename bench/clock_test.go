package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// away is a host whose clock is off, at the other end of a network whose ways there and
// back differ.
type away struct {
	off         time.Duration
	there, back func() time.Duration
}

func (a away) ask(context.Context) (time.Time, error) {
	time.Sleep(a.there())
	theirs := time.Now().Add(a.off)
	time.Sleep(a.back())
	return theirs, nil
}

func TestClocksApart(t *testing.T) {
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, 3 * time.Millisecond, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			way := func() time.Duration {
				return 200*time.Microsecond + time.Duration(random.ExpFloat64()*float64(2*time.Millisecond))
			}
			c, err := readClock(t.Context(), time.Now, away{off, way, way}.ask)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := (c.offset - off).Abs(); wrong > c.uncertain {
				t.Errorf("off by %v, read as %v ± %v", off, c.offset, c.uncertain)
			}
			if c.uncertain > 2*time.Millisecond {
				t.Errorf("the fastest of %d exchanges took %v", clockTries, 2*c.uncertain)
			}
			at := time.Now()
			if back := c.ours(c.theirs(at)); !back.Equal(at) {
				t.Errorf("%v came back as %v", at, back)
			}
			if theirs := c.theirs(at); theirs.Sub(at.Add(off)).Abs() > c.uncertain {
				t.Errorf("now is %v there, not %v", at.Add(off), theirs)
			}
		})
	}
}

func TestClockDrift(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		before, after clock
		want          time.Duration
	}{
		{clock{0, ms}, clock{2 * ms, ms}, 0}, // within what the readings leave open
		{clock{0, ms}, clock{-2 * ms, ms}, 0},
		{clock{5 * time.Minute, ms}, clock{5*time.Minute + 200*ms, ms}, 198 * ms},
		{clock{5 * time.Minute, ms}, clock{5*time.Minute - 200*ms, 2 * ms}, 197 * ms},
	} {
		if got := c.before.drift(c.after); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.before, c.after, got, c.want)
		}
	}
}

func TestClockOfNobody(t *testing.T) {
	gone := errors.New("gone")
	_, err := readClock(t.Context(), time.Now, func(context.Context) (time.Time, error) { return time.Time{}, gone })
	if !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}
