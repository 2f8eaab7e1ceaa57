package follow

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// redeemed is what is remembered of a ticket that was good.
type redeemed struct {
	claims    *ticket.Claims
	subject   ticket.Subject // of the claims
	keys      *ticket.KeySet // by which it was verified
	statement uint64         // the digest of the statement that was verified
}

// refusal is what is remembered of an authority's "no".
type refusal struct {
	err   error
	until time.Time
}

var (
	errWrongAuthority = ticket.Refuse(ticket.WrongAuthority, "presented for an authority that is not configured here")
	errExpired        = ticket.Refuse(ticket.Expired, "expired")
	errRevoked        = ticket.Refuse(ticket.Revoked, "revoked")
	errHeld           = ticket.Refuse(ticket.Held, "held back until its turn")
	errKeyGone        = ticket.Refuse(ticket.BadSignature, "signed with a key that was taken out of the authority's key set")
	errCold           = ticket.Refuse(ticket.Busy, "no turn to redeem before the deadline")
	errNoKeys         = ticket.Refuse(ticket.Unavailable, "the authority's keys are not known yet")
	errNoNode         = errors.New("no node of the authority is up")
)

// Known judges a ticket that was redeemed here before, without I/O. The second
// result is false when it was not; then Redeem must be asked. A statement that
// is carried along must be the one that was verified: any other is not known,
// even beside a handle that is. The claims are shared: nobody may change them.
func (f *Follower) Known(p *ticket.Presentation) (*ticket.Claims, bool, error) {
	r, ok := f.known.GetIfPresent(p.Handle.Hash())
	if !ok || p.Statement != "" && digest(p.Statement) != r.statement {
		return nil, false, nil
	}
	return r.claims, true, f.stillGood(p, r)
}

// digest tells statements apart. It is keyed at random and not cryptographic: who
// found a statement with the digest of the true one would have the handle that
// goes with it, and gain nothing.
func digest(statement string) uint64 { return maphash.String(digestSeed, statement) }

var digestSeed = maphash.MakeSeed()

// stillGood repeats, for a remembered ticket, what can change with time or
// differs from one presentation to the next.
func (f *Follower) stillGood(p *ticket.Presentation, r *redeemed) error {
	now := f.config.Now()
	if err := f.sighted(now); err != nil {
		return err
	}
	t := f.trusted()
	switch {
	case p.Authority != "" && p.Authority != r.claims.Authority:
		return errWrongAuthority
	case !now.Before(r.claims.Expires):
		return errExpired
	case r.keys != t.set && !t.set.Names(r.claims.KeyID):
		return errKeyGone
	}
	if by := f.config.Log.Find(&r.subject, now); by != nil {
		if by.Stage > 0 {
			return errHeld
		}
		return errRevoked
	}
	return nil
}

// Revoked tells whether a ticket that was good has been revoked since, or is held
// back, or whether nothing has been heard for so long that its tunnels would be
// cut.
func (f *Follower) Revoked(claims *ticket.Claims) bool {
	now, subject := f.config.Now(), claims.Subject()
	age, ok := f.age(now)
	return ok && age > f.config.BlindLimit || f.config.Log.Find(&subject, now) != nil
}

// Redeem judges a ticket with the authority's help. A refusal is a
// *ticket.Error; [ticket.Unavailable] and [ticket.Busy] mean that the authority
// could not be asked in time, or has not been heard of for too long, and say
// nothing about the ticket.
func (f *Follower) Redeem(ctx context.Context, p *ticket.Presentation) (*ticket.Claims, error) {
	if p.Authority != "" && p.Authority != f.config.Authority {
		return nil, errWrongAuthority
	}
	if err := f.awaitSight(ctx, p); err != nil {
		return nil, err
	}
	if err := f.sighted(f.config.Now()); err != nil {
		return nil, err
	}
	hash := p.Handle.Hash()
	// What the authority said of the bare handle says nothing of a statement.
	if no, ok := f.refused.GetIfPresent(hash); ok && p.Statement == "" && f.config.Now().Before(no.until) {
		return nil, no.err
	}
	r, err := f.fly(ctx, p.Statement, hash)
	if err != nil {
		return nil, err
	}
	if err := f.stillGood(p, r); err != nil {
		return nil, err
	}
	return r.claims, nil
}

// awaitSight waits for the first good head. Within what is left of the grace of
// the process before, a ticket that needs nobody's help waits only until every
// node was asked once.
func (f *Follower) awaitSight(ctx context.Context, p *ticket.Presentation) error {
	var tried chan struct{}
	if p.Statement != "" && f.sighted(f.config.Now()) == nil {
		tried = f.tried
	}
	select {
	case <-f.ready:
		return nil
	case <-tried:
		return nil
	case <-ctx.Done():
		return &ticket.Error{Reason: ticket.Unavailable, Text: "revocations are not known yet", Err: context.Cause(ctx)}
	}
}

// fly looks a ticket up once for all who present it at the same time. The
// flight has its own deadline, so that one caller who goes away does not spoil
// it for the others.
func (f *Follower) fly(ctx context.Context, statement string, hash ticket.Hash) (*redeemed, error) {
	if statement != "" {
		// It may be a forgery, and must not share an answer with the bare handle;
		// and it needs nobody's help.
		return f.verify(statement, hash)
	}
	landed := f.flights.DoChan(string(hash[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.RedeemTimeout)
		defer cancel()
		return f.lookUp(ctx, hash)
	})
	select {
	case <-ctx.Done():
		return nil, &ticket.Error{Reason: ticket.Unavailable, Text: "the authority did not answer in time", Err: context.Cause(ctx)}
	case r := <-landed:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*redeemed), nil
	}
}

func (f *Follower) lookUp(ctx context.Context, hash ticket.Hash) (*redeemed, error) {
	if err := f.awaitTurn(ctx); err != nil {
		return nil, err
	}
	defer f.cold.Release(1)
	statement, err := f.askNodes(ctx, hash)
	if err != nil {
		f.rememberRefusal(hash, err)
		return nil, err
	}
	return f.verify(statement, hash)
}

// verify judges a statement for the holder of the handle with this hash, and
// remembers it when it is good.
func (f *Follower) verify(statement string, hash ticket.Hash) (*redeemed, error) {
	t := f.trusted()
	if t == nil {
		return nil, errNoKeys
	}
	claims, err := t.verifier.Verify(statement, hash)
	if err != nil {
		return nil, err
	}
	r := &redeemed{claims, claims.Subject(), t.set, digest(statement)}
	f.known.Set(hash, r)
	return r, nil
}

// awaitTurn takes a place among the redeems in flight. It waits half the time at
// most: whoever gets a turn shall have time left to be answered.
func (f *Follower) awaitTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.RedeemTimeout/2)
	defer cancel()
	if err := f.cold.Acquire(ctx, 1); err != nil {
		return errCold
	}
	return nil
}

// askNodes redeems at one node after the other, until one says something of the
// ticket. Each gets its share of the time, so that one that hangs does not take
// it all.
func (f *Follower) askNodes(ctx context.Context, hash ticket.Hash) (string, error) {
	var first uint64
	if f.config.Spread {
		first = f.turns.Add(1)
	}
	nodes := f.current().upNodes(first)
	reason, cause := ticket.Unavailable, error(errNoNode)
	for i, n := range nodes {
		statement, err := n.redeem(ctx, len(nodes)-i, hash)
		if err == nil || speaksOfTicket(err) {
			return statement, err
		}
		n.failed.Store(time.Now().UnixNano())
		reason, cause = ticket.Unavailable, err
		if ticket.ReasonOf(err) == ticket.Busy {
			reason = ticket.Busy
		}
	}
	return "", &ticket.Error{Reason: reason, Text: "no node of the authority could say", Err: cause}
}

// redeem asks one node, with its share of the time that is left for several.
func (n *node) redeem(ctx context.Context, share int, hash ticket.Hash) (string, error) {
	if end, ok := ctx.Deadline(); ok && share > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(share))
		defer cancel()
	}
	return n.Source.Redeem(ctx, hash)
}

// speaksOfTicket tells whether a refusal is about the ticket, so that no other
// node would say anything else.
func speaksOfTicket(err error) bool {
	switch ticket.ReasonOf(err) {
	case ticket.Unknown, ticket.Expired, ticket.NotYetValid, ticket.Revoked, ticket.Held, ticket.Mismatch,
		ticket.WrongAudience, ticket.WrongAuthority, ticket.BadSignature:
		return true
	}
	return false
}

// rememberRefusal keeps the answers that will not change within seconds.
func (f *Follower) rememberRefusal(hash ticket.Hash, err error) {
	switch ticket.ReasonOf(err) {
	case ticket.Unknown, ticket.Expired, ticket.Revoked:
		f.refused.Set(hash, refusal{err, f.config.Now().Add(f.config.RefusedFor)})
	}
}
