package load

import (
	"slices"
	"strings"
	"time"
)

func byName(a, b Operation) int { return strings.Compare(a.Name, b.Name) }

// Merge makes one result of those of clients that shared a plan. Counts and bytes
// add up, histograms merge, Sustain is the longest. Seconds are put together by their
// number, counted from each client's own Begin, so clocks need not agree; At is that
// of the first. A second's percentiles cannot be merged: the worst client's is taken.
func Merge(results ...Result) Result {
	var all Result
	for _, r := range results {
		all.Scheduled += r.Scheduled
		all.Done += r.Done
		all.Failed += r.Failed
		all.Unfinished += r.Unfinished
		all.Unstarted += r.Unstarted
		all.Full += r.Full
		all.Up += r.Up
		all.Down += r.Down
		all.Held += r.Held
		all.Died += r.Died
		all.Lived += r.Lived
		all.Handshakes += r.Handshakes
		all.Resumed += r.Resumed
		all.Sustain = max(all.Sustain, r.Sustain)
		for why, n := range r.Failures {
			all.Failures = tally(all.Failures, why, n)
		}
		for why, n := range r.Outside {
			all.Outside = tally(all.Outside, why, n)
		}
		for why, words := range r.Words {
			all.Words = saying(all.Words, why, words)
		}
		for _, o := range r.Operations {
			all.mergeOperation(o)
		}
		for i, s := range r.Seconds {
			all.mergeSecond(i, s)
		}
	}
	slices.SortFunc(all.Operations, byName)
	return all
}

func (r *Result) mergeOperation(o Operation) {
	i := slices.IndexFunc(r.Operations, func(have Operation) bool { return have.Name == o.Name })
	if i < 0 {
		r.Operations = append(r.Operations, Operation{Name: o.Name})
		i = len(r.Operations) - 1
	}
	row := &r.Operations[i]
	row.Latency.Merge(o.Latency)
	row.GaveUp.Merge(o.GaveUp)
	row.Service.Merge(o.Service)
	row.Slip.Merge(o.Slip)
	row.Due += o.Due
	row.Within10s += o.Within10s
	row.Within30s += o.Within30s
}

func (r *Result) mergeSecond(i int, s Second) {
	if i == len(r.Seconds) {
		r.Seconds = append(r.Seconds, s)
		return
	}
	have := &r.Seconds[i]
	have.Scheduled += s.Scheduled
	have.Done += s.Done
	have.Failed += s.Failed
	have.Up += s.Up
	have.Down += s.Down
	have.InFlight += s.InFlight
	have.Tunnels += s.Tunnels
	have.P50, have.P99 = max(have.P50, s.P50), max(have.P99, s.P99)
	have.Max, have.Slip = max(have.Max, s.Max), max(have.Slip, s.Slip)
}

// Shift moves the result's moments by d: to the clock of another host.
func (r *Result) Shift(d time.Duration) {
	for i := range r.Seconds {
		r.Seconds[i].At = r.Seconds[i].At.Add(d)
	}
}
