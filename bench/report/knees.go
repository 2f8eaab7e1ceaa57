package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/report/chart"
)

// knee is the search for the highest load within the objectives, in words.
type knee struct {
	Endpoint, Says string
	Tone           int
	Tries          []kneeTry
}

type kneeTry struct {
	Load, Reason string
	Met          bool
}

func (r *Report) knees() []knee {
	var out []knee
	for i := range r.Knees {
		k := &r.Knees[i]
		says := "The highest load within the objectives was " + k.quantity(k.Load)
		switch {
		case k.Load == 0:
			says = "No load that was tried was within the objectives"
		case k.Above == 0:
			says += "; none was found that was beyond them"
		}
		if k.Above != 0 {
			says += fmt.Sprintf("; the lowest beyond them was %s", k.quantity(k.Above))
		}
		v := knee{Endpoint: plain(k.Endpoint), Says: says + ".", Tone: r.toneOf(k.Endpoint)}
		for _, t := range k.Tries {
			v.Tries = append(v.Tries, kneeTry{Load: k.quantity(t.Load), Reason: plain(t.Reason), Met: t.Met})
		}
		out = append(out, v)
	}
	return out
}

func (k *Knee) quantity(load float64) string { return withUnit(significant(load, 5), plain(k.Unit)) }

func (r *Report) toneOf(endpoint string) int {
	tone, _ := endpointTone(max(0, slices.Index(r.Endpoints, endpoint)))
	return tone
}

// kneeCurve is the latency at each load that was tried or that rounds were made at;
// nil if the record has it of fewer than two.
func (r *Report) kneeCurve(outcomes []outcome) *multiple {
	if len(r.Knees) == 0 {
		return nil
	}
	m := multiple{Title: "Latency by load", Legend: []key{{Name: "p50", Tone: toneFirst}, {Name: "p99", Tone: toneSecond}},
		Note: "A dot is a load that was tried; what is shaded is beyond the objectives."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		i := slices.IndexFunc(r.Knees, func(k Knee) bool { return k.Endpoint == o.Endpoint })
		if i < 0 {
			return nil
		}
		p50 := r.byLoad(&r.Knees[i], 0.5, func(t *Try) time.Duration { return t.P50 })
		p99 := r.byLoad(&r.Knees[i], 0.99, func(t *Try) time.Duration { return t.P99 })
		if len(p99) < 2 {
			return nil
		}
		c := &chart.Chart{
			X: chart.Axis{Label: plain(r.Knees[i].Unit), Format: amount},
			Y: chart.Axis{Scale: chart.Log, Format: tickOf("ms")},
			Layers: []chart.Layer{
				{Tone: toneFirst, Points: p50}, {Kind: chart.Dot, Tone: toneFirst, Points: p50},
				{Tone: toneSecond, Points: p99}, {Kind: chart.Dot, Tone: toneSecond, Points: p99},
			},
		}
		if above := r.Knees[i].Above; above > 0 {
			c.Shades = []chart.Shade{{From: above, To: math.Inf(1)}}
		}
		return c
	})
}

// byLoad is a percentile of the operation that the scenario is about, by load, of the
// tries and of the rounds that count; the median where several had the same.
func (r *Report) byLoad(k *Knee, q float64, tried func(*Try) time.Duration) []chart.Point {
	byLoad := make(map[float64][]float64)
	for i := range k.Tries {
		if t := &k.Tries[i]; tried(t) > 0 {
			byLoad[t.Load] = append(byLoad[t.Load], milliseconds(tried(t)))
		}
	}
	for i := range r.Rounds {
		round := &r.Rounds[i]
		if round.Endpoint != k.Endpoint || len(round.Void) > 0 {
			continue
		}
		if op := Principal(r.Plan.Scenario.Kind, round.Result.Operations); op != nil {
			if took, known := op.Latency.Percentile(q); known {
				byLoad[round.Load] = append(byLoad[round.Load], milliseconds(took))
			}
		}
	}
	var out []chart.Point
	for _, load := range sortedKeys(byLoad) {
		out = append(out, chart.Point{X: load, Y: middle(byLoad[load])})
	}
	return out
}
