package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report/chart"
)

// moments is how many points of a course are drawn: more could not be seen.
const moments = 240

// course gathers what several rounds showed at the same moment of their course.
type course map[int][]float64 // by second since the round began

func (c course) add(second int, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		c[second] = append(c[second], v)
	}
}

// points has the median of the rounds as Y and their extremes as Low and High. If
// there are too many, neighbours are one: their extremes stay, Y is their mean.
func (c course) points() []chart.Point { return c.reduced(middle) }

// means is points with the mean of the rounds as Y, which can be stacked.
func (c course) means() []chart.Point { return c.reduced(mean) }

func (c course) reduced(to func([]float64) float64) []chart.Point {
	seconds := make([]int, 0, len(c))
	for s := range c {
		seconds = append(seconds, s)
	}
	slices.Sort(seconds)
	stride := (len(seconds) + moments - 1) / moments
	var out []chart.Point
	for group := range slices.Chunk(seconds, max(stride, 1)) {
		var ys []float64
		p := chart.Point{X: float64(group[0]), Low: math.Inf(1), High: math.Inf(-1)}
		for _, s := range group {
			ys = append(ys, to(c[s]))
			p.Low, p.High = min(p.Low, slices.Min(c[s])), max(p.High, slices.Max(c[s]))
		}
		p.Y = mean(ys)
		out = append(out, p)
	}
	return out
}

func middle(values []float64) float64 {
	_, m, _ := spread(values)
	return m
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return sum
}

// seconds is the course of something that clients saw.
func (o *outcome) seconds(of func(*load.Second) float64) course {
	c := make(course)
	for _, round := range o.Rounds {
		all := round.Result.Seconds
		for i := range all {
			// By the clients' own clock, whatever it is set to.
			if s := all[i].At.Sub(all[0].At); s >= 0 {
				c.add(int((s+time.Second/2)/time.Second), of(&all[i]))
			}
		}
	}
	return c
}

// watched is a host with its samples, sorted by when they were taken by the
// coordinator's clock.
type watched struct {
	*Host
	samples []*evidence.Sample
}

func (r *Report) watched() []watched {
	out := make([]watched, len(r.Hosts))
	for i := range r.Hosts {
		h := &r.Hosts[i]
		out[i].Host = h
		for j := range h.Samples {
			out[i].samples = append(out[i].samples, &h.Samples[j])
		}
		slices.SortStableFunc(out[i].samples, func(a, b *evidence.Sample) int { return a.At.Compare(b.At) })
	}
	return out
}

// within are the samples that lie in a stretch of the coordinator's time.
func (w *watched) within(from, to time.Time) []*evidence.Sample {
	from, to = from.Add(w.Offset), to.Add(w.Offset)
	at := func(s *evidence.Sample, t time.Time) int { return s.At.Compare(t) }
	first, _ := slices.BinarySearchFunc(w.samples, from, at)
	last, _ := slices.BinarySearchFunc(w.samples, to, at)
	if last < first {
		return nil
	}
	return w.samples[first:last]
}

// during calls each with every sample of the rounds that are shown, and with the
// second of the round that it lies in.
func (w *watched) during(o *outcome, each func(second int, s *evidence.Sample)) {
	for _, round := range o.Rounds {
		for _, s := range w.within(round.Began, round.Ended) {
			each(int(s.At.Add(-w.Offset).Sub(round.Began)/time.Second), s)
		}
	}
}

// course is the course of something that happened on the host.
func (w *watched) course(o *outcome, of func(*evidence.Sample) float64) course {
	c := make(course)
	w.during(o, func(second int, s *evidence.Sample) { c.add(second, of(s)) })
	return c
}

// sustained calls each with the samples of what counts of the rounds.
func (w *watched) sustained(o *outcome, each func(*evidence.Sample)) {
	for _, round := range o.Rounds {
		// Down to the last whole second: a sample tells of the time before it.
		for _, s := range w.within(round.Sustain.Add(time.Second), round.Sustain.Add(round.Result.Sustain)) {
			each(s)
		}
	}
}

// busiest is the interface that most went through in the rounds of all outcomes, the
// loopback only if there was no other; "" if there is none.
func (w *watched) busiest(outcomes []outcome) string {
	bits := make(map[string]float64)
	for i := range outcomes {
		w.during(&outcomes[i], func(_ int, s *evidence.Sample) {
			for _, t := range s.Interfaces {
				bits[t.Name] += float64(t.WireRX) + float64(t.WireTX)
			}
		})
	}
	best, name := 0.0, ""
	for _, candidate := range sortedKeys(bits) {
		weight := bits[candidate]
		if w.kind(candidate) == "loopback" {
			weight *= 1e-9
		}
		if weight > best {
			best, name = weight, candidate
		}
	}
	return name
}

func (w *watched) kind(name string) string {
	if i := w.named(name); i != nil {
		return i.Kind
	}
	return ""
}

func (w *watched) named(name string) *evidence.Interface {
	for i := range w.Interfaces {
		if w.Interfaces[i].Name == name {
			return &w.Interfaces[i]
		}
	}
	return nil
}

// length is how long the endpoint's first round took, ramps and all.
func (o *outcome) length() time.Duration {
	if len(o.Rounds) == 0 {
		return 0
	}
	return max(0, o.Rounds[0].Ended.Sub(o.Rounds[0].Began))
}

// shades are the ramps of the endpoint's first round.
func (o *outcome) shades(sustain time.Duration) []chart.Shade {
	if len(o.Rounds) == 0 {
		return nil
	}
	first := o.Rounds[0]
	up := first.Sustain.Sub(first.Began)
	if first.Result.Sustain > 0 {
		sustain = first.Result.Sustain
	}
	return []chart.Shade{{From: 0, To: up.Seconds()}, {From: (up + sustain).Seconds(), To: o.length().Seconds()}}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
