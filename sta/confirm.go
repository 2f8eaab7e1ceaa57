package sta

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// confirm waits until every other node has the entry and every gateway has
// applied it, or CutWait is over.
func (a *Authority) confirm(ctx context.Context, v *revocation, start time.Time) {
	timeout := time.NewTimer(a.cutWait)
	defer timeout.Stop()
	took := make(map[string]time.Duration)
	for {
		reports, notices := a.followers.news(), a.sight.news()
		if a.tally(v, start, took) {
			return
		}
		select {
		case <-reports:
			continue
		case <-notices:
			continue
		case <-timeout.C:
		case <-ctx.Done():
		}
		a.tally(v, start, took)
		return
	}
}

// tally counts who has confirmed, and tells whether everyone has.
func (a *Authority) tally(v *revocation, start time.Time, took map[string]time.Duration) bool {
	r, ref := &v.result, v.result.Entry
	done := true
	nodes := a.sight.nodes()
	r.Copies = 0
	for _, n := range nodes {
		if n.head != nil && n.head.Tips[ref.Writer].Position >= ref.Position {
			r.Copies++
		} else {
			done = false
		}
	}
	r.SingleCopy = r.Copies == 0
	r.Gateways = r.Gateways[:0]
	for name, g := range a.gateways(nodes) {
		cut, counted := g.Cuts[ref]
		answered := counted || g.Applied.Covers(ref)
		if answered && took[name] == 0 {
			took[name] = time.Since(start)
		}
		if v.again {
			cut = 0 // it was counted then
		}
		r.Gateways = append(r.Gateways, GatewayCut{Name: name, Answered: answered, Cut: cut, Took: took[name]})
		// That it has applied the entry may be known at this node before the count,
		// which it told another one: the count is worth the wait.
		done = done && (counted || v.again && answered)
	}
	slices.SortFunc(r.Gateways, func(x, y GatewayCut) int { return cmp.Compare(x.Name, y.Name) })
	return done
}

// gateways gives those that follow any node.
func (a *Authority) gateways(nodes map[string]*notice) map[string]followed {
	all := a.followers.all()
	for _, n := range nodes {
		for name, there := range n.Gateways {
			here, both := all[name]
			if !both {
				// A copy, for what the next node says goes into it, and the notice is
				// read by everyone who revokes.
				all[name] = followed{Applied: maps.Clone(there.Applied), Cuts: maps.Clone(there.Cuts)}
				continue
			}
			// It moved from one node to the other: what it said last counts.
			for writer, position := range there.Applied {
				if here.Applied[writer] < position {
					if here.Applied == nil {
						here.Applied = make(ticket.Positions)
					}
					here.Applied[writer] = position
				}
			}
			for ref, cut := range there.Cuts {
				if here.Cuts == nil {
					here.Cuts = make(map[ticket.Ref]int)
				}
				here.Cuts[ref] = max(here.Cuts[ref], cut)
			}
			all[name] = here
		}
	}
	return all
}
