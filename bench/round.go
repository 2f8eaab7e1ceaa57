package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

const (
	// lead is how far ahead a plan's beginning is: time enough for it to reach all
	// clients.
	lead = time.Second
	// tail is for the sample that covers the end of sustain.
	tail = 1100 * time.Millisecond
	// grace is what a client may take beyond its plan and its patience.
	grace = 15 * time.Second
)

// round does the scenario once through one endpoint. If it was broken off, the round
// holds what there was, and the view is nil if there was nothing.
func (r *run) round(ctx context.Context, e load.Endpoint, s load.Scenario) (*report.Round, *view, error) {
	if err := pause(ctx, r.Settle); err != nil {
		return nil, nil, err
	}
	plan := r.plan(e, s, r.service)
	v := &view{plan: plan, rssBefore: r.gatewayRSS(e.Name)}
	plan.Begin = time.Now().Add(lead)
	from := plan.Begin.Add(s.Ramp)
	amount, _, _ := loadOf(s)
	round := &report.Round{Endpoint: e.Name, Load: amount, Began: plan.Begin.Round(0), Sustain: from.Round(0)}

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		round.Service, err = r.account(groupCtx, from, from.Add(s.Sustain))
		return err
	})
	group.Go(func() (err error) {
		v.result, err = r.load(groupCtx, plan)
		return err
	})
	err := group.Wait()
	if err == nil {
		err = pause(ctx, max(0, tail-s.Down))
	}
	round.Ended = time.Now().Round(0)
	r.say("", r.takes(s))
	v.service, round.Result = round.Service, v.result
	r.see(v, from, from.Add(s.Sustain))
	if err != nil {
		if v.result.Scheduled == 0 && len(v.result.Seconds) == 0 {
			return nil, nil, err
		}
		round.Void = []report.Cause{{What: report.Partial, Says: "The round did not come to its end."}}
		round.Limit = report.Limit{Endpoint: e.Name, Resource: "unknown", Says: round.Void[0].Says}
		return round, v, err
	}
	round.Void, round.Limit = voidOf(v), limitOf(v)
	return round, v, nil
}

// load has all clients carry out their shares of a plan, and merges what they saw.
func (r *run) load(ctx context.Context, plan load.Plan) (load.Result, error) {
	limit := time.Until(plan.Begin) + lasts(plan.Scenario) + plan.Patience + plan.Scenario.Heartbeat[1] + grace
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("a client did not come to its end within %s", limit.Round(time.Second)))
	defer cancel()
	results := make([]load.Result, len(r.cast.clients))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, c := range r.cast.clients {
		mine := plan
		mine.Share, mine.Of = i, len(r.cast.clients)
		second := r.sayYet
		if i > 0 {
			second = nil
			mine.Scenario.Trigger = nil // the first client's to run, and nobody else's to know
		}
		group.Go(func() error {
			done, err := c.party.run(groupCtx, mine, second)
			results[i] = done.Result
			if err == nil && done.Broken != "" {
				err = fmt.Errorf("%s: %s", c.party.name(), printable(done.Broken))
			}
			return err
		})
	}
	err := group.Wait()
	return load.Merge(results...), err
}

// account is what the service did between two moments. Connections that it turned away
// count from now on: those that are held are opened ahead of both.
func (r *run) account(ctx context.Context, from, to time.Time) (exchange.Account, error) {
	var now, before, after exchange.Account
	if err := r.cast.sink.party.call(ctx, callAccount, nil, &now, nil); err != nil {
		return after, err
	}
	if err := pause(ctx, time.Until(from)); err != nil {
		return after, err
	}
	if err := r.cast.sink.party.call(ctx, callAccount, nil, &before, nil); err != nil {
		return after, err
	}
	if err := pause(ctx, time.Until(to)); err != nil {
		return after, err
	}
	err := r.cast.sink.party.call(ctx, callAccount, nil, &after, nil)
	before.TurnedAway = now.TurnedAway
	return after.Sub(before), err
}

// see adds the hosts to a view, as they were between two moments.
func (r *run) see(v *view, from, to time.Time) {
	look := func(m *member) seen {
		c := m.party.clock
		return seen{m.party.role, m.host, within(m.party.taken(), c.theirs(from), c.theirs(to)), m.party.hello.Addresses}
	}
	v.sink = look(r.cast.sink)
	for _, c := range r.cast.clients {
		v.clients = append(v.clients, look(c))
	}
	if g, watched := r.cast.gateways[v.plan.Endpoint.Name]; watched {
		s := look(g.member)
		s.samples = renamed(s.samples, g.role, roleGateway)
		v.gateway = &s
	}
}

// renamed are the samples with one role's processes as another's: of two gateways on
// one host, the one that is looked at.
func renamed(samples []evidence.Sample, role, as string) []evidence.Sample {
	out := make([]evidence.Sample, len(samples))
	for i, s := range samples {
		own := make([]evidence.Process, 0, 1)
		for _, p := range s.Processes {
			if p.Role == role {
				p.Role = as
				own = append(own, p)
			}
		}
		s.Processes = own
		out[i] = s
	}
	return out
}

// gatewayRSS is the memory of an endpoint's gateway ahead of its first round, KiB; 0 if
// nobody watches it. What a process has had once it does not give back at once: held
// against its memory after a round, tunnels would seem to cost nothing in the next.
func (r *run) gatewayRSS(endpoint string) int64 {
	if r.rss == nil {
		r.rss = make(map[string]int64)
	}
	if r.rss[endpoint] == 0 {
		r.rss[endpoint] = r.gatewayRSSNow(endpoint)
	}
	return r.rss[endpoint]
}

func (r *run) gatewayRSSNow(endpoint string) int64 {
	g, watched := r.cast.gateways[endpoint]
	if !watched {
		return 0
	}
	samples := g.member.party.taken()
	if len(samples) == 0 {
		return 0
	}
	for _, p := range samples[len(samples)-1].Processes {
		if p.Role == g.role {
			return p.RSSKiB
		}
	}
	return 0
}
