package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/deadline"
)

// Redeemer judges tickets. Refusals are *ticket.Error.
type Redeemer interface {
	// Known judges a ticket that needs no I/O; the second result is false when
	// it would.
	Known(*ticket.Presentation) (*ticket.Claims, bool, error)
	// Redeem judges a ticket with the authority's help.
	Redeem(context.Context, *ticket.Presentation) (*ticket.Claims, error)
	// Revoked tells whether a good ticket has been revoked since, or is held back.
	Revoked(*ticket.Claims) bool
	// KeyGone tells whether a key that signed a good ticket has been taken out
	// of the authority's set since.
	KeyGone(keyID string) bool
}

// Config is what a Gateway needs. Redeemer, Snapshot and Relays are required.
type Config struct {
	Redeemer Redeemer
	Snapshot Snapshot

	// Dialer is the template of the dialer towards services: source address,
	// keep-alive. Its Control is the gateway's. The zero value dials from any
	// address, with TCP keep-alive after a minute.
	Dialer net.Dialer

	// Upstream is the way to the services, and counts what is connected; nil leaves
	// all of it to the kernel.
	Upstream *Upstream

	// Relays carries the tunnels, and is the caller's to close when the last one
	// is over. Relay bounds them; zero fields have its defaults.
	Relays *tunnel.Relays
	Relay  tunnel.Limits

	// FailuresPerMinute is how many refused tickets a source (an IPv4 address
	// or an IPv6 /64) may show before its tickets that are not known here have
	// to queue with those of other such sources; known ones are never held up.
	// 0 means 600, and less than 100 is refused: whole carriers stand behind
	// one address.
	FailuresPerMinute int

	// Now is the clock for tickets and failures; nil means time.Now.
	Now func() time.Time

	// Hooks may be left zero.
	Hooks Hooks
}

// Hooks are told what happens. Each may be nil, is called on whatever goroutine it
// happens on, and must not block.
type Hooks struct {
	// Refused is told of each stream that got as far as the negotiation and no
	// tunnel. The refusal is never nil.
	Refused func(*Attempt, *tunnel.Refusal)
	// Opened is told when a client was told of success.
	Opened func(*Attempt)
	// Closed is told once for each Opened, often on another goroutine.
	Closed func(*Attempt, *Account)
	// Panicked is told of a defect in a goroutine that works for tunnels, and is
	// none that a carrier made: a look-up, a dial, a device's DNS. What moves bytes
	// has a hook of its own, in tunnel.RelaysHooks. Only what it was
	// about is lost then. With no hook the panic goes on and ends the process, since
	// nobody would hear of it otherwise. The value may hold anything.
	Panicked func(value any, stack []byte)
}

// Attempt is what is known of a stream so far. Its text is safe to log.
type Attempt struct {
	Peer     tunnel.Peer
	Claimed  string         // the user name that the client claims; not to be trusted
	Inside   bool           // it came by the inside door, where nobody shows a ticket
	Claims   *ticket.Claims // nil until the ticket was found good, and inside; shared, not to be changed
	Refused  *ticket.Claims // of a ticket that was good here once, and is refused; for logs
	Target   policy.Host    // zero until the client named a sound destination
	Port     uint16
	Matched  string // the listed name that an address was matched back to
	Decision policy.Decision
	Policy   string         // which policy decided; "" before one was chosen
	Snapshot string         // which version of the policies it is of
	From, To netip.AddrPort // of the connection to the service
	SetUp    time.Duration  // from accept until success or refusal

	trial     *trial          // until success
	badTicket *tunnel.Refusal // of a stream whose ticket is refused
}

// Destination is where the stream leads, or was to lead, fit to be logged.
func (a *Attempt) Destination() Destination {
	return Destination{shown(a.Target, a.Decision.Allow), a.Port}
}

// Judgement explains why a stream was refused: for its destination, or before that
// for its ticket. It is nil if the stream did not come so far, and once there is a
// tunnel. Each call makes it anew.
func (a *Attempt) Judgement() *Judgement {
	switch {
	case a.trial != nil:
		return a.trial.judgement()
	case a.badTicket != nil:
		return ticketJudgement(a.badTicket)
	}
	return nil
}

// Account is what a tunnel came to.
type Account struct {
	Up, Down int64 // bytes from and to the client
	Lasted   time.Duration
	Reason   string // closed list: the tunnel.CloseReasons and the Ended constants
	Err      error  // what a failed end reported, or nil
}

// Gateway serves tunnels. It is a tunnel.Handler.
type Gateway struct {
	config   Config
	force    atomic.Pointer[inForce]
	registry registry
	failures *failures
	lookUps  *lookUps
	due      deadline.Queue // of expiring tickets
}

const (
	defaultFailures = 600
	minFailures     = 100
	// keepAlive finds services that vanished; two missed minutes end a tunnel
	// that would otherwise wait for its idle limit.
	keepAliveIdle     = time.Minute
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// New makes a Gateway.
func New(c Config) (*Gateway, error) {
	if s := c.Snapshot; c.Redeemer == nil || s.Policies == nil || s.Address == nil || s.Resolver == nil || c.Relays == nil {
		return nil, errors.New("a gateway needs a redeemer, a whole snapshot, and relays")
	}
	if c.FailuresPerMinute == 0 {
		c.FailuresPerMinute = defaultFailures
	}
	if c.FailuresPerMinute < minFailures {
		return nil, errors.New("the limit of failures is below 100 a minute")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dialer.KeepAlive == 0 && !c.Dialer.KeepAliveConfig.Enable {
		c.Dialer.KeepAliveConfig = net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		}
	}
	failures, err := newFailures(c.FailuresPerMinute, c.Now)
	if err != nil {
		return nil, err
	}
	lookUps, err := newLookUps(c.Now)
	if err != nil {
		return nil, err
	}
	g := &Gateway{config: c, failures: failures, lookUps: lookUps}
	g.force.Store(newInForce(c.Snapshot, c.Hooks.Panicked))
	return g, nil
}

// Live is the number of live tunnels.
func (g *Gateway) Live() int { return g.registry.len() }

// Cut ends the live tunnels of an authority's tickets that its revocation covers
// now, and says how many there were; those of another authority are not its to
// end, though they be of a user with the same name. Tunnels being set up find the
// revocation themselves, if the Redeemer knows of it before Cut is called. It
// returns when all are closed, and holds up nobody else's meanwhile.
func (g *Gateway) Cut(authority string, r *ticket.Revocation) int {
	// One with a Stage cuts everyone, whenever it is heard of; whose turn it is
	// already comes in again.
	now := g.config.Now()
	if r.Stage > 0 {
		now = r.Time
	}
	return g.registry.end(authority, r, now)
}

// CutKeys ends the live tunnels of an authority's tickets that were signed by a
// key which its set does not name, and says how many there were. Tunnels being
// set up find that themselves, if the Redeemer goes by the set before CutKeys is
// called.
func (g *Gateway) CutKeys(set *ticket.KeySet) int { return g.registry.endKeys(set) }

// EndAll ends every live tunnel; for shutdown.
func (g *Gateway) EndAll() int { return g.registry.endAll(EndedShutdown) }
