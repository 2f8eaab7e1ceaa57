package main

import "slices"

// results are what was measured: for each figure and gateway a value a round.
type results struct {
	figures []*figure // in the order in which they came
	missing []missing
}

type figure struct {
	name, unit string
	columns    []*column
}

// column is what one gateway did. Values of the same index are of one round.
type column struct {
	gateway string
	rounds  []float64
}

// missing is what could not be measured, and why.
type missing struct {
	What string `json:"what"`
	Why  string `json:"why"`

	hidden bool // in every run
}

func (r *results) add(name, unit, gateway string, value float64) {
	f := r.figure(name)
	if f == nil {
		f = &figure{name: name, unit: unit}
		r.figures = append(r.figures, f)
	}
	c := f.column(gateway)
	if c == nil {
		c = &column{gateway: gateway}
		f.columns = append(f.columns, c)
	}
	c.rounds = append(c.rounds, value)
}

func (r *results) miss(what, why string) {
	r.missing = append(r.missing, missing{What: what, Why: why})
}

// figure gives nil if nothing was measured of that name.
func (r *results) figure(name string) *figure {
	if i := slices.IndexFunc(r.figures, func(f *figure) bool { return f.name == name }); i >= 0 {
		return r.figures[i]
	}
	return nil
}

func (f *figure) column(gateway string) *column {
	if f == nil {
		return nil
	}
	if i := slices.IndexFunc(f.columns, func(c *column) bool { return c.gateway == gateway }); i >= 0 {
		return f.columns[i]
	}
	return nil
}

// subtract makes a figure of another, by taking off what one column has in the
// same round.
func (r *results) subtract(name, from, off string) {
	f := r.figure(from)
	base := f.column(off)
	if base == nil {
		return
	}
	for _, c := range f.columns {
		if c == base {
			continue
		}
		for i := range min(len(c.rounds), len(base.rounds)) {
			r.add(name, f.unit, c.gateway, c.rounds[i]-base.rounds[i])
		}
	}
}

// ratios divides each round by the other's, and gives nil if that is not
// possible: rounds are missing, or the other is not above zero.
func ratios(of, by *column) []float64 {
	if of == nil || by == nil || len(of.rounds) == 0 || len(of.rounds) != len(by.rounds) {
		return nil
	}
	quotients := make([]float64, len(of.rounds))
	for i, value := range of.rounds {
		if by.rounds[i] <= 0 {
			return nil
		}
		quotients[i] = value / by.rounds[i]
	}
	return quotients
}

// spread is what rounds are summed up as.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// spreadOf is of at least one value. The median of an even number is the mean of
// the two in the middle.
func spreadOf(rounds []float64) spread {
	sorted := slices.Sorted(slices.Values(rounds))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{sorted[0], median, sorted[len(sorted)-1]}
}
