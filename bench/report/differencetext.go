package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the difference for a terminal: what stands in the way of comparing
// first, then the environment, then the figures. width and colour are as in
// WriteSummary.
func (d *Difference) WriteText(w io.Writer, width int, colour bool) error {
	t := newTerminal(width, colour)
	for _, s := range []struct {
		lead string
		side *Side
	}{{"old  ", &d.Old}, {"new  ", &d.New}} {
		t.paragraph(bold, s.lead, s.side.imprint(), 2)
		for _, c := range s.side.Void {
			t.paragraph(red, "     VOID "+plain(c.What)+"  ", causeText(c), 2)
		}
		for _, m := range s.side.Marks {
			t.paragraph(yellow, "     mark  ", plain(m), 2)
		}
	}
	t.line()
	t.paragraph("", "", d.headline(), 3)
	t.changes("asked otherwise", yellow, d.Asked)
	t.changes("environment", bold, d.Environment)
	t.changes("limits", bold, d.Limits)
	t.figureChanges(d.figureRows())
	return t.flush(w, 0)
}

func (s *Side) imprint() string {
	text := fmt.Sprintf("%s · %s · sallyport %s", stamp(s.Began), plain(s.ID), plain(s.Version))
	if s.Commit != "" {
		text += " (" + plain(s.Commit) + ")"
	}
	return text + " · " + plural(int64(s.Rounds), "round")
}

func (t *terminal) changes(title, style string, all []Change) {
	if len(all) == 0 {
		return
	}
	t.line()
	t.line(t.paint(style, title))
	where, what := 0, 0
	for _, c := range all {
		where, what = max(where, runes(plain(c.Where))), max(what, runes(plain(c.What)))
	}
	where, what = min(where, 24), min(what, 32)
	for _, c := range all {
		lead := "  " + padRight(cut(plain(c.Where), where), where) + "  " + padRight(cut(plain(c.What), what), what) + "  "
		t.paragraph("", lead, plain(c.Old)+" → "+plain(c.New), 3)
	}
}

func runes(s string) int { return len([]rune(s)) }

// changeRow is a figure of both reports, as text.
type changeRow struct {
	Endpoint, Name string
	Old, New       figureCell
	Change         string
	Judgment       Judgment
	Strip          *FigureChange
}

func (d *Difference) figureRows() []changeRow {
	var out []changeRow
	for i := range d.Figures {
		c := &d.Figures[i]
		m := measured(c.typical(), c.Unit)
		row := changeRow{Endpoint: plain(c.Endpoint), Name: plain(c.Name), Old: m.cell(c.Old), New: m.cell(c.New), Judgment: c.Judgment, Strip: c}
		if c.Known {
			row.Change = percent(c.Percent)
		}
		out = append(out, row)
	}
	return out
}

// typical is the smaller of the medians that is not 0.
func (c *FigureChange) typical() float64 {
	v := 0.0
	for _, f := range []*Figure{c.Old, c.New} {
		if f != nil && f.Median != 0 && (v == 0 || f.Median < v) {
			v = f.Median
		}
	}
	return v
}

func (m measure) cell(f *Figure) figureCell {
	if f == nil || len(f.Rounds) == 0 {
		return figureCell{Main: absent}
	}
	return figureCell{Main: m.quantity(f.Median), Span: m.span(f.Low, f.High)}
}

func percent(v float64) string {
	s := measure{factor: 1, decimals: 1}.number(v)
	if v > 0 && s != "0.0" {
		s = "+" + s
	}
	return s + "\u00a0%"
}

func (t *terminal) figureChanges(rows []changeRow) {
	if len(rows) == 0 {
		return
	}
	endpoint := ""
	cells := [][]string{{"", "old", "new", "change", ""}}
	judgments := []Judgment{""}
	for _, r := range rows {
		if r.Endpoint != endpoint {
			endpoint = r.Endpoint
			cells, judgments = append(cells, []string{endpoint}), append(judgments, "")
		}
		cells = append(cells, []string{"  " + r.Name, strings.TrimSpace(r.Old.Main + " " + parenthesised(r.Old.Span)),
			strings.TrimSpace(r.New.Main + " " + parenthesised(r.New.Span)), r.Change, string(r.Judgment)})
		judgments = append(judgments, r.Judgment)
	}
	t.line()
	whole := t.columns(cells, func(row, column int, cell string) string {
		switch {
		case row == 0, len(cells[row]) == 1:
			return t.paint(bold, cell)
		case column < 3:
			return cell
		}
		switch judgments[row] {
		case Better:
			return t.paint(green, cell)
		case Worse:
			return t.paint(red, cell)
		case Changed:
			return cell
		}
		return t.paint(dim, cell)
	})
	if !whole {
		t.line(t.paint(dim, "… and columns that a wider terminal or the page has"))
	}
}
