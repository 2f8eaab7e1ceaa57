package load

import (
	"iter"
	"math"
	"time"
)

// shape is a rate over time: linear up, level, linear down.
//
//	rate │    ┌────────────┐
//	     │  ╱ │            │ ╲
//	     │╱   │            │   ╲
//	     └────┴────────────┴────► time
//	      ramp    sustain   down
type shape struct {
	rate                float64 // operations a second at the top
	ramp, sustain, down time.Duration
}

func (s Scenario) shape() shape { return shape{s.Rate, s.Ramp, s.Sustain, s.Down} }

// total is how many operations fall into the whole of it. It need not be whole.
func (s shape) total() float64 {
	return s.rate * (s.ramp.Seconds()/2 + s.sustain.Seconds() + s.down.Seconds()/2)
}

// moment is when n operations have fallen due, counted from the beginning: the
// inverse of the area under the rate. n is from 0 to total.
func (s shape) moment(n float64) time.Duration {
	up, down := s.ramp.Seconds(), s.down.Seconds()
	rising, level := s.rate*up/2, s.rate*s.sustain.Seconds()
	switch {
	case n < rising:
		return seconds(math.Sqrt(2 * n * up / s.rate))
	case n <= rising+level:
		return s.ramp + seconds((n-rising)/s.rate)
	}
	// From the end backwards it is a rising ramp.
	left := max(0, s.total()-n)
	return s.ramp + s.sustain + s.down - seconds(math.Sqrt(2*left*down/s.rate))
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

// arrivals yields the number and the moment of every operation of the schedule that
// is this client's, in order, moments counted from Begin. It is a function of the
// plan alone: the clients that share a load, by number modulo Of, never meet and
// never leave a gap.
//
// Evenly spaced, operation k falls due in the middle of the k-th unit of area, so
// none lies on an edge between ramp and sustain. At random, the gaps are exponential
// (a Poisson process, thinned by the ramps), drawn from Seed for each k.
func (p *Plan) arrivals() iter.Seq2[uint64, time.Duration] {
	return func(yield func(uint64, time.Duration) bool) {
		s := p.Scenario.shape()
		if s.rate <= 0 {
			return
		}
		total, due := s.total(), 0.0
		for k := uint64(0); ; k++ {
			if p.Scenario.Poisson {
				due += -math.Log(p.draw(k, drawGap))
			} else {
				due = float64(k) + 0.5
			}
			if due >= total {
				return
			}
			if p.mine(k) && !yield(k, s.moment(due)) {
				return
			}
		}
	}
}

// spread yields this client's share of n devices, each with its moment within d:
// evenly, or each wherever Seed puts it. Evenly they come in order.
func (p *Plan) spread(n int, d time.Duration, random bool) iter.Seq2[uint64, time.Duration] {
	return func(yield func(uint64, time.Duration) bool) {
		for i := range uint64(n) {
			share := (float64(i) + 0.5) / float64(n)
			if random {
				share = p.draw(i, drawMoment)
			}
			if p.mine(i) && !yield(i, time.Duration(share*float64(d))) {
				return
			}
		}
	}
}

// mine says whether operation or device k is this client's.
func (p *Plan) mine(k uint64) bool { return p.Of <= 1 || k%uint64(p.Of) == uint64(p.Share) }

// What is drawn for an operation or a device: each has a sequence of its own.
const (
	drawGap = iota
	drawMoment
	drawHold
	drawPhase
	drawSize
	drawSize2
	drawKind
	drawEvent
)

// draw is a number from (0, 1), uniform, that Seed, k and the purpose decide.
func (p *Plan) draw(k uint64, purpose uint64) float64 {
	x := mix(p.Seed ^ mix(k+0x9e3779b97f4a7c15*(purpose+1)))
	return (float64(x>>11) + 0.5) / (1 << 53)
}

// mix is the finisher of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
