package load

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawPlan is any plan with a schedule of at most some thousand operations.
func drawPlan(t *rapid.T) Plan {
	phase := func(name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, name))
	}
	return Plan{
		Scenario: Scenario{Kind: Setup, Rate: rapid.Float64Range(0.1, 200).Draw(t, "rate"),
			Ramp: phase("ramp"), Sustain: phase("sustain") + time.Millisecond, Down: phase("down"),
			Poisson: rapid.Bool().Draw(t, "poisson")},
		Seed: rapid.Uint64().Draw(t, "seed"), Of: 1,
	}
}

func moments(p *Plan) (all []time.Duration) {
	for _, d := range p.arrivals() {
		all = append(all, d)
	}
	return all
}

// A schedule is a function of its plan, in order, and within its time; evenly spaced
// it has as many operations by any moment as the area under the rate says, but for
// less than one.
func TestSchedule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		s := p.Scenario.shape()
		all := moments(&p)
		if !slices.Equal(all, moments(&p)) {
			t.Fatal("it differs from one time to the next")
		}
		if !slices.IsSorted(all) {
			t.Fatal("it is not in order")
		}
		if end := s.ramp + s.sustain + s.down; len(all) > 0 && (all[0] < 0 || all[len(all)-1] > end) {
			t.Fatalf("from %v to %v, of %v", all[0], all[len(all)-1], end)
		}
		if p.Scenario.Poisson {
			return
		}
		for i, d := range all {
			if due := area(s, d); math.Abs(due-float64(i)-0.5) > 1e-3 {
				t.Fatalf("operation %d is due at %v, when it should be %f", i, d, due)
			}
		}
		if missing := s.total() - float64(len(all)); missing < -0.5-1e-9 || missing > 0.5+1e-9 {
			t.Fatalf("%d operations, not %f", len(all), s.total())
		}
	})
}

// area is how many operations are due by then: the naive way, piece by piece.
func area(s shape, d time.Duration) float64 {
	const steps = 2000
	sum, from := 0.0, 0.0
	for _, piece := range []struct{ to, at0, at1 float64 }{
		{s.ramp.Seconds(), 0, s.rate},
		{(s.ramp + s.sustain).Seconds(), s.rate, s.rate},
		{(s.ramp + s.sustain + s.down).Seconds(), s.rate, 0},
	} {
		to := min(piece.to, d.Seconds())
		whole := piece.to - from
		for i := 0; i < steps && to > from; i++ {
			middle := (float64(i) + 0.5) / steps * (to - from)
			sum += (piece.at0 + (piece.at1-piece.at0)*middle/whole) * (to - from) / steps
		}
		from = piece.to
	}
	return sum
}

// Clients that share a load do together exactly what one would do alone.
func TestScheduleIsShared(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		whole := moments(&p)
		p.Of = rapid.IntRange(1, 7).Draw(t, "of")
		var together []time.Duration
		for p.Share = range p.Of {
			for k, d := range p.arrivals() {
				if k%uint64(p.Of) != uint64(p.Share) || whole[k] != d {
					t.Fatalf("client %d does number %d at %v", p.Share, k, d)
				}
				together = append(together, d)
			}
		}
		slices.Sort(together)
		if !slices.Equal(whole, together) {
			t.Fatalf("%d alone, %d together", len(whole), len(together))
		}
	})
}

// Random arrivals have the rate asked for, and exponential gaps: their mean is their
// deviation.
func TestPoisson(t *testing.T) {
	t.Parallel()
	p := Plan{Scenario: Scenario{Kind: Setup, Rate: 1000, Sustain: 100 * time.Second, Poisson: true}, Seed: 42, Of: 1}
	all := moments(&p)
	if n := float64(len(all)); math.Abs(n-100_000) > 5*math.Sqrt(100_000) {
		t.Errorf("%v arrivals of 100,000", n)
	}
	var sum, squares float64
	for i := 1; i < len(all); i++ {
		gap := (all[i] - all[i-1]).Seconds()
		sum, squares = sum+gap, squares+gap*gap
	}
	n := float64(len(all) - 1)
	mean := sum / n
	if deviation := math.Sqrt(squares/n - mean*mean); math.Abs(deviation/mean-1) > 0.03 {
		t.Errorf("gaps of %v, deviation %v", mean, deviation)
	}
	p.Seed++
	if slices.Equal(all, moments(&p)) {
		t.Error("another seed, the same arrivals")
	}
}

// Devices that are woken evenly come in order, one in each part of the time; at
// random they are as many.
func TestSpread(t *testing.T) {
	t.Parallel()
	p := Plan{Seed: 3, Of: 1}
	i := 0
	for k, d := range p.spread(100, time.Second, false) {
		if k != uint64(i) || d/(10*time.Millisecond) != time.Duration(i) {
			t.Fatalf("device %d at %v", k, d)
		}
		i++
	}
	var quarters [4]int
	for _, d := range p.spread(4000, time.Second, true) {
		quarters[d/(250*time.Millisecond)]++
	}
	for _, n := range quarters {
		if n < 850 || n > 1150 {
			t.Errorf("4,000 at random: %v", quarters)
		}
	}
}

// Sizes stay within their bounds, lie around the median, and are the same again.
func TestAttachment(t *testing.T) {
	t.Parallel()
	p := Plan{Seed: 5}
	var all []int64
	for k := range uint64(5000) {
		size := p.attachment(k)
		if size < attachmentMin || size > attachmentMax || size != p.attachment(k) {
			t.Fatalf("attachment %d has %d bytes", k, size)
		}
		all = append(all, size)
	}
	slices.Sort(all)
	if median := all[2500] >> 10; median < 650 || median > 800 { // 724 KiB
		t.Errorf("median %d KiB", median)
	}
}

// A fleet that has been up for days answers its polls at an even rate from the start.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	p := Plan{Seed: 7, Scenario: Default(Push)}
	first := 0
	for k := range uint64(3000) {
		if p.heartbeat(k, 0) < 8*time.Second {
			first++
		}
		if d := p.heartbeat(k, 1); d < 8*time.Second || d > 59*time.Second || d == p.heartbeat(k, 2) {
			t.Fatalf("device %d holds for %v, and then %v", k, d, p.heartbeat(k, 2))
		}
	}
	if first < 600 || first > 1100 {
		t.Errorf("%d of 3,000 are answered in the first 8 s", first)
	}
}
