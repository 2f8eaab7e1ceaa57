package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// ServeTunnel takes a stream through its life. It satisfies tunnel.Handler.
func (g *Gateway) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	g.serve(ctx, n, &Attempt{Peer: n.Peer()})
}

func (g *Gateway) serve(ctx context.Context, n tunnel.Negotiation, a *Attempt) {
	if a.Peer.Accepted.IsZero() {
		a.Peer.Accepted = time.Now()
	}
	if err := g.open(ctx, n, a); err != nil {
		refusal := asRefusal(err)
		a.SetUp = time.Since(a.Peer.Accepted)
		if a.trial != nil {
			a.trial.refusal = refusal
		}
		if g.config.Hooks.Refused != nil {
			g.config.Hooks.Refused(a, refusal)
		}
		n.Refuse(refusal) // last: it lingers until the client has the answer
	}
}

// open is the life of a tunnel. An error is a refusal that the client has yet
// to be told; after success was told there are no errors, only ends.
func (g *Gateway) open(ctx context.Context, n tunnel.Negotiation, a *Attempt) error {
	setUp, cancel := context.WithDeadline(ctx, a.Peer.Deadline)
	defer cancel()

	credential, err := n.Credential(setUp)
	if err != nil {
		return err
	}
	claims, presented, err := g.admit(setUp, a, credential)
	if err != nil {
		a.badTicket = asRefusal(err)
		return err
	}
	destination, err := n.Destination(setUp)
	if err != nil {
		return err
	}
	service, err := g.reach(setUp, a, presented, destination)
	if err != nil {
		return err
	}
	var entered *live
	defer func() {
		switch { // whatever came in between
		case entered == nil:
			g.dismiss(service)
		case !entered.isJoined():
			g.registry.leave(entered)
			g.dismiss(service)
		}
	}()
	if entered, err = g.registry.enter(claims, service); err != nil {
		return err
	}
	client, err := g.enter(claims, n)
	if err != nil {
		return err
	}
	cancel()
	a.trial = nil // it is not needed any more, and a tunnel may live for days
	a.From, a.To = addrPort(service.LocalAddr()), addrPort(service.RemoteAddr())
	a.SetUp = time.Since(a.Peer.Accepted)
	g.relay(a, entered, client, service)
	return nil
}

// enter lets a client in whose tunnel is in the registry, if nothing speaks against
// it even now.
func (g *Gateway) enter(claims *ticket.Claims, n tunnel.Negotiation) (tunnel.Stream, error) {
	if err := g.lookAgain(claims); err != nil {
		return nil, err
	}
	return n.Succeed()
}

// admit judges the ticket that a credential holds.
func (g *Gateway) admit(ctx context.Context, a *Attempt, c tunnel.Credential) (*ticket.Claims, *ticket.Presentation, error) {
	if a.Inside {
		return nil, nil, admitInside(c)
	}
	a.Claimed = c.User
	source := sourceOf(a.Peer.Remote)
	p, err := ticket.ParsePresentation(c.Secret)
	if err == nil && !slices.Contains(forms[c.By], p.Form) {
		err = ticket.Refuse(ticket.NotSupported, "a form that is not taken in this place")
	}
	if err != nil {
		return nil, nil, refuseTicket(err) // not counted as a failure: it cost nothing
	}
	claims, known, err := g.config.Redeemer.Known(&p)
	if !known {
		leave, waited := g.failures.queue(ctx, source)
		if waited != nil {
			return nil, nil, refuseTicket(waited)
		}
		claims, err = g.config.Redeemer.Redeem(ctx, &p)
		leave()
	}
	if err == nil && claims.Confirmation != nil {
		// Binding to a client certificate is not built: a ticket that asks for
		// it must not open anything without.
		err = ticket.Refuse(ticket.NotSupported, "bound to a client key, which this gateway cannot check")
	}
	if err != nil {
		a.Refused = claims
		g.failures.count(source, ticket.ReasonOf(err))
		return nil, nil, refuseTicket(err)
	}
	if !a.Peer.Owner.Is(ownerOf(claims)) {
		a.Refused = claims
		return nil, nil, refuseOwner()
	}
	a.Claims = claims
	return claims, &p, nil
}

// owner is whom a connection with many tunnels belongs to. Tickets that name neither
// user nor device are told apart by their families.
type owner struct{ authority, user, device, family string }

func ownerOf(c *ticket.Claims) owner {
	o := owner{authority: c.Authority, user: c.User, device: c.Device}
	if c.User == "" && c.Device == "" {
		o.family = c.Family
	}
	return o
}

// lookAgain is for a tunnel that has entered the registry: its ticket may have
// been revoked, or the key that signed it taken out of the authority's set,
// after the ticket was judged. The Redeemer knows of either before Cut or CutKeys
// looks into the registry. So a tunnel that entered too late for them finds it
// here; and one for which it came too late here is in the registry, where they
// find it, be its client still to be told of success or not.
func (g *Gateway) lookAgain(claims *ticket.Claims) error {
	if claims == nil {
		return nil // inside there is no ticket that could have ended
	}
	if g.config.Redeemer.Revoked(claims) {
		return refuseTicket(ticket.Refuse(ticket.Revoked, "revoked, or held back, while the tunnel was set up"))
	}
	if g.config.Redeemer.KeyGone(claims.KeyID) {
		return refuseTicket(ticket.Refuse(ticket.BadSignature, "its signing key was revoked while the tunnel was set up"))
	}
	return nil
}

// reach judges the destination by the snapshot in force and, if it is good,
// connects to it: by the same snapshot, whatever comes into force meanwhile.
func (g *Gateway) reach(ctx context.Context, a *Attempt, p *ticket.Presentation, d tunnel.Destination) (tunnel.Stream, error) {
	force := g.hold()
	defer force.drop()
	t := newTrial(force, askOf(a))
	a.trial, a.Snapshot = t, t.snapshotID()
	var err error
	if t.ask.Host, t.ask.Port, err = wanted(a.Claims, p, d); err != nil {
		return nil, err
	}
	err = t.judge(ctx)
	a.Target, a.Port, a.Matched, a.Decision = t.ask.Host, t.ask.Port, t.matched, t.decision
	if t.policy != nil {
		a.Policy = t.policy.Name()
	}
	switch {
	case err != nil:
		return nil, err
	case t.dns:
		return force.serveDNS(t.view(g.lookUps.by(a.Claims))), nil
	}
	return g.dial(ctx, t)
}

// relay joins the streams and lets them run. It may return long before they end.
func (g *Gateway) relay(a *Attempt, live *live, client, service tunnel.Stream) {
	if g.config.Hooks.Opened != nil {
		g.config.Hooks.Opened(a)
	}
	limits := g.config.Relay
	if live.dns != nil && (limits.Idle <= 0 || limits.Idle > dnsIdle) {
		limits.Idle = dnsIdle
	}
	live.gateway, live.attempt, live.opened = g, a, time.Now()
	g.config.Relays.Run(client, service, limits, live)
}

// Joined is told before the first byte moves.
func (l *live) Joined(t tunnel.Tunnel) {
	l.join(t)
	if claims := l.attempt.Claims; claims != nil {
		l.awaitExpiry(endOf(claims, l.gateway.config.Now()))
	}
}

// Ended is told when the tunnel is over, and accounts for it.
func (l *live) Ended(result tunnel.Result) {
	l.forgetExpiry()
	l.gateway.registry.leave(l)
	if l.dns != nil {
		<-l.dns
	}
	l.gateway.hungUp(l.attempt.From, l.attempt.To)
	account := &Account{
		Up: result.Up, Down: result.Down, Lasted: time.Since(l.opened),
		Reason: string(result.Reason), Err: result.Err,
	}
	if ended := l.ended(); ended != "" {
		account.Reason, account.Err = string(ended), nil
	}
	if closed := l.gateway.config.Hooks.Closed; closed != nil {
		closed(l.attempt, account)
	}
}
