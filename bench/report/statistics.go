package report

import (
	"fmt"
	"math"
	"slices"
)

// Enough is the number of rounds from which on a figure can be judged by. With five,
// the true median lies between the lowest and the highest in 15 of 16 cases.
const Enough = 5

// NewFigure makes a figure of what each round showed. Rounds that showed no number
// are left out. better is "lower", "higher" or empty.
func NewFigure(endpoint, name, unit, better string, rounds []float64) Figure {
	f := Figure{Endpoint: endpoint, Name: name, Unit: unit, Better: better, Rounds: finite(rounds)}
	f.Low, f.Median, f.High = spread(f.Rounds)
	f.all = slices.Clone(rounds)
	return f
}

// NewRatio divides one figure by another, round by round: the nth of the one by the
// nth of the other, as NewFigure was given them. A pair is left out if its divisor is 0
// or one of its rounds showed no number; a ratio of no pair at all has Pairs 0 and says
// nothing.
func NewRatio(of, to Figure) Ratio {
	var quotients []float64
	for i := range min(len(of.all), len(to.all)) {
		// A number divided by an infinite one would be 0, which looks like one.
		if len(finite([]float64{of.all[i], to.all[i]})) == 2 {
			quotients = append(quotients, of.all[i]/to.all[i])
		}
	}
	quotients = finite(quotients)
	r := Ratio{Name: of.Name, Of: of.Endpoint, To: to.Endpoint, Pairs: len(quotients)}
	r.Low, r.Median, r.High = spread(quotients)
	return r
}

// Confidence says what so many rounds are good for.
func Confidence(rounds int) string {
	switch {
	case rounds <= 0:
		return "No round counts."
	case rounds == 1:
		return "1 round: too few to judge by; it shows no spread at all."
	case rounds < Enough:
		return fmt.Sprintf("%d rounds: too few to judge by; it takes %d.", rounds, Enough)
	}
	// The median of a continuous quantity misses the range of n draws only if all
	// fall on one side of it.
	sure := 100 * (1 - math.Pow(2, float64(1-rounds)))
	return fmt.Sprintf("%d rounds, each figure the median with the lowest and the highest: the true median lies within that range with %s %% confidence.",
		rounds, significant(math.Min(sure, 99.9), 3))
}

// spread is the lowest, the median and the highest; zeros of nothing.
func spread(values []float64) (low, median, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	// Halved before they are added, so that the sum cannot overflow.
	return sorted[0], sorted[(n-1)/2]/2 + sorted[n/2]/2, sorted[n-1]
}

func finite(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), func(v float64) bool {
		return math.IsNaN(v) || math.IsInf(v, 0)
	})
}
