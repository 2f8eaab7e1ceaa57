package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Source is one node of an authority as a gateway sees it, in the same process
// or across the network. Every method returns when its context ends. What a
// Source answers is judged; how much it may answer is the Source's to bound.
type Source interface {
	// Redeem gives the statement of the ticket whose handle has this hash. A
	// refusal is a *ticket.Error that speaks of the ticket, such as Unknown,
	// Expired or Revoked; any other error means that this node could not be asked.
	Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error)
	// Updates gives entries past the positions, and the node's newest head. When
	// there are no entries it waits up to wait for the first. It also renews the
	// gateway's lease: an authority expects a report from whoever holds one.
	Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error)
	// ReportCuts says what the gateway has applied, and how many live tunnels each
	// entry ended. It may hand entries back that the node lacks.
	ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error
	// SignedKeys gives the authority's key set as its root signed it.
	SignedKeys(ctx context.Context) (string, error)
}

// Node is one way to an authority.
type Node struct {
	// Name is for people: the URL, or "local".
	Name   string
	Source Source
}

// Config is what a Follower needs. Gateway, Audience, Authority, Nodes, Log and
// Cut are required, and one of Pin and Keys.
type Config struct {
	// Gateway is the name under which cuts are reported.
	Gateway string
	// Audience is the gateway's FQDN; tickets must name it.
	Audience string
	// Authority is the authority's ID.
	Authority string
	// Pin is the fingerprint of its root key. Its key set is fetched, and
	// accepted when that root signed it and no newer one was seen.
	Pin string
	// Keys gives the key set in force, for an authority in the same process. It is
	// asked at every ticket, so it must be quick; nothing is fetched then.
	Keys func() *ticket.KeySet
	// Nodes are the ways to it, in order of preference. At least one.
	Nodes []Node
	// Spread spreads redeems over all nodes that are up. Otherwise the first of
	// them gets all.
	Spread bool
	// Bypass is how long a node that is down is left alone while another one is
	// up; 0 means 30 s.
	Bypass time.Duration
	// Log keeps the revocations, and what must outlive a restart. The caller
	// closes it, after Run has ended.
	Log *revlog.Log

	// Cut ends the live tunnels that a revocation covers and says how many there
	// were. It is called from Run, one call at a time, in the order of each log,
	// and must not block for long. One that is in no log, of all, made by
	// [BlindLimit], comes when Config.BlindLimit is over.
	Cut func(*ticket.Revocation) int
	// CutKeys ends the live tunnels of tickets signed with a key that is not in the
	// set, and says how many there were. nil if there is nothing to cut.
	CutKeys func(*ticket.KeySet) int

	// MaxTickets bounds the tickets remembered; 0 means 100,000. The ones used
	// least are forgotten first and redeemed again when they come back.
	MaxTickets int
	// MaxCold bounds the redeems in flight; 0 means 64. More wait their turn, for
	// half of RedeemTimeout at most.
	MaxCold int
	// RefusedFor is how long a refusal by the authority is remembered, so that a
	// device that keeps trying does not keep asking; 0 means 5 s.
	RefusedFor time.Duration
	// RedeemTimeout bounds one redeem, at whatever number of nodes; 0 means 5 s.
	RedeemTimeout time.Duration
	// Grace is how long after the date of the newest good head tickets are
	// admitted; 0 means 15 min. Then nobody is, known or not: what a gateway does
	// not know may have been revoked.
	Grace time.Duration
	// BlindLimit is how long after that date live tunnels may go on; 0 means 24 h.
	// It is not less than Grace.
	BlindLimit time.Duration
	// Now is the clock that judges tickets; nil means time.Now.
	Now func() time.Time
	// Boot is the clock that the grace is counted on; nil means the kernel's.
	Boot Clock
	// Hooks may be left out.
	Hooks Hooks
}

// Hooks are called for logs and metrics. Each may be nil; all must be quick, safe
// for concurrent use, and must not call the Follower.
type Hooks struct {
	// Node is told when a node comes up or goes down, and why.
	Node func(name string, up bool, why error)
	// Lost is told when there is no good head to be had, so that the grace is
	// running out, and with nil when there is one again.
	Lost func(error)
	// Keys is told of a key set that was put in force.
	Keys func(*ticket.KeySet)
	// Alarm is told what somebody should look at; node may be "". Find out what it
	// is with errors.Is and errors.As: a *[DisbeliefError], [ErrBehind],
	// [ErrWithheld], [ErrOldKeys], a *[revlog.UnsavedError], and so on.
	Alarm func(node string, what error)
}

// Follower redeems and follows. Run must be running for it to admit anyone: a
// gateway that does not know what was revoked does not know who is good. It is
// safe for concurrent use.
type Follower struct {
	config Config

	known   *otter.Cache[ticket.Hash, *redeemed]
	refused *otter.Cache[ticket.Hash, refusal]
	flights singleflight.Group
	cold    *semaphore.Weighted
	turns   atomic.Uint64 // where Spread begins

	began    time.Time
	ready    chan struct{} // closed by the first good head
	begin    sync.Once
	tried    chan struct{} // closed once every node was asked
	triedAll sync.Once

	grace   grace
	trust   atomic.Pointer[trust]
	keying  sync.Mutex    // held while trust is replaced
	rekeyed chan struct{} // holds a value when it was

	// judging is held while an answer is judged and put in force, so that Cut is
	// called in order. It guards the heads, and unwritten: the log holds entries
	// that are not on the disk.
	judging   sync.Mutex
	heads     heads
	unwritten bool
	// applied is how far everything is in force, cut and reported.
	applied atomic.Pointer[ticket.Positions]

	mu       sync.Mutex // guards all below
	nodes    *nodeSet
	switched context.CancelFunc // ends the work with nodes; nil while there is none

	telling sync.Mutex // held while Hooks.Lost is told; guards lost
	lost    bool
}

const (
	defaultMaxTickets = 100_000
	defaultMaxCold    = 64
	maxRefused        = 16_384
	defaultRefusedFor = 5 * time.Second
	defaultRedeem     = 5 * time.Second
	defaultGrace      = 15 * time.Minute
	defaultBlindLimit = 24 * time.Hour
	defaultBypass     = 30 * time.Second
)

// New makes a Follower, and reads what its log keeps from the process before. It
// starts nothing; call Run.
func New(c Config) (*Follower, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	known, err := otter.New(&otter.Options[ticket.Hash, *redeemed]{MaximumSize: c.MaxTickets})
	if err != nil {
		return nil, fmt.Errorf("ticket cache: %w", err)
	}
	refused, err := otter.New(&otter.Options[ticket.Hash, refusal]{MaximumSize: maxRefused})
	if err != nil {
		return nil, fmt.Errorf("refusal cache: %w", err)
	}
	f := &Follower{
		config: c, known: known, refused: refused,
		cold:  semaphore.NewWeighted(int64(c.MaxCold)),
		began: time.Now(),
		ready: make(chan struct{}), tried: make(chan struct{}), rekeyed: make(chan struct{}, 1),
		heads: heads{seen: make(map[string]seen)},
		nodes: newNodeSet(c.Nodes, c.Now()),
	}
	applied := c.Log.Positions()
	f.applied.Store(&applied)
	if err := f.recallKeys(); err != nil {
		return nil, err
	}
	return f, f.recallGrace()
}

// complete fills in what was left out, and refuses what cannot be.
func (c *Config) complete() error {
	if err := ticket.CheckAuthorityID(c.Authority); err != nil {
		return err
	}
	if err := checkNodes(c.Nodes); err != nil {
		return err
	}
	switch {
	case c.Gateway == "" || c.Audience == "":
		return errors.New("a follower needs the gateway's name and its FQDN")
	case c.Log == nil || c.Cut == nil:
		return errors.New("a follower needs a log and a cut")
	case (c.Pin == "") == (c.Keys == nil):
		return errors.New("a follower needs a pin, or the keys of an authority in the same process")
	}
	if c.Pin != "" {
		if err := ticket.CheckPin(c.Pin); err != nil {
			return err
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Boot == nil {
		c.Boot = Kernel{}
	}
	setDefault(&c.MaxTickets, defaultMaxTickets)
	setDefault(&c.MaxCold, defaultMaxCold)
	setDefault(&c.RefusedFor, defaultRefusedFor)
	setDefault(&c.RedeemTimeout, defaultRedeem)
	setDefault(&c.Grace, defaultGrace)
	setDefault(&c.BlindLimit, max(defaultBlindLimit, c.Grace))
	setDefault(&c.Bypass, defaultBypass)
	if c.Grace < 0 || c.Bypass < 0 || c.BlindLimit < c.Grace {
		return errors.New("a grace and a bypass are not negative, and the blind limit is not below the grace")
	}
	return nil
}

func checkNodes(nodes []Node) error {
	if len(nodes) == 0 {
		return errors.New("a follower needs a node of the authority")
	}
	for _, n := range nodes {
		if n.Source == nil {
			return fmt.Errorf("node %q has no source", n.Name)
		}
	}
	return nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// alarm tells somebody.
func (f *Follower) alarm(node string, what error) {
	if f.config.Hooks.Alarm != nil {
		f.config.Hooks.Alarm(node, what)
	}
}
