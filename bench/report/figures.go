package report

import (
	"math"
	"slices"
	"strings"
)

// figureTable is the figures as they are shown: a row for each name, a column for
// each endpoint, and one for each pair of endpoints that has ratios.
type figureTable struct {
	Heads []string
	// Ratios is how many of the heads, from the right, are ratios.
	Ratios int
	// Rows are those of what the scenario is about, then those of its other operations,
	// most of which are steps of the first: so many, from the bottom, are Further.
	Rows    []figureRow
	Further int
}

// column is a head with the tone of its endpoint; −1 is a ratio.
type column struct {
	Name string
	Tone int
}

// Columns are the heads.
func (t figureTable) Columns() []column {
	var all []column
	for i, name := range t.Heads {
		tone := -1
		if i < len(t.Heads)-t.Ratios {
			tone, _ = endpointTone(i)
		}
		all = append(all, column{name, tone})
	}
	return all
}

// part cuts the table in two. A scenario that is about nothing that was done has all
// its rows in the first.
func (t figureTable) part() (main, further figureTable) {
	main, further = t, t
	if cut := len(t.Rows) - t.Further; cut > 0 {
		main.Rows, further.Rows = t.Rows[:cut], t.Rows[cut:]
	} else {
		further.Rows = nil
	}
	return main, further
}

type figureRow struct {
	Name, Better string
	Cells        []figureCell
	Figures      []*Figure // by endpoint; nil where there is none
}

type figureCell struct {
	Main, Span string
	Tone       int // −1 is a ratio
}

func (r *Report) figureTable() figureTable {
	var t figureTable
	var pairs []Ratio
	for _, name := range r.Endpoints {
		t.Heads = append(t.Heads, plain(name))
	}
	for _, ratio := range r.Ratios {
		same := func(p Ratio) bool { return p.Of == ratio.Of && p.To == ratio.To }
		if !slices.ContainsFunc(pairs, same) {
			pairs = append(pairs, ratio)
			t.Heads = append(t.Heads, plain(ratio.Of)+" ÷ "+plain(ratio.To))
		}
	}
	t.Ratios = len(pairs)
	seen := make(map[string]bool)
	lesser := r.lesser()
	var last []figureRow
	for i := range r.Figures {
		f := &r.Figures[i]
		if seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		if operation, _, _ := strings.Cut(f.Name, " "); lesser[operation] {
			last = append(last, r.figureRow(f, pairs))
		} else {
			t.Rows = append(t.Rows, r.figureRow(f, pairs))
		}
	}
	t.Rows, t.Further = append(t.Rows, last...), len(last)
	return t
}

// lesser are the kinds of operations that the scenario is not about. Their figures come
// last, so that a terminal, which has room for few, does not begin with them.
func (r *Report) lesser() map[string]bool {
	out := make(map[string]bool)
	for i := range r.Rounds {
		operations := r.Rounds[i].Result.Operations
		p := Principal(r.Plan.Scenario.Kind, operations)
		for j := range operations {
			out[operations[j].Name] = out[operations[j].Name] || p != nil && operations[j].Name != p.Name
		}
	}
	return out
}

func (r *Report) figureRow(first *Figure, pairs []Ratio) figureRow {
	row := figureRow{Name: plain(first.Name), Better: first.Better}
	typical := 0.0
	for i := range r.Figures {
		// The smallest sets the digits, so that none is rounded away beside a large one.
		if f := &r.Figures[i]; f.Name == first.Name && f.Median != 0 && (typical == 0 || math.Abs(f.Median) < math.Abs(typical)) {
			typical = f.Median
		}
	}
	m := measured(typical, first.Unit)
	for i, endpoint := range r.Endpoints {
		f := r.figure(endpoint, first.Name)
		row.Figures = append(row.Figures, f)
		cell := figureCell{Main: "–", Tone: i}
		if f != nil && len(f.Rounds) > 0 {
			cell.Main, cell.Span = m.quantity(f.Median), m.span(f.Low, f.High)
		}
		row.Cells = append(row.Cells, cell)
	}
	for _, p := range pairs {
		cell := figureCell{Main: "–", Tone: -1}
		i := slices.IndexFunc(r.Ratios, func(ratio Ratio) bool {
			return ratio.Of == p.Of && ratio.To == p.To && ratio.Name == first.Name
		})
		if i >= 0 && r.Ratios[i].Pairs > 0 {
			ratio := r.Ratios[i]
			m := measured(ratio.Median, "×")
			m.unit, m.decimals = "", max(m.decimals, 2)
			cell.Main, cell.Span = m.quantity(ratio.Median), m.span(ratio.Low, ratio.High)
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}

// figure finds one; nil if there is none.
func (r *Report) figure(endpoint, name string) *Figure {
	for i := range r.Figures {
		if f := &r.Figures[i]; f.Endpoint == endpoint && f.Name == name {
			return f
		}
	}
	return nil
}
