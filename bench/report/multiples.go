package report

import (
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/bench/report/chart"
)

// The tones of the page's palette. The first four are endpoints', in their order; the
// others are parts of one picture.
const (
	toneFirst  = 4
	toneSecond = 5
	toneThird  = 6
	toneFourth = 7
	toneFaint  = 8
	toneBad    = 9
)

// multiple is one question asked of every endpoint: small charts with the same axes.
type multiple struct {
	Title, Note string
	Legend      []key
	Panels      []panel
}

// key is a line of a legend.
type key struct {
	Name       string
	Tone, Dash int
	Solid      bool // an area, not a line
}

// panel is one chart of a multiple.
type panel struct {
	Caption string
	Tone    int // of the endpoint; −1 for none
	SVG     template.HTML
}

// endpointTone is how an endpoint is coloured, and dashed to be told without colour.
func endpointTone(i int) (tone, dash int) { return i % 4, i % 4 }

// multiples asks a question of each endpoint. A chart without layers that hold
// anything is not drawn; a multiple without any chart is nil.
func multiples(outcomes []outcome, m multiple, draw func(*outcome) *chart.Chart) *multiple {
	var charts []*chart.Chart
	for i := range outcomes {
		if c := draw(&outcomes[i]); c != nil && holds(c) {
			c.Title = m.Title + ", " + plain(outcomes[i].Endpoint)
			charts = append(charts, c)
			m.Panels = append(m.Panels, panel{Caption: plain(outcomes[i].Endpoint), Tone: i % 4})
		}
	}
	if len(charts) == 0 {
		return nil
	}
	chart.Share(charts...)
	for i, c := range charts {
		m.Panels[i].SVG = svg(c)
	}
	return &m
}

func holds(c *chart.Chart) bool {
	for _, l := range c.Layers {
		if len(l.Points) > 0 {
			return true
		}
	}
	return false
}

// svg draws a chart; package chart escapes all texts in it.
func svg(c interface{ WriteSVG(io.Writer) error }) template.HTML {
	var b strings.Builder
	_ = c.WriteSVG(&b) // a Builder does not fail
	return template.HTML(b.String())
}

// banded is a line with the band of the rounds about it.
func banded(tone, dash int, points []chart.Point) []chart.Layer {
	return []chart.Layer{
		{Kind: chart.Band, Tone: tone, Points: points},
		{Kind: chart.Line, Tone: tone, Dash: dash, Points: points},
	}
}

// stepped holds each value until the next: what was counted in a second is of all of
// it, and a line from one to the next would show what was not there.
func stepped(points []chart.Point) []chart.Point {
	var out []chart.Point
	for i, p := range points {
		if i > 0 {
			held := points[i-1]
			held.X = p.X
			out = append(out, held)
		}
		out = append(out, p)
	}
	return out
}

// timeline is an empty chart over the course of a round.
func (r *Report) timeline(o *outcome, y chart.Axis) *chart.Chart {
	return &chart.Chart{
		X:      chart.Axis{Label: "since the round began", Scale: chart.Clock, Format: clock, Max: o.length().Seconds()},
		Y:      y,
		Shades: o.shades(r.Plan.Scenario.Sustain),
	}
}

// clock labels a tick of seconds.
func clock(v float64) string {
	s := int(math.Round(v))
	switch {
	case s >= 3600 && s%3600 == 0:
		return strconv.Itoa(s/3600) + " h"
	case s >= 120 && s%60 == 0:
		return strconv.Itoa(s/60) + " min"
	}
	return strconv.Itoa(s) + " s"
}

// tickOf labels the ticks of a unit, each by itself: 200 µs, 1 ms, 10 s.
func tickOf(unit string) func(float64) string {
	return func(v float64) string {
		if v == 0 {
			return "0"
		}
		m := measured(v, unit)
		return withUnit(significant(v*m.factor, 4), m.unit)
	}
}

// inUnit has an axis of a unit, or of a larger one of its kind if that reads better.
func inUnit(unit string) chart.Axis {
	return chart.Axis{Format: amount, Measure: func(greatest float64) (string, float64) {
		m := measured(greatest, unit)
		return m.unit, m.factor
	}}
}

// amount labels ticks of plain numbers: 1,000, 20k.
func amount(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e9:
		return significant(v/1e9, 4) + "G"
	case a >= 1e6:
		return significant(v/1e6, 4) + "M"
	case a >= 1e5:
		return significant(v/1e3, 4) + "k"
	}
	return significant(v, 4)
}
