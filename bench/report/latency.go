package report

import (
	"html/template"
	"math"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report/chart"
)

// latency is one kind of operation: its curve, all endpoints in one chart, and the
// same as numbers.
type latency struct {
	Name   string
	Legend []key
	SVG    template.HTML
	Rows   []latencyRow
}

// latencyRow is one endpoint's; all rounds that are shown are one histogram in it.
type latencyRow struct {
	Endpoint                 string
	Tone                     int
	Count                    string
	P50, P90, P99, P999, Max string
	Service99, Slip99        string
	Within10s, Within30s     string
}

// latencies has one for each kind of operation, the one the scenario is about first.
func (r *Report) latencies(outcomes []outcome) []latency {
	var names []string
	seen := make(map[string]bool)
	for i := range outcomes {
		o := &outcomes[i]
		if p := Principal(r.Plan.Scenario.Kind, o.Total.Operations); p != nil && !seen[p.Name] {
			seen[p.Name] = true
			names = append(names, p.Name)
		}
	}
	for i := range outcomes {
		for _, op := range outcomes[i].Total.Operations {
			if !seen[op.Name] && op.Latency.Count() > 0 {
				seen[op.Name] = true
				names = append(names, op.Name)
			}
		}
	}
	var out []latency
	for _, name := range names {
		out = append(out, r.latency(name, outcomes))
	}
	return out
}

func (r *Report) latency(name string, outcomes []outcome) latency {
	l := latency{Name: plain(name)}
	c := &chart.Chart{
		Title:  "Latency of " + l.Name + " by percentile",
		Height: 260,
		X:      chart.Axis{Label: "percentile", Scale: chart.Nines},
		Y:      chart.Axis{Scale: chart.Log, Format: tickOf("ms")},
	}
	for i := range outcomes {
		if p := Principal(r.Plan.Scenario.Kind, outcomes[i].Total.Operations); p != nil && p.Name == name {
			c.Rules = r.budgets()
		}
		for j := range outcomes[i].Total.Operations {
			op := &outcomes[i].Total.Operations[j]
			if op.Name != name || op.Latency.Count() == 0 {
				continue
			}
			tone, dash := endpointTone(i)
			c.Layers = append(c.Layers, chart.Layer{Tone: tone, Dash: dash, Points: percentiles(&op.Latency)})
			l.Legend = append(l.Legend, key{Name: plain(outcomes[i].Endpoint), Tone: tone, Dash: dash})
			l.Rows = append(l.Rows, outcomes[i].latencyRow(op, tone))
		}
	}
	l.SVG = svg(c)
	return l
}

// budgets are the time that a device gives a sync that it was woken for, where that
// is what the scenario is about.
func (r *Report) budgets() []chart.Rule {
	switch r.Plan.Scenario.Kind {
	case "storm", "morning":
		return []chart.Rule{
			{Y: 10_000, Label: "10 s: a background sync on Android", Wanted: true},
			{Y: 30_000, Label: "30 s: a background sync on iOS", Wanted: true},
		}
	}
	return nil
}

// percentiles are the points of the curve, as far out as the count allows: the last
// of n is its 1−1/n.
func percentiles(h *load.Histogram) []chart.Point {
	end := math.Log10(float64(h.Count()))
	var out []chart.Point
	for x := 0.0; x < end; x += 0.03 {
		out = append(out, chart.Point{X: x, Y: milliseconds(h.Quantile(1 - math.Pow(10, -x)))})
	}
	return append(out, chart.Point{X: end, Y: milliseconds(h.Max())})
}

func (o *outcome) latencyRow(op *load.Operation, tone int) latencyRow {
	n := op.Latency.Count()
	q := func(q float64) string {
		return known(op.Latency.Percentile(q))
	}
	return latencyRow{Endpoint: plain(o.Endpoint), Tone: tone, Count: count(n),
		P50: q(0.5), P90: q(0.9), P99: q(0.99), P999: q(0.999), Max: took(op.Latency.Max()),
		Service99: known(op.Service.Percentile(0.99)), Slip99: known(op.Slip.Percentile(0.99)),
		Within10s: share(op.Within10s, n), Within30s: share(op.Within30s, n)}
}

// known is a percentile as it is shown: of too few there is none.
func known(d time.Duration, is bool) string {
	if !is {
		return "–"
	}
	return took(d)
}
