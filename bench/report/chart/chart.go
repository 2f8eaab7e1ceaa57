package chart

import (
	"io"
	"math"
)

// Chart is one drawing. Its unit is the viewBox's, 500 wide; the page scales it.
type Chart struct {
	Title  string // read out in place of the drawing
	X, Y   Axis
	Height float64 // 0 means 210
	Shades []Shade
	Layers []Layer // drawn in this order; areas and bars stack upwards in it
	Rules  []Rule
	Empty  string // what to say if there is nothing to draw
}

// Layer is one series.
type Layer struct {
	Kind   Kind
	Tone   int // 0 to 9: the class c0 … c9
	Dash   int // 0 to 3: the class d0 … d3, so that tones need not be told apart
	Points []Point
}

// Kind is how a layer is drawn.
type Kind int

// Lines join points, steps hold a value until the next, dots stand alone, bands fill
// from Low to High. Areas and bars stack: those of one chart have the same X, in order.
const (
	Line Kind = iota
	Step
	Dot
	Band
	Area
	Bar
)

// Point is a value at X. Low and High are a band's edges, Y is everything else's.
// A Y that is not a number breaks a line.
type Point struct {
	X, Y, Low, High float64
}

// Shade sets a part of the X axis apart.
type Shade struct{ From, To float64 }

// Rule is a line across the chart at Y, with a word to it. It is drawn only if it
// lies within the axis: a rule does not stretch the axis, unless it is Wanted.
type Rule struct {
	Y      float64
	Label  string
	Wanted bool
}

const (
	width       = 500.0
	left, right = 52.0, 10.0
	top, bottom = 20.0, 34.0
)

func (c *Chart) height() float64 {
	if c.Height > 0 {
		return c.Height
	}
	return 210
}

// WriteSVG draws the chart.
func (c *Chart) WriteSVG(w io.Writer) error {
	p := &pen{}
	p.open(width, c.height(), c.Title)
	layers := stack(c.Layers)
	x, y, any := c.frame(layers)
	if !any {
		p.text(width/2, c.height()/2, "label", "middle", c.empty())
		p.close()
		return p.writeTo(w)
	}
	for _, s := range c.Shades {
		p.shade(x.clamp(s.From), x.clamp(s.To), y.to, y.from)
	}
	p.grid(c, x, y)
	for _, l := range layers {
		p.layer(l, x, y)
	}
	for _, r := range c.Rules {
		p.rule(r, x, y)
	}
	p.close()
	return p.writeTo(w)
}

func (c *Chart) empty() string {
	if c.Empty != "" {
		return c.Empty
	}
	return "nothing to show"
}

// frame makes the two scales from what is to be drawn.
func (c *Chart) frame(layers []Layer) (x, y scale, any bool) {
	xs, ys := c.extents(layers)
	if xs.empty() || ys.empty() {
		return scale{}, scale{}, false
	}
	for _, r := range c.Rules {
		if r.Wanted {
			ys.take(r.Y)
		}
	}
	factor := 1.0
	if c.Y.Measure != nil {
		c.Y.Label, factor = c.Y.Measure(math.Max(ys.high, c.Y.Max))
	}
	x = c.X.over(xs, left, width-right, 1)
	y = c.Y.over(ys, c.height()-bottom, top, factor)
	return x, y, true
}

// extents are what the layers, stacked, reach over.
func (c *Chart) extents(layers []Layer) (xs, ys extent) {
	xs, ys = nothing(), nothing()
	take := func(v float64) {
		if v > 0 || c.Y.Scale != Log {
			ys.take(v)
		}
	}
	for _, l := range layers {
		for _, p := range l.Points {
			xs.take(p.X)
			switch l.Kind {
			case Bar:
				xs.take(p.X + 1)
				fallthrough
			case Band, Area:
				take(p.Low)
				take(p.High)
			default:
				take(p.Y)
			}
		}
	}
	return xs, ys
}

// Share gives charts the same axes, so that they can be compared by eye.
func Share(charts ...*Chart) {
	x, y := nothing(), nothing()
	for _, c := range charts {
		xs, ys := c.extents(stack(c.Layers))
		for _, e := range []extent{xs, {c.X.Min, c.X.Max}} {
			x.take(e.low)
			x.take(e.high)
		}
		y.take(ys.low)
		y.take(ys.high)
		if c.Y.Min != 0 || c.Y.Max != 0 {
			y.take(c.Y.Min)
			y.take(c.Y.Max)
		}
	}
	if x.empty() || y.empty() {
		return
	}
	for _, c := range charts {
		c.X.Min, c.X.Max = x.low, x.high
		c.Y.Min, c.Y.Max = y.low, y.high
	}
}

// stack turns the values of areas and bars into bands that stand on one another.
func stack(layers []Layer) []Layer {
	out := make([]Layer, len(layers))
	floor := make(map[float64]float64)
	for i, l := range layers {
		out[i] = l
		if l.Kind != Area && l.Kind != Bar {
			continue
		}
		points := make([]Point, 0, len(l.Points))
		for _, p := range l.Points {
			if !finite(p.X) || !finite(p.Y) {
				continue
			}
			low := floor[p.X]
			high := low + math.Max(p.Y, 0)
			floor[p.X] = high
			points = append(points, Point{X: p.X, Low: low, High: high})
		}
		out[i].Points = points
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
