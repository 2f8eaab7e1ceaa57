package chart

import (
	"bytes"
	"html"
	"io"
	"math"
	"strconv"
)

// pen writes SVG.
type pen struct{ bytes.Buffer }

func (p *pen) writeTo(w io.Writer) error {
	_, err := w.Write(p.Bytes())
	return err
}

func (p *pen) open(width, height float64, title string) {
	p.put(`<svg viewBox="0 0 `, width, ` `, height, `" role="img"`)
	if title != "" {
		p.put(` aria-label="`)
		p.WriteString(html.EscapeString(title))
		p.put(`"`)
	}
	p.put(`>`)
}

func (p *pen) close() { p.put("</svg>\n") }

// put writes markup of this package and numbers; other people's texts go through
// html.EscapeString.
func (p *pen) put(parts ...any) {
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			p.WriteString(v)
		case int:
			p.WriteString(strconv.Itoa(v))
		case float64:
			p.WriteString(place(v))
		}
	}
}

// place writes a coordinate to a tenth: finer than any screen shows it. What lies
// far outside the frame is drawn just outside.
func place(v float64) string {
	if math.IsNaN(v) {
		v = 0
	}
	v = math.Round(math.Min(math.Max(v, -1e4), 1e4)*10) / 10
	return strconv.FormatFloat(v+0, 'f', -1, 64) // + 0: no minus before a zero
}

func (p *pen) text(x, y float64, class, anchor, s string) {
	p.put(`<text x="`, x, `" y="`, y, `" class="`, class, `" text-anchor="`, anchor, `">`)
	p.WriteString(html.EscapeString(s))
	p.put(`</text>`)
}

func (p *pen) segment(class string, x1, y1, x2, y2 float64) {
	p.put(`<line class="`, class, `" x1="`, x1, `" y1="`, y1, `" x2="`, x2, `" y2="`, y2, `"/>`)
}

func (p *pen) box(class string, x1, y1, x2, y2 float64) {
	p.put(`<rect class="`, class, `" x="`, math.Min(x1, x2), `" y="`, math.Min(y1, y2),
		`" width="`, math.Abs(x2-x1), `" height="`, math.Abs(y2-y1), `"/>`)
}

func (p *pen) dot(tone int, x, y float64) {
	p.put(`<circle class="dot c`, tone%10, `" cx="`, x, `" cy="`, y, `" r="3"/>`)
}

func (p *pen) shade(x1, x2, y1, y2 float64) {
	if x2-x1 > 0.5 {
		p.box("shade", x1, y1, x2, y2)
	}
}

// grid draws both axes with their ticks and labels.
func (p *pen) grid(c *Chart, x, y scale) {
	for _, t := range y.ticks {
		p.segment("grid", x.from, t.at, x.to, t.at)
		p.text(x.from-6, t.at+3.5, "tick", "end", t.label)
	}
	p.segment("axis", x.from, y.from, x.to, y.from)
	end := math.Inf(-1)
	for _, t := range x.ticks {
		half := 3 * float64(len([]rune(t.label)))
		if t.at-half < end+4 {
			continue // would run into its neighbour
		}
		end = t.at + half
		p.segment("axis", t.at, y.from, t.at, y.from+4)
		if end > width-1 {
			p.text(width-1, y.from+16, "tick", "end", t.label)
		} else {
			p.text(t.at, y.from+16, "tick", "middle", t.label)
		}
	}
	if c.Y.Label != "" {
		p.text(2, 11, "label", "start", c.Y.Label)
	}
	if c.X.Label != "" {
		p.text(x.to, c.height()-4, "label", "end", c.X.Label)
	}
}

func (p *pen) rule(r Rule, x, y scale) {
	if !y.within(r.Y) {
		return
	}
	at := y.place(r.Y)
	p.segment("rule", x.from, at, x.to, at)
	above := at - 4
	if above < 10 {
		above = at + 11
	}
	p.text(x.from+5, above, "rule-label", "start", r.Label)
}

func (p *pen) layer(l Layer, x, y scale) {
	switch l.Kind {
	case Band:
		p.ribbon("band", l, x, y)
	case Area:
		p.ribbon("area", l, x, y)
	case Bar:
		p.bars(l, x, y)
	case Dot:
		for _, point := range l.Points {
			if finite(point.X) && finite(point.Y) {
				p.dot(l.Tone, x.place(point.X), y.clamp(point.Y))
			}
		}
	default:
		p.line(l, x, y)
	}
}

func (p *pen) line(l Layer, x, y scale) {
	p.put(`<path class="line c`, l.Tone%10, ` d`, l.Dash%4, `" d="`)
	command, last := "M", 0.0
	for _, point := range l.Points {
		if !finite(point.X) || !finite(point.Y) || y.log && point.Y <= 0 {
			command = "M"
			continue
		}
		px, py := x.place(point.X), y.clamp(point.Y)
		if l.Kind == Step && command == "L" {
			p.put("L", px, " ", last)
		}
		p.put(command, px, " ", py)
		command, last = "L", py
	}
	p.put(`"/>`)
}

// ribbon fills between the lower and the upper edge, each stretch by itself.
func (p *pen) ribbon(class string, l Layer, x, y scale) {
	for rest := l.Points; len(rest) > 0; {
		n := 0
		for n < len(rest) && finite(rest[n].X) && finite(rest[n].Low) && finite(rest[n].High) {
			n++
		}
		if n > 1 {
			p.put(`<path class="`, class, ` c`, l.Tone%10, `" d="`)
			command := "M"
			for _, point := range rest[:n] {
				p.put(command, x.place(point.X), " ", y.clamp(point.High))
				command = "L"
			}
			for i := n - 1; i >= 0; i-- {
				p.put("L", x.place(rest[i].X), " ", y.clamp(rest[i].Low))
			}
			p.put(`Z"/>`)
		}
		rest = rest[min(n+1, len(rest)):]
	}
}

func (p *pen) bars(l Layer, x, y scale) {
	gap := math.Min(2, (x.to-x.from)/(x.high-x.low)*0.15)
	for _, point := range l.Points {
		if point.High > point.Low {
			p.box("bar c"+strconv.Itoa(l.Tone%10),
				x.place(point.X)+gap/2, y.clamp(point.Low), x.place(point.X+1)-gap/2, y.clamp(point.High))
		}
	}
}
