package sta

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// RevokeResult is what came of a revocation.
type RevokeResult struct {
	ID, Family string
	// Serial is the revocation's number.
	Serial uint64
	// Already says that the family had been revoked before.
	Already bool
	// Gateways are those that followed the revocations at the time, by name.
	Gateways []GatewayCut
	// Took is the whole of it.
	Took time.Duration
	// Warning is what an operator must know although the ticket is revoked, or "".
	Warning string
}

// GatewayCut is what one gateway made of a revocation.
type GatewayCut struct {
	Name string
	// Answered is false for a gateway that did not report in time. It may have
	// applied the revocation, or may yet: it follows, or its grace runs out.
	Answered bool
	// Cut is the number of live tunnels that it ended, in the report that
	// covered this revocation; one that covered several counts them together.
	Cut int
	// Took is the time from the revocation to the report.
	Took time.Duration
}

// Revoke ends the ticket and its whole family. When it returns without an error
// the revocation is durable, and every gateway that follows has had up to
// CutWait to say that it cut the tunnels. To revoke again changes nothing and is
// no error. It works with an audit log that does not: ending a ticket must
// always be possible, so that shows in Warning. Refusals: [ticket.Forbidden],
// [ticket.NotFound].
func (a *Authority) Revoke(ctx context.Context, c *Client, id string) (RevokeResult, error) {
	if c == nil {
		return RevokeResult{}, c.Check(MayRevoke)
	}
	start := time.Now()
	event := Event{
		Time: a.now(), Action: ActionRevoke, Result: ResultOK,
		Client: c.Name, Source: c.Source, Ticket: claimed(id),
	}
	r, revocation, already, err := a.revoke(ctx, c, id, event.Time)
	if r != nil {
		event.User, event.Device, event.App = fit(r.User), fit(r.Device), fit(r.App)
	}
	if err != nil {
		event.Text = "STA ticket not revoked: " + reasonText(err)
		a.auditRefusal(ctx, event, err)
		return RevokeResult{}, err
	}
	wait := a.followers.announce(revocation.Serial, already)
	if a.hooks.Revoked != nil {
		a.hooks.Revoked(already)
	}
	result := RevokeResult{ID: id, Family: revocation.Family, Serial: revocation.Serial, Already: already}
	event.Text = "STA ticket revoked" + forWhom(event)
	if already {
		event.Text = "STA ticket had been revoked before" + forWhom(event)
	}
	if err := a.append(context.WithoutCancel(ctx), event); err != nil {
		result.Warning = "the revocation is in force but could not be written to the audit log"
	}
	result.Gateways = wait.collect(ctx, a.cutWait)
	result.Took = time.Since(start)
	return result, nil
}

// revoke finds the ticket and ends its family. The record may come with an error.
func (a *Authority) revoke(ctx context.Context, c *Client, id string, now time.Time) (*Record, ticket.Revocation, bool, error) {
	if err := c.Check(MayRevoke); err != nil {
		return nil, ticket.Revocation{}, false, err
	}
	r, err := a.byID(ctx, id)
	if err != nil {
		return nil, ticket.Revocation{}, false, err
	}
	forget := r.Expires
	if !r.Refreshable {
		forget = forget.Add(MinKeep) // its tunnels may live on
	}
	revocation, already, err := a.store.Revoke(ctx, ticket.Revocation{
		Family: r.Family,
		Time:   now.UTC().Truncate(time.Millisecond),
		By:     c.Name,
		Forget: forget,
	})
	if err != nil {
		return r, revocation, false, unavailable("the revocation could not be stored", err)
	}
	return r, revocation, already, nil
}

func (a *Authority) byID(ctx context.Context, id string) (*Record, error) {
	r, err := a.store.ByID(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ticket.Refuse(ticket.NotFound, "no ticket has this id")
	case err != nil:
		return nil, unavailable("the ticket could not be read", err)
	}
	return r, nil
}

// Bounds of one call of Revocations.
const (
	maxPollWait    = lease / 2
	maxRevocations = 1000
)

// Revocations gives those with a Serial over after, in order and at most 1,000.
// When there is none it waits for one, up to wait and never over 5 s, half a
// lease, and then gives none. The gateway asks past a serial only when it has
// applied everything up to there, and reported it. Asking refreshes its lease:
// for 10 s, Revoke waits for it and names it.
//
// A serial that the store never gave is refused with [ticket.Invalid]: it comes
// from another store, or this one lost entries, and a gateway that went on as if
// nothing had happened would miss what comes next.
//
// One that the store can no longer read holds up no other: the rest is given all
// the same. But when there is no more to give, the answer is [ticket.Unavailable]
// and not "none", which would say that the gateway knows them all. So one that
// starts anew admits nobody; and Redeem vouches for nobody.
func (a *Authority) Revocations(ctx context.Context, gateway string, after uint64, wait time.Duration) ([]ticket.Revocation, error) {
	if err := a.followers.follow(gateway, after); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(min(max(wait, 0), maxPollWait))
	defer timeout.Stop()
	for {
		// Taken before the store is read, so that no revocation falls between.
		news := a.followers.news()
		entries, last, err := a.store.Revocations(ctx, after, maxRevocations)
		var lost *LostError
		if errors.As(err, &lost) {
			a.lost.Store(lost)
			err = nil
		}
		switch {
		case err != nil:
			return nil, unavailable("the revocations could not be read", err)
		case after > last:
			return nil, ticket.Refuse(ticket.Invalid, "revocation %d was never made here; the last is %d", after, last)
		case len(entries) > 0:
			return entries, nil
		}
		select {
		case <-news:
		case <-timeout.C:
			if lost := a.lost.Load(); lost != nil {
				return nil, unavailable("revocations were lost", lost)
			}
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ReportCuts says that the gateway has applied every revocation up to serial and
// ended cut live tunnels in doing so. It refreshes the lease.
func (a *Authority) ReportCuts(_ context.Context, gateway string, serial uint64, cut int) error {
	if cut < 0 {
		return ticket.Refuse(ticket.Invalid, "a negative number of tunnels")
	}
	return a.followers.report(gateway, serial, cut)
}
