package bench

import (
	"slices"

	"github.com/sallyport/sallyport/bench/report"
)

// valued is a round's values.
type valued struct {
	endpoint string
	number   int
	void     bool
	values   []value
	failed   map[string]float64 // see failedShares
}

func newValued(endpoint string, number int, void bool, v *view) valued {
	return valued{endpoint, number, void, valuesOf(v), failedShares(v.result)}
}

func (r valued) value(name string) (value, bool) {
	i := slices.IndexFunc(r.values, func(v value) bool { return v.name == name })
	if i < 0 {
		return value{}, false
	}
	return r.values[i], true
}

// counted are the rounds of an endpoint that its figures are made of: those that are
// not void, or all if every one is.
func counted(rounds []valued, endpoint string) []valued {
	var all, good []valued
	for _, r := range rounds {
		if r.endpoint != endpoint {
			continue
		}
		all = append(all, r)
		if !r.void {
			good = append(good, r)
		}
	}
	if len(good) == 0 {
		return all
	}
	return good
}

// figuresOf puts the rounds' values together: for each endpoint and name the median,
// between the smallest and the largest.
func figuresOf(endpoints []string, rounds []valued) []report.Figure {
	var figures []report.Figure
	for _, endpoint := range endpoints {
		own := counted(rounds, endpoint)
		for _, name := range names(own) {
			if name.every && !allHave(name, own) {
				continue
			}
			figures = append(figures, figureOf(endpoint, name, own))
		}
	}
	return figures
}

// names are those of all values, each once, in the order they came in.
func names(rounds []valued) []value {
	var all []value
	for _, r := range rounds {
		for _, v := range r.values {
			if !slices.ContainsFunc(all, func(have value) bool { return have.name == v.name }) {
				all = append(all, v)
			}
		}
	}
	return all
}

func allHave(name value, rounds []valued) bool {
	return !slices.ContainsFunc(rounds, func(r valued) bool {
		_, has := r.value(name.name)
		return !has
	})
}

// failedOf is how much of each kind of operation failed at an endpoint: the median of
// its rounds.
func failedOf(rounds []valued, endpoint string) map[string]float64 {
	own := counted(rounds, endpoint)
	shares := make(map[string]float64)
	for _, r := range own {
		for operation := range r.failed {
			var each []float64
			for _, r := range own {
				each = append(each, r.failed[operation])
			}
			shares[operation] = report.NewFigure(endpoint, operation, "", "", each).Median
		}
	}
	return shares
}

// figureOf is one figure of rounds; those without it are left out.
func figureOf(endpoint string, of value, rounds []valued) report.Figure {
	var values []float64
	for _, r := range rounds {
		if v, has := r.value(of.name); has {
			values = append(values, v.of)
		}
	}
	return report.NewFigure(endpoint, of.name, of.unit, of.better, values)
}

// ratiosOf holds every further endpoint against the first, figure by figure, paired by
// round: a machine is not the same from minute to minute, but within a round it
// nearly is. A figure that is neither better high nor low has no ratio.
func ratiosOf(endpoints []string, rounds []valued) []report.Ratio {
	if len(endpoints) < 2 {
		return nil
	}
	var ratios []report.Ratio
	first := counted(rounds, endpoints[0])
	for _, other := range endpoints[1:] {
		theirs := counted(rounds, other)
		for _, name := range names(theirs) {
			if name.better == "" || name.every && !(allHave(name, theirs) && allHave(name, first)) {
				continue
			}
			of, to := paired(name, theirs, first)
			r := report.NewRatio(figureOf(other, name, of), figureOf(endpoints[0], name, to))
			if r.Pairs > 0 {
				ratios = append(ratios, r)
			}
		}
	}
	return ratios
}

// paired are the rounds of two endpoints that have the same number and both the figure.
func paired(name value, a, b []valued) (of, to []valued) {
	for _, r := range a {
		i := slices.IndexFunc(b, func(s valued) bool { return s.number == r.number })
		if i < 0 {
			continue
		}
		_, both := r.value(name.name)
		if _, has := b[i].value(name.name); both && has {
			of, to = append(of, r), append(to, b[i])
		}
	}
	return of, to
}
