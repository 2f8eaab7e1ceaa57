package report

import (
	"time"

	"github.com/sallyport/sallyport/bench/load"
)

// roundRow is a round as the page lists it.
type roundRow struct {
	Number, Endpoint, Load, Scheduled, Done, Failed string
	P50, P99, Slip, Limit                           string
	Void                                            []string
	Tone                                            int
}

// shownRounds bounds the list; a search for the knee through many endpoints has most.
const shownRounds = 100

func (r *Report) roundRows() []roundRow {
	var out []roundRow
	for i := range r.Rounds {
		if i == shownRounds {
			break
		}
		round := &r.Rounds[i]
		res := &round.Result
		row := roundRow{Number: count(int64(round.Number)), Endpoint: plain(round.Endpoint), Tone: r.toneOf(round.Endpoint),
			Load: significant(round.Load, 5), Scheduled: count(res.Scheduled), Done: count(res.Done), Failed: count(res.Failed),
			P50: "–", P99: "–", Slip: "–", Limit: resource(round.Limit.Resource)}
		if op := Principal(r.Plan.Scenario.Kind, res.Operations); op != nil {
			row.P50, row.P99 = known(op.Latency.Percentile(0.5)), known(op.Latency.Percentile(0.99))
		}
		if slip := slippage(res.Operations); slip > 0 {
			row.Slip = took(slip)
		}
		for _, c := range round.Void {
			row.Void = append(row.Void, causeText(c))
		}
		out = append(out, row)
	}
	return out
}

// slippage is the 99th percentile of the slip, of the kind of operation with most.
func slippage(operations []load.Operation) time.Duration {
	var most time.Duration
	for i := range operations {
		most = max(most, operations[i].Slip.Quantile(0.99))
	}
	return most
}

// failures is what failed, by reason and endpoint.
type failures struct {
	Heads []key
	Rows  []failureRow
	None  bool // nothing failed at all
}

type failureRow struct {
	Reason string
	Cells  []failureCell
}

type failureCell struct {
	Count, Share string
	Tone         int
}

func failuresOf(outcomes []outcome) failures {
	f := failures{None: true}
	reasons := make(map[string]bool)
	for i := range outcomes {
		t := &outcomes[i].Total
		tone, dash := endpointTone(i)
		f.Heads = append(f.Heads, key{Name: plain(outcomes[i].Endpoint), Tone: tone, Dash: dash})
		f.None = f.None && t.Failed == 0 && t.Unfinished == 0 && t.Died == 0 && t.Lived == 0 && len(t.Outside) == 0
		for reason := range t.Failures {
			reasons[reason] = true
		}
	}
	row := func(reason string, of func(*outcome) uint64) {
		r := failureRow{Reason: plain(reason)}
		for i := range outcomes {
			n := of(&outcomes[i])
			r.Cells = append(r.Cells, failureCell{Count: count(n), Share: share(n, outcomes[i].Total.Scheduled)})
		}
		f.Rows = append(f.Rows, r)
	}
	for _, reason := range sortedKeys(reasons) {
		row(reason, func(o *outcome) uint64 { return o.Total.Failures[reason] })
	}
	if len(reasons) > 0 {
		row("all", func(o *outcome) uint64 { return o.Total.Failed })
	}
	for _, rest := range []struct {
		name string
		of   func(*outcome) uint64
	}{
		{"of all, never begun: too much was in flight", func(o *outcome) uint64 { return o.Total.Unstarted }},
		{"in the ramps, which do not count", func(o *outcome) uint64 { return total(o.Total.Outside) }},
		{"tunnels that outlived the revocation", func(o *outcome) uint64 { return o.Total.Lived }},
		{"unfinished when it was broken off", func(o *outcome) uint64 { return o.Total.Unfinished }},
		{"tunnels that ended by themselves", func(o *outcome) uint64 { return o.Total.Died }},
	} {
		for i := range outcomes {
			if rest.of(&outcomes[i]) > 0 {
				row(rest.name, rest.of)
				break
			}
		}
	}
	return f
}

func total(counts map[string]uint64) uint64 {
	var n uint64
	for _, c := range counts {
		n += c
	}
	return n
}
