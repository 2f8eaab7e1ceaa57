package sta

import (
	"context"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Bounds of one call of Updates.
const (
	maxPollWait = lease / 2
	maxEntries  = 500 // some 300 KiB: what a slow line carries within the time for an answer
)

// Updates gives a gateway what it does not know yet: entries past the positions,
// and the newest head. When there are no entries it waits for one, up to wait and
// never over 5 s, half a lease. The gateway asks past an entry only when it has
// applied it. Asking refreshes its lease: for 10 s, Revoke waits for it and names
// it.
//
// While the store cannot be looked into there is no newer head, so that the
// gateway's grace runs; what is revoked here meanwhile is told all the same.
func (a *Authority) Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error) {
	if err := a.look(ctx); err != nil {
		return ticket.Updates{}, err
	}
	if err := a.followers.follow(gateway, a.believable(after)); err != nil {
		return ticket.Updates{}, err
	}
	timeout := time.NewTimer(min(max(wait, 0), maxPollWait))
	defer timeout.Stop()
	for {
		news := a.log.News() // taken before the log is read, so that nothing falls between
		if logs := a.log.After(after, maxEntries); len(logs) > 0 {
			return ticket.Updates{Logs: logs, Head: a.newestHead()}, nil
		}
		select {
		case <-news:
		case <-timeout.C:
			return ticket.Updates{Head: a.newestHead()}, nil
		case <-ctx.Done():
			return ticket.Updates{}, ctx.Err()
		}
	}
}

func (a *Authority) newestHead() string {
	if head := a.sight.head.Load(); head != nil {
		return head.signed
	}
	return ""
}

// Heads gives the newest head of this node, and of every other that left word,
// signed, by the name of its life.
func (a *Authority) Heads(ctx context.Context) (map[string]string, error) {
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	heads := map[string]string{a.log.Writer(): a.newestHead()}
	for name, n := range a.sight.nodes() {
		if n.Head != "" {
			heads[name] = n.Head
		}
	}
	return heads, nil
}

// SignedKeys gives the key set in force, as the root signed it.
func (a *Authority) SignedKeys(context.Context) (string, error) { return a.Keys().String(), nil }

// ReportCuts notes what a gateway has done. It refreshes the lease. What the
// gateway holds and this authority has lost is taken back.
func (a *Authority) ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error {
	for _, cut := range r.Cuts {
		if cut < 0 {
			return ticket.Refuse(ticket.Invalid, "a negative number of tunnels")
		}
	}
	if err := a.look(ctx); err != nil {
		return err
	}
	if len(r.Logs) > 0 {
		if _, err := a.log.Take(a.Keys(), r.Logs, a.peerHeads()...); err != nil && !revlog.IsUnsaved(err) {
			return ticket.Refuse(ticket.Invalid, "the entries do not fit: %s", ticket.ReasonOf(err))
		}
	}
	r.Applied = a.believable(r.Applied)
	return a.followers.report(gateway, r)
}

// believable gives what of a gateway's positions is of logs that there are.
func (a *Authority) believable(p ticket.Positions) ticket.Positions {
	own := a.log.Positions()
	known := make(ticket.Positions, len(own))
	for writer, at := range own {
		if n := min(at, p[writer]); n > 0 {
			known[writer] = n
		}
	}
	return known
}
