package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// insideKey is where the configuration file has what the inside door opens.
const insideKey = "gateway.inside.services"

// insideDoor is the handler of Gateway.Inside.
type insideDoor struct{ gateway *Gateway }

// Inside is the inside door: the handler of a listener for servers on the inner
// network, which have no ticket and present nothing. Whom it lets in, the listener
// has decided, by address.
//
// Its tunnels go through the same life but for the ticket. The list is the
// snapshot's own, Snapshot.Inside, in the place of a ticket's policy; names, address
// rules, the dial, the registry, the relay and its limits, and the hooks are
// those of devices, and Attempt.Inside tells them apart. No revocation ends them:
// [Gateway.EndAll] does. The bound on their number is that of their [tunnel.Server].
//
// The gateway itself, as a handler, never lets anybody in who presents nothing; nor
// this one anybody who presents something.
func (g *Gateway) Inside() tunnel.Handler { return insideDoor{g} }

// ServeTunnel takes a stream through its life.
func (d insideDoor) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	d.gateway.serve(ctx, n, &Attempt{Peer: n.Peer(), Inside: true})
}

// admitInside lets in who presents nothing. Somebody who presents something stands
// at the wrong door, or the listener is not the inside door's.
func admitInside(c tunnel.Credential) error {
	if c.By == tunnel.ByNothing && c.Secret == "" {
		return nil
	}
	return &tunnel.Refusal{
		Reply: socks.NotAllowed, Status: http.StatusForbidden, Label: labelNotInside,
		Text: "inside: a credential, where none is taken",
	}
}

// chooseInside finds the list of the inside door.
func (t *trial) chooseInside() error {
	if t.policy = t.on.Inside; t.policy == nil {
		return notAllowed(string(policy.NotListed), "policy: the inside door opens nothing", nil)
	}
	return nil
}

// snapshotID is the version of what decides.
func (t *trial) snapshotID() string {
	switch {
	case !t.ask.Inside:
		return t.on.id
	case t.on.Inside != nil:
		return t.on.Inside.Snapshot()
	}
	return ""
}

// since is when that came into force, if it is known.
func (t *trial) since() time.Time {
	if t.ask.Inside {
		return time.Time{}
	}
	return t.on.Since
}

// refusePolicy is for a decision that was a denial.
func (t *trial) refusePolicy() *tunnel.Refusal {
	r := refusePolicy(t.decision)
	if t.ask.Inside && t.decision.Reason == policy.NotListed {
		r.Text = "policy: not on the list of the inside door"
	}
	return r
}
