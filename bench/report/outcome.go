package report

import (
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/bench/load"
)

// outcome is what one endpoint did, all rounds that are shown taken together.
type outcome struct {
	Endpoint string
	Tone     int
	Load     float64
	Rounds   []*Round
	// Counts is true if these rounds count; else they are shown for want of better ones.
	Counts bool
	Total  load.Result // sums; Seconds and Sustain are left out
}

// outcomes has one for each endpoint, in the report's order.
func (r *Report) outcomes() []outcome {
	out := make([]outcome, len(r.Endpoints))
	for i, name := range r.Endpoints {
		o := outcome{Endpoint: name, Tone: i}
		o.Rounds, o.Counts = r.shown(name)
		var results []load.Result
		for _, round := range o.Rounds {
			o.Load = round.Load
			result := round.Result
			// Merge is for clients that ran at the same time. Rounds took turns: their
			// seconds do not add up, and the longest sustain is nobody's.
			result.Seconds, result.Sustain = nil, 0
			results = append(results, result)
		}
		o.Total = load.Merge(results...)
		out[i] = o
	}
	return out
}

// shown are the rounds of an endpoint that pictures and sums are made of: those at
// the load that most rounds had, the highest of these, and of them the ones that
// count; or all of them if none does.
func (r *Report) shown(endpoint string) (rounds []*Round, counts bool) {
	loads := make(map[float64]int)
	for i := range r.Rounds {
		if r.Rounds[i].Endpoint == endpoint {
			loads[r.Rounds[i].Load]++
		}
	}
	var chosen float64
	for l, n := range loads {
		if most := loads[chosen]; n > most || n == most && l > chosen {
			chosen = l
		}
	}
	var valid []*Round
	for i := range r.Rounds {
		round := &r.Rounds[i]
		if round.Endpoint != endpoint || round.Load != chosen {
			continue
		}
		rounds = append(rounds, round)
		if len(round.Void) == 0 {
			valid = append(valid, round)
		}
	}
	if len(valid) > 0 {
		return valid, true
	}
	return rounds, false
}

// principals are the operations that a kind of scenario is about, by preference.
var principals = map[string][]string{
	"setup":       {"setup"},
	"idle":        {"exchange"},
	"bulk":        {"transfer"},
	"requests":    {"exchange"},
	"push":        {"poll"},
	"storm":       {"wake"},
	"morning":     {"morning"},
	"revoke":      {"revoke"},
	"extender":    {"event"},
	"attachments": {"attachment"},
	"day":         {"sync"},
}

// Principal is the kind of operation that a scenario of this kind is about, out of
// those that a result has; nil if nothing was done.
func Principal(kind string, operations []load.Operation) *load.Operation {
	for _, name := range principals[kind] {
		for i := range operations {
			if operations[i].Name == name && operations[i].Latency.Count() > 0 {
				return &operations[i]
			}
		}
	}
	var most *load.Operation
	for i := range operations {
		if n := operations[i].Latency.Count(); n > 0 && (most == nil || n > most.Latency.Count()) {
			most = &operations[i]
		}
	}
	return most
}

// each is one number of each round's result; rounds without it are left out.
func (o *outcome) each(of func(*load.Result) (float64, bool)) []float64 {
	var out []float64
	for _, round := range o.Rounds {
		if v, is := of(&round.Result); is {
			out = append(out, v)
		}
	}
	return out
}

// handshakes says how many there were, and how many of them were cheap.
func handshakes(outcomes []outcome) string {
	var parts []string
	for i := range outcomes {
		if t := &outcomes[i].Total; t.Handshakes > 0 {
			parts = append(parts, fmt.Sprintf("%s at %s, of which %s resumed a session", count(t.Handshakes), plain(outcomes[i].Endpoint), count(t.Resumed)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "TLS handshakes: " + strings.Join(parts, "; ") + "."
}
