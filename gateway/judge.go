package gateway

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// Ask asks where the holder of a good ticket may go, or a server within.
type Ask struct {
	// Inside is that it is a server at the inside door, and nobody holds a ticket: the
	// next three fields count for nothing. See [Gateway.Inside].
	Inside bool
	// Authority is whose ticket it is; "" is one that may give any policy.
	Authority string
	// Holder is what the policy is chosen by.
	Holder policy.Holder
	// Services is the ticket's own list; nil narrows nothing.
	Services []string
	// Host and Port are the destination. The zero Host is the Exchange server of
	// the policy, whatever the port.
	Host policy.Host
	Port uint16
}

// askOf begins the question of a stream, which lacks the destination.
func askOf(a *Attempt) Ask {
	if a.Inside {
		return Ask{Inside: true}
	}
	c := a.Claims
	return Ask{
		Authority: c.Authority,
		Holder:    policy.Holder{Policy: c.Policy, App: c.App, Platform: c.Platform, Groups: c.Groups},
		Services:  c.Services,
	}
}

// Judgement is what was decided about a destination, and why. Its text is safe
// to log and holds no secret; what is on no list and looks like a handle is not
// shown.
type Judgement struct {
	Allow bool `json:"allow"`
	// Reason is the label of the refusal, or policy.Listed.
	Reason string `json:"reason"`
	// Policy is the policy that was chosen, Snapshot the version of all policies
	// that it is of, and Since when that came into force.
	Policy   string    `json:"policy,omitempty"`
	Snapshot string    `json:"snapshot"`
	Since    time.Time `json:"since,omitzero"`
	// Rule is the ID of the rule that decided on the name.
	Rule string      `json:"rule,omitempty"`
	To   Destination `json:"to"`
	// Matched is the listed name that an address was matched back to.
	Matched string `json:"matched,omitempty"`
	// Source, Server and Chain are those of the Resolution.
	Source string   `json:"source,omitempty"`
	Server string   `json:"server,omitempty"`
	Chain  []string `json:"chain,omitempty"`
	Stale  bool     `json:"stale,omitempty"`
	// Addresses are all that the name has.
	Addresses []JudgedAddress `json:"addresses,omitempty"`
	// Why is a sentence, and so is Fix, unless there is nothing that an operator
	// could do.
	Why string `json:"why"`
	Fix string `json:"fix,omitempty"`
	// Refusal is what the client is told; nil if the destination is allowed.
	Refusal *tunnel.Refusal `json:"-"`
}

// Destination is where somebody wants to go, fit to be logged.
type Destination struct {
	Host string `json:"host"` // "" for what is no sound host
	Port uint16 `json:"port"`
}

// String is host:port.
func (d Destination) String() string { return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))) }

// JudgedAddress is an address, and what the rules say of it.
type JudgedAddress struct {
	Addr    netip.Addr `json:"addr"`
	Class   string     `json:"class"`             // of policy.Classify, or own
	Refused string     `json:"refused,omitempty"` // why it may not be dialled
}

// Judge decides on a destination as a gateway with this snapshot does for a
// tunnel, look-ups and all, and explains it. Nothing is dialled.
func Judge(ctx context.Context, s *Snapshot, ask Ask) *Judgement {
	return judge(s, ask, func(t *trial) error { return t.judge(ctx) })
}

// JudgeText is Judge for a host as a client may write it: an address, or a name in
// whatever spelling. It takes the place of ask.Host. What is no host is refused as a
// tunnel's would be.
func JudgeText(ctx context.Context, s *Snapshot, ask Ask, text string) *Judgement {
	return judge(s, ask, func(t *trial) (err error) {
		addr, _ := netip.ParseAddr(text) // the zero one is no address, and so a name
		if t.ask.Host, err = hostOf(text, addr); err != nil {
			return err
		}
		return t.judge(ctx)
	})
}

func judge(s *Snapshot, ask Ask, steps func(*trial) error) *Judgement {
	own := *s
	own.Release = nil // it stays the caller's
	force := newInForce(own, nil)
	defer force.retire()
	t := newTrial(force, ask)
	if err := steps(t); err != nil {
		t.refusal = asRefusal(err)
	}
	return t.judgement()
}

// trial is a judgement in the making: what was found so far.
type trial struct {
	on      *inForce
	address *policy.AddressRules
	ask     Ask

	policy   *policy.Policy // nil before it was chosen
	narrow   *policy.Narrowing
	decision policy.Decision
	matched  string     // the listed name that an address was matched back to
	dns      bool       // it is for the device's DNS, which is not dialled
	found    Resolution // the name's, or the address that the client sent
	good     []netip.Addr
	refusal  *tunnel.Refusal // how it ended, if not well
}

func newTrial(on *inForce, ask Ask) *trial {
	return &trial{on: on, address: on.address.Load(), ask: ask}
}

// judge decides where a tunnel may lead, in the only order that keeps names from
// being looked up for nothing, and addresses from being dialled unseen. An error
// is a refusal.
func (t *trial) judge(ctx context.Context) error {
	if err := t.choosePolicy(); err != nil {
		return err
	}
	if t.isForDeviceDNS() {
		return t.decideOnDeviceDNS()
	}
	t.decision = t.policy.Decide(policy.Query{Host: t.ask.Host, Port: t.ask.Port, Narrow: t.narrow})
	switch {
	case t.decision.Reason == policy.AddressNotListed:
		return t.matchBack(ctx)
	case !t.decision.Allow:
		return t.refusePolicy()
	}
	if err := t.resolve(ctx); err != nil {
		return err
	}
	return t.checkAddresses()
}

// choosePolicy finds the policy for the ticket, and with it the destination that
// the client left to it.
func (t *trial) choosePolicy() (err error) {
	if t.ask.Inside {
		return t.chooseInside()
	}
	if t.policy = t.on.Policies.For(t.ask.Holder); t.policy == nil {
		return refuseNamedPolicy()
	}
	if may, bounded := t.on.Trusted[t.ask.Authority]; bounded && !slices.Contains(may, t.policy.Name()) {
		return refuseForeignPolicy()
	}
	if t.narrow, err = policy.CompileNarrowing(t.ask.Services); err != nil {
		return refuseNarrowing(err)
	}
	if t.ask.Host == (policy.Host{}) {
		var ok bool
		if t.ask.Host, t.ask.Port, ok = t.policy.DefaultDestination(); !ok {
			return refuseNoDestination()
		}
	}
	return nil
}

// resolve looks an allowed name up.
func (t *trial) resolve(ctx context.Context) (err error) {
	if t.ask.Host.Addr.IsValid() {
		t.found.Addrs = []netip.Addr{t.ask.Host.Addr}
		return nil
	}
	if t.found, err = t.on.Resolver.Resolve(ctx, t.ask.Host.Name); err != nil {
		return refuseLookUp(err)
	}
	return nil
}

// checkAddresses keeps those that the listed name may go to.
func (t *trial) checkAddresses() error {
	var first error
	t.good = make([]netip.Addr, 0, len(t.found.Addrs))
	for _, addr := range t.found.Addrs {
		addr = addr.Unmap()
		if err := t.address.Check(t.listed(), netip.AddrPortFrom(addr, t.ask.Port)); err == nil {
			t.good = append(t.good, addr)
		} else if first == nil {
			first = err
		}
	}
	switch {
	case len(t.good) > 0:
		return nil
	case first != nil:
		return refuseAddress(first)
	default:
		return refuseLookUp(errNoAddress)
	}
}

// listed is the name whose address rules hold, "" for a listed address.
func (t *trial) listed() string {
	if t.matched != "" {
		return t.matched
	}
	return t.ask.Host.Name
}
