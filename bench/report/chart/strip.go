package chart

import "io"

// Strip is a drawing the height of its rows that shows how values scatter: a row of
// dots for each series, on one scale, with a tick at Median.
type Strip struct {
	Title string
	Rows  []Row
}

// Row is one series of a strip.
type Row struct {
	Tone   int
	Values []float64
	Median float64
}

const (
	stripWidth = 120.0
	stripRow   = 15.0
	stripEdge  = 5.0
)

// WriteSVG draws the strip.
func (s Strip) WriteSVG(w io.Writer) error {
	e := nothing()
	for _, r := range s.Rows {
		for _, v := range r.Values {
			e.take(v)
		}
	}
	p := &pen{}
	p.open(stripWidth, stripRow*float64(max(len(s.Rows), 1)), s.Title)
	if !e.empty() {
		if e.high == e.low {
			// All the same: in the middle.
			e.low, e.high = e.low-1, e.high+1
		}
		x := scale{low: e.low, high: e.high, from: stripEdge, to: stripWidth - stripEdge}
		for i, r := range s.Rows {
			p.row(r, x, stripRow*(float64(i)+0.5))
		}
	}
	p.close()
	return p.writeTo(w)
}

func (p *pen) row(r Row, x scale, y float64) {
	p.segment("grid", x.from, y, x.to, y)
	for _, v := range r.Values {
		if finite(v) {
			p.dot(r.Tone, x.clamp(v), y)
		}
	}
	if finite(r.Median) {
		at := x.clamp(r.Median)
		p.segment("median", at, y-6, at, y+6)
	}
}
