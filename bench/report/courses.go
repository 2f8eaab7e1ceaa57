package report

import (
	"math"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report/chart"
)

// courses are the pictures of what clients saw over time.
func (r *Report) courses(outcomes []outcome) []*multiple {
	return present(
		r.rateCourse(outcomes),
		r.latencyCourse(outcomes),
		r.bodiesCourse(outcomes),
		r.gaugeCourse(outcomes, "Operations in flight", "What was under way at the end of each second.", func(s *load.Second) float64 { return float64(s.InFlight) }),
		r.gaugeCourse(outcomes, "Tunnels open", "", func(s *load.Second) float64 { return float64(s.Tunnels) }),
		r.slipCourse(outcomes),
	)
}

func present(all ...*multiple) []*multiple {
	var out []*multiple
	for _, m := range all {
		if m != nil {
			out = append(out, m)
		}
	}
	return out
}

func (r *Report) rateCourse(outcomes []outcome) *multiple {
	m := multiple{Title: "Operations a second", Legend: []key{{Name: "scheduled", Tone: toneFaint}, {Name: "done", Tone: toneFirst}, {Name: "failed", Tone: toneBad, Dash: 1}},
		Note: "Where done stays below scheduled, a queue grows."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, chart.Axis{Label: "/s", Format: amount})
		scheduled := o.seconds(func(s *load.Second) float64 { return float64(s.Scheduled) })
		done := o.seconds(func(s *load.Second) float64 { return float64(s.Done) })
		failed := o.seconds(func(s *load.Second) float64 { return float64(s.Failed) })
		c.Layers = append(c.Layers, chart.Layer{Kind: chart.Step, Tone: toneFaint, Points: scheduled.points()})
		c.Layers = append(c.Layers, banded(toneFirst, 0, stepped(done.points()))...)
		c.Layers = append(c.Layers, banded(toneBad, 1, stepped(failed.points()))...)
		return c
	})
}

func (r *Report) latencyCourse(outcomes []outcome) *multiple {
	m := multiple{Title: "Latency of what was done in a second", Legend: []key{{Name: "p50", Tone: toneFirst}, {Name: "p99", Tone: toneSecond}, {Name: "longest", Tone: toneFaint, Dash: 2}},
		Note: "From the moment it was scheduled for, on a logarithmic scale."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, chart.Axis{Scale: chart.Log, Format: tickOf("ms")})
		p50 := o.seconds(func(s *load.Second) float64 { return positive(milliseconds(s.P50)) })
		p99 := o.seconds(func(s *load.Second) float64 { return positive(milliseconds(s.P99)) })
		longest := o.seconds(func(s *load.Second) float64 { return positive(milliseconds(s.Max)) })
		c.Layers = append(banded(toneSecond, 0, p99.points()), banded(toneFirst, 0, p50.points())...)
		c.Layers = append(c.Layers, chart.Layer{Tone: toneFaint, Dash: 2, Points: longest.points()})
		return c
	})
}

func (r *Report) bodiesCourse(outcomes []outcome) *multiple {
	m := multiple{Title: "Bodies", Legend: []key{{Name: "down", Tone: toneFirst}, {Name: "up", Tone: toneSecond, Dash: 1}},
		Note: "What was asked for and sent, without TLS, TCP and Ethernet."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, inUnit("Mbit/s"))
		down := o.seconds(func(s *load.Second) float64 { return float64(s.Down) * 8e-6 })
		up := o.seconds(func(s *load.Second) float64 { return float64(s.Up) * 8e-6 })
		c.Layers = append(banded(toneFirst, 0, stepped(down.points())), banded(toneSecond, 1, stepped(up.points()))...)
		return c
	})
}

// gaugeCourse is of something that is there from the start; all zeros are no picture.
func (r *Report) gaugeCourse(outcomes []outcome, title, note string, of func(*load.Second) float64) *multiple {
	return multiples(outcomes, multiple{Title: title, Note: note}, func(o *outcome) *chart.Chart {
		points := o.seconds(of).points()
		if !anything(points) {
			return nil
		}
		c := r.timeline(o, chart.Axis{Format: amount})
		c.Layers = banded(toneFirst, 0, points)
		return c
	})
}

func (r *Report) slipCourse(outcomes []outcome) *multiple {
	m := multiple{Title: "Schedule slip", Note: "The most that the generator itself began late in a second; it is within the latency."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, inUnit("ms"))
		c.Layers = banded(toneFirst, 0, o.seconds(func(s *load.Second) float64 { return milliseconds(s.Slip) }).points())
		return c
	})
}

// positive leaves a gap where there is nothing that a logarithm could show.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}

func anything(points []chart.Point) bool {
	for _, p := range points {
		if p.High != 0 || p.Low != 0 {
			return true
		}
	}
	return false
}
