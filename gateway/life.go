package gateway

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// ServeTunnel takes a stream through its life. It satisfies tunnel.Handler.
func (g *Gateway) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	peer := n.Peer()
	a := &Attempt{Peer: peer, Began: peer.Accepted}
	if a.Began.IsZero() {
		a.Began = time.Now()
	}
	if err := g.open(ctx, n, a); err != nil {
		refusal := asRefusal(err)
		a.SetUp = time.Since(a.Began)
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
		return err
	}
	destination, err := n.Destination(setUp)
	if err != nil {
		return err
	}
	snapshot := g.snapshot.Load()
	a.Target, a.Port, err = wanted(snapshot, claims, presented, destination)
	if err != nil {
		return err
	}
	name, at, err := g.allow(setUp, snapshot, a, claims)
	if err != nil {
		return err
	}
	addrs, err := g.resolve(setUp, snapshot, name, at, a.Port)
	if err != nil {
		return err
	}
	service, err := g.dial(setUp, snapshot, name, addrs, a.Port)
	if err != nil {
		return err
	}
	live, err := g.registry.enter(claims, service)
	if err != nil {
		service.Close()
		return err
	}
	defer g.registry.leave(live)
	if err := g.lookAgain(claims); err != nil {
		service.Close()
		return err
	}
	client, err := n.Succeed()
	if err != nil {
		service.Close()
		return err
	}
	cancel()
	a.From, a.To = addrPort(service.LocalAddr()), addrPort(service.RemoteAddr())
	a.SetUp = time.Since(a.Began)
	g.relay(a, live, client, service)
	return nil
}

// admit judges the ticket that a credential holds.
func (g *Gateway) admit(ctx context.Context, a *Attempt, c tunnel.Credential) (*ticket.Claims, *ticket.Presentation, error) {
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
	a.Claims = claims
	return claims, &p, nil
}

// lookAgain is for a tunnel that has entered the registry: its ticket may have
// been revoked, or the key that signed it taken out of the authority's set,
// after the ticket was judged. The Redeemer knows of either before Cut or CutKeys
// looks into the registry. So a tunnel that entered too late for them finds it
// here; and one for which it came too late here is in the registry, where they
// find it, be its client still to be told of success or not.
func (g *Gateway) lookAgain(claims *ticket.Claims) error {
	if g.config.Redeemer.Revoked(claims) {
		return refuseTicket(ticket.Refuse(ticket.Revoked, "revoked, or held back, while the tunnel was set up"))
	}
	if g.config.Redeemer.KeyGone(claims.KeyID) {
		return refuseTicket(ticket.Refuse(ticket.BadSignature, "its signing key was revoked while the tunnel was set up"))
	}
	return nil
}

// allow asks the policy about the target. It returns the listed name whose address rules hold,
// "" for a listed address, and, for a client that sent an address, that address.
func (g *Gateway) allow(ctx context.Context, s *Snapshot, a *Attempt, claims *ticket.Claims) (string, netip.Addr, error) {
	a.Snapshot = s.Policy.Snapshot()
	if a.Port == 0 {
		return "", netip.Addr{}, refusePolicy(a.Decision)
	}
	if claims.Policy != "" && claims.Policy != s.Policy.Name() {
		return "", netip.Addr{}, refuseNamedPolicy()
	}
	narrow, err := policy.CompileNarrowing(claims.Services)
	if err != nil {
		return "", netip.Addr{}, refuseNarrowing(err)
	}
	q := policy.Query{Host: a.Target, Port: a.Port, Narrow: narrow}
	a.Decision = s.Policy.Decide(q)
	if a.Decision.Reason == policy.AddressNotListed {
		if err := g.matchBack(ctx, s, a, q); err != nil {
			return "", netip.Addr{}, err
		}
		return a.Matched, a.Target.Addr, nil
	}
	if !a.Decision.Allow {
		return "", netip.Addr{}, refusePolicy(a.Decision)
	}
	return a.Target.Name, a.Target.Addr, nil
}

// resolve gives the addresses that may be dialled for an allowed name. at is
// the address that the client sent, if it sent one: then that one is judged.
func (g *Gateway) resolve(ctx context.Context, s *Snapshot, name string, at netip.Addr, port uint16) ([]netip.Addr, error) {
	addrs := []netip.Addr{at}
	if !at.IsValid() {
		var err error
		if addrs, err = s.Resolver.LookupNetIP(ctx, "ip", name); err != nil {
			return nil, refuseLookUp(err)
		}
	}
	var first error
	good := make([]netip.Addr, 0, len(addrs))
	for _, addr := range addrs {
		addr = addr.Unmap()
		if err := s.Address.Check(name, netip.AddrPortFrom(addr, port)); err == nil {
			good = append(good, addr)
		} else if first == nil {
			first = err
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case first != nil:
		return nil, refuseAddress(first)
	default:
		return nil, refuseLookUp(errNoAddress)
	}
}

// relay moves bytes until the tunnel ends, and accounts for it once.
func (g *Gateway) relay(a *Attempt, live *live, client, service tunnel.Stream) {
	if g.config.Hooks.Opened != nil {
		g.config.Hooks.Opened(a)
	}
	opened := time.Now()
	expiry := g.expire(live, a.Claims)
	defer expiry.stop()
	live.join(client)
	result := tunnel.Relay(client, service, g.config.Relay)
	g.registry.leave(live)
	account := &Account{
		Up: result.Up, Down: result.Down, Lasted: time.Since(opened),
		Reason: string(result.Reason), Err: result.Err,
	}
	if ended := live.ended(); ended != "" {
		account.Reason, account.Err = string(ended), nil
	}
	if g.config.Hooks.Closed != nil {
		g.config.Hooks.Closed(a, account)
	}
}
