package chart

import (
	"math"
	"strconv"
)

// Axis is how values become places.
type Axis struct {
	Label string
	Scale Scale
	// Min and Max widen the axis beyond what is drawn; both 0 leave it to that.
	Min, Max float64
	// Format writes a tick; nil writes the number as it is.
	Format func(float64) string
	// Measure chooses the unit of a linear axis by the greatest value on it: its name,
	// which becomes the label, and how many of it one is. Ticks are round numbers of
	// that unit. nil leaves values as they are.
	Measure func(greatest float64) (unit string, factor float64)
}

// Scale is a kind of axis.
type Scale int

// Linear axes start at 0 where they can. Clock is linear with ticks at the round
// numbers of seconds, minutes and hours. Log axes have ticks at powers of ten.
// Nines is HdrHistogram's: X is −log10(1−p), so that 90 %, 99 % and 99.9 % are
// equally far apart; ticks are labelled so. Ordinal is of whole numbers, each as
// wide as a bar.
const (
	Linear Scale = iota
	Clock
	Log
	Nines
	Ordinal
)

// extent is the least and the greatest of what it was given.
type extent struct{ low, high float64 }

func nothing() extent { return extent{math.Inf(1), math.Inf(-1)} }

func (e *extent) take(v float64) {
	if finite(v) {
		e.low, e.high = math.Min(e.low, v), math.Max(e.high, v)
	}
}

func (e extent) empty() bool { return e.low > e.high }

// scale is an axis laid over the drawing: values low to high at places from to to.
type scale struct {
	low, high float64 // in the scale's own terms: logarithms on a log axis
	from, to  float64
	log       bool
	ticks     []tick
}

type tick struct {
	at    float64 // place
	label string
}

// over lays the axis of these values between two places. Ticks are of a unit of which
// one is factor.
func (a Axis) over(e extent, from, to, factor float64) scale {
	if a.Min != 0 || a.Max != 0 {
		e.take(a.Min)
		e.take(a.Max)
	}
	s := scale{from: from, to: to}
	var values []float64
	switch a.Scale {
	case Log:
		s.log = true
		s.low, s.high, values = decades(e)
	case Nines:
		s.low, s.high = 0, math.Min(math.Max(e.high, 1), 12)
		values = nines(s.high)
	case Ordinal:
		s.low, s.high, values = ordinal(e)
	case Clock:
		s.low, s.high = e.low, beyond(e.low, e.high)
		values = multiples(s.low, s.high, clockStep((s.high-s.low)/6))
	default:
		s.low = math.Min(e.low, 0)
		step := roundStep((beyond(s.low, e.high)-s.low)*factor/4) / factor
		s.high = math.Ceil(beyond(s.low, e.high)/step*(1-1e-9)) * step
		values = multiples(s.low, s.high, step)
	}
	for _, v := range values {
		s.ticks = append(s.ticks, tick{at: s.place(v), label: a.format(v * factor)})
	}
	if a.Scale == Ordinal {
		// Labels stand under the middle of what they name.
		for i := range s.ticks {
			s.ticks[i].at += (s.to - s.from) / (s.high - s.low) / 2
		}
	}
	return s
}

func (a Axis) format(v float64) string {
	switch {
	case a.Format != nil:
		return a.Format(v)
	case a.Scale == Nines:
		return percentile(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func beyond(low, high float64) float64 {
	if high > low {
		return high
	}
	return low + math.Max(1, math.Abs(low)*1e-3)
}

// place is where v is drawn; outside the axis it is outside the frame.
func (s scale) place(v float64) float64 {
	if s.log {
		v = math.Log10(math.Max(v, math.SmallestNonzeroFloat64))
	}
	return s.from + (v-s.low)/(s.high-s.low)*(s.to-s.from)
}

// clamp is place, kept within the frame.
func (s scale) clamp(v float64) float64 {
	low, high := math.Min(s.from, s.to), math.Max(s.from, s.to)
	at := s.place(v)
	if math.IsNaN(at) {
		return s.from
	}
	return math.Min(math.Max(at, low), high)
}

// within says whether v is on the axis.
func (s scale) within(v float64) bool {
	if s.log {
		if v <= 0 {
			return false
		}
		v = math.Log10(v)
	}
	return v >= s.low && v <= s.high
}

// roundStep is the smallest of 1, 2, 5 times a power of ten that is at least v.
func roundStep(v float64) float64 {
	if !(v > 0) || !finite(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// clockStep is the same for seconds.
func clockStep(v float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400} {
		if s >= v {
			return s
		}
	}
	return math.Ceil(v/86400) * 86400
}

// multiples are the whole multiples of step within low and high.
func multiples(low, high, step float64) []float64 {
	var out []float64
	for n := math.Ceil(low/step - 1e-9); n*step <= high+step*1e-9 && len(out) < 16; n++ {
		out = append(out, n*step+0) // + 0: no minus before a zero
	}
	return out
}

// decades rounds the extent of a log axis outwards to 1, 2 or 5 times a power of
// ten, and has ticks at the powers, or at those three if the axis is short.
func decades(e extent) (low, high float64, ticks []float64) {
	if !(e.high > 0) {
		e = extent{1, 10}
	}
	if e.low < e.high*1e-9 {
		e.low = e.high * 1e-9
	}
	e.low, e.high = math.Max(e.low, 1e-300), math.Min(math.Max(e.high, 1e-299), 1e300)
	down := roundStep(e.low)
	for down > e.low*(1+1e-9) {
		down = roundStep(down / 2.6)
	}
	low, high = math.Log10(down), math.Log10(roundStep(e.high))
	if high-low < 0.3 {
		high = low + 1
	}
	every := []float64{1}
	if high-low < 2.2 {
		every = []float64{1, 2, 5}
	}
	stride := math.Max(1, math.Ceil((high-low)/7))
	for n := math.Floor(low); n <= high; n += stride {
		for _, m := range every {
			v := m * math.Pow(10, n)
			if l := math.Log10(v); l >= low-1e-9 && l <= high+1e-9 {
				ticks = append(ticks, v)
			}
		}
	}
	return low, high, ticks
}

// nines are 0, 50, 90, 99, 99.9 … %.
func nines(high float64) []float64 {
	ticks := []float64{0, -math.Log10(0.5)}
	for n := 1.0; n <= high; n++ {
		ticks = append(ticks, n)
	}
	return ticks
}

func percentile(x float64) string {
	n := int(math.Round(x))
	switch {
	case x <= 0:
		return "0"
	case x < 0.9:
		return "50 %"
	case n <= 2:
		return []string{"", "90 %", "99 %"}[n]
	}
	return "99." + "9999999999"[:min(n-2, 10)] + " %"
}

// ordinal has a tick at each whole number, or at every second, fifth, ….
func ordinal(e extent) (low, high float64, ticks []float64) {
	low, high = math.Floor(e.low), math.Ceil(beyond(e.low, e.high))
	step := math.Max(1, roundStep((high-low)/16))
	for v := low; v < high && len(ticks) < 64; v += step {
		ticks = append(ticks, v)
	}
	return low, high, ticks
}
