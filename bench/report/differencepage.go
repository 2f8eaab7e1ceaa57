package report

import (
	_ "embed"
	"html/template"
	"io"

	"github.com/sallyport/sallyport/bench/report/chart"
)

//go:embed difference.html
var differenceText string

var differenceTemplate = template.Must(template.Must(pageTemplate.Clone()).Parse(differenceText))

type differencePage struct {
	frame
	*Difference
	Headline  string
	Sides     []differenceSide
	Voided    bool
	Rows      []differenceRow
	Questions []Change
	Settings  []Change
	Bounds    []Change
}

type differenceSide struct {
	Name, Imprint string
	Tone          int
	Void          []cause
	Marks         []string
}

type differenceRow struct {
	changeRow
	First bool // of its endpoint
	Class string
	SVG   template.HTML
}

// WritePage writes the difference as one HTML file, of the same kind as the report's.
func (d *Difference) WritePage(w io.Writer) error {
	p := differencePage{frame: newFrame("Difference · Sallyport benchmark"), Difference: d, Headline: d.headline(),
		Voided:    len(d.Old.Void)+len(d.New.Void) > 0,
		Questions: plainChanges(d.Asked), Settings: plainChanges(d.Environment), Bounds: plainChanges(d.Limits)}
	for i, s := range []*Side{&d.Old, &d.New} {
		side := differenceSide{Name: []string{"Old", "New"}[i], Imprint: s.imprint(), Tone: i, Marks: plainAll(s.Marks)}
		for _, c := range s.Void {
			side.Void = append(side.Void, cause{What: plain(c.What), Says: plain(c.Says), Evidence: plainAll(c.Evidence)})
		}
		p.Sides = append(p.Sides, side)
	}
	endpoint := ""
	for i, r := range d.figureRows() {
		row := differenceRow{changeRow: r, First: i == 0 || r.Endpoint != endpoint, SVG: r.Strip.strip()}
		if r.Judgment == Better || r.Judgment == Worse {
			row.Class = string(r.Judgment)
		}
		endpoint = r.Endpoint
		p.Rows = append(p.Rows, row)
	}
	return differenceTemplate.ExecuteTemplate(w, "difference", p)
}

func (c *FigureChange) strip() template.HTML {
	s := chart.Strip{Title: plain(c.Name) + ", round by round, old above new"}
	for i, f := range []*Figure{c.Old, c.New} {
		if f != nil {
			s.Rows = append(s.Rows, chart.Row{Tone: i, Values: f.Rounds, Median: f.Median})
		}
	}
	return svg(s)
}

func plainChanges(all []Change) []Change {
	out := make([]Change, len(all))
	for i, c := range all {
		out[i] = Change{Where: plain(c.Where), What: plain(c.What), Old: plain(c.Old), New: plain(c.New)}
	}
	return out
}
