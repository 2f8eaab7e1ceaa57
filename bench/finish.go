package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/report"
)

// finish makes of what there is the report. failed is why there is no more.
func (r *run) finish(ctx context.Context, failed error) {
	if failed != nil {
		why := failed.Error()
		if interrupted(failed) {
			why = "it was interrupted"
		}
		r.mark(fmt.Sprintf("partial: %s, after %d of %d rounds", why, len(r.valued), r.Rounds*len(r.Endpoints)))
	}
	drifts := r.clocksAgain(ctx)
	r.report.Ended = time.Now().Round(0)
	r.hosts()
	r.virtual()
	r.conclude(drifts)
}

// clocksAgain reads the clocks once more. A host that is gone has no clock.
func (r *run) clocksAgain(ctx context.Context) []drift {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	var drifts []drift
	for _, m := range r.cast.all {
		before := m.party.clock
		if before.uncertain > clockGood {
			r.mark(fmt.Sprintf("the clock of %s is known to ± %s only", m.party.role, ms(before.uncertain)))
		}
		later, err := m.party.time(ctx)
		if err != nil {
			continue
		}
		if by := before.drift(later); by > clockGood {
			drifts = append(drifts, drift{m.party.role, by})
			r.mark(fmt.Sprintf("the clock of %s moved by %s against this host's within the run", m.party.role, ms(by)))
		}
	}
	return drifts
}

// hosts puts the hosts into the report.
func (r *run) hosts() {
	for _, m := range r.cast.all {
		samples := m.party.taken()
		if n := m.party.lost(); n > 0 {
			r.mark(fmt.Sprintf("the last %d samples of %s are missing: more than %d MiB of a host are not kept", n, m.party.role, maxEvidence>>20))
		}
		r.report.Hosts = append(r.report.Hosts, report.Host{
			Role: m.party.role, Host: m.host, Offset: m.party.clock.offset, Uncertain: m.party.clock.uncertain,
			Advice: evidence.Advise(m.host, samples), Samples: samples,
		})
	}
}

// virtual marks hosts whose traffic went through a device that is none: its line rate
// is unknown, so nothing can be said of how full it was.
func (r *run) virtual() {
	for _, m := range r.cast.all {
		s := seen{name: m.party.role, host: m.host, samples: m.party.taken()}
		name, _, known := s.carrier()
		if d := s.device(name); known && d.Kind != "" && d.Kind != "physical" {
			r.mark(fmt.Sprintf("virtual device: the traffic of %s goes through %s, %s, whose line rate is unknown", s.name, name, d.Kind))
		}
	}
}

// conclude draws figures, ratios, verdicts, limits and sizes out of the rounds.
func (r *run) conclude(drifts []drift) {
	p := r.report
	p.Figures = figuresOf(p.Endpoints, r.valued)
	p.Ratios = ratiosOf(p.Endpoints, r.valued)
	for _, e := range p.Endpoints {
		if r.done(e) == 0 {
			continue
		}
		p.Verdicts = append(p.Verdicts, r.Objectives.judge(e, p.Figures, failedOf(r.valued, e))...)
		p.Limits = append(p.Limits, r.limit(e))
		// Of rounds that are void there is nothing to reckon with.
		if g, watched := r.cast.gateways[e]; watched && r.counts(e) {
			s := seen{host: g.member.host, samples: g.member.party.taken()}
			p.Sizing = append(p.Sizing, sizingOf(e, r.Scenario.Kind, p.Figures, s.mayUse(g.role), s.host.MemoryKiB)...)
		}
		r.countVoid(e)
	}
	if says, evidence := clocksMoved(drifts); says != "" {
		p.Void = append(p.Void, report.Cause{What: "clocks", Says: says, Evidence: evidence})
	}
}

// done is how many rounds of an endpoint came to their end.
func (r *run) done(endpoint string) (n int) {
	for _, v := range r.valued {
		if v.endpoint == endpoint {
			n++
		}
	}
	return n
}

// counts is whether a round of an endpoint does.
func (r *run) counts(endpoint string) bool {
	return slices.ContainsFunc(r.valued, func(v valued) bool { return v.endpoint == endpoint && !v.void })
}

// countVoid decides whether an endpoint's void rounds make the run void: from half of
// them on. Fewer are left out of the figures, and named.
func (r *run) countVoid(endpoint string) {
	var numbers []int
	var causes []report.Cause
	for _, round := range r.report.Rounds {
		if round.Endpoint == endpoint && len(round.Void) > 0 && round.Void[0].What != report.Partial {
			numbers = append(numbers, round.Number)
			causes = append(causes, round.Void...)
		}
	}
	switch all := r.done(endpoint); {
	case len(numbers) == 0:
	case 2*len(numbers) < all:
		r.mark(fmt.Sprintf("of %s, void rounds are not in the figures: %v of %d, because: %s", endpoint, numbers, all, causes[0].Says))
	default:
		for _, c := range causes {
			if !slices.ContainsFunc(r.report.Void, func(have report.Cause) bool { return have.Says == c.Says }) {
				r.report.Void = append(r.report.Void, c)
			}
		}
	}
}

// limit is an endpoint's: what limited most of its rounds that count.
func (r *run) limit(endpoint string) report.Limit {
	seen := make(map[string]int)
	var best report.Limit
	for _, v := range counted(r.valued, endpoint) {
		for _, round := range r.report.Rounds {
			if round.Endpoint != endpoint || round.Number != v.number {
				continue
			}
			seen[round.Limit.Resource]++
			if best.Resource == "" || seen[round.Limit.Resource] > seen[best.Resource] {
				best = round.Limit
			}
		}
	}
	return best
}

// mark adds what every reader must know first, once.
func (r *run) mark(text string) {
	if !slices.Contains(r.report.Marks, text) {
		r.report.Marks = append(r.report.Marks, text)
	}
}
