package sta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Config is what an Authority is made of.
type Config struct {
	// ID is the authority's ID, such as STA01.
	ID string
	// Audience is the FQDNs of the gateways that tickets are good at. At least one.
	Audience []string
	// Lifetime is the longest, and the default, life of a ticket. 0 means 168 h.
	Lifetime time.Duration
	// Signer signs statements. Keys is the key set that gateways go by; it must
	// name the signer's key.
	Signer *ticket.Signer
	Keys   *ticket.KeySet
	// Store keeps what the nodes of the authority share. The caller closes it,
	// after Run has ended.
	Store Store
	// Node is this node's name, for people. "" means the authority's ID.
	Node string
	// Log is this node's copy of the logs of revocations, with a writer of its
	// own. nil means one that ends with the process: for tests. The caller
	// closes it, after Run has ended.
	Log *revlog.Log
	// Shared says that the store is there for several nodes: a revocation that no
	// other one has confirmed is worth a warning then.
	Shared bool
	// Pin is the fingerprint of the authority's root key: with it, a newer key
	// set in the store is taken over. "" means that the set never changes.
	Pin string
	// Audit keeps the record of what was done.
	Audit AuditLog
	// Now is the clock that stamps tickets. nil means time.Now.
	Now func() time.Time
	// CutWait is how long Revoke waits for gateways to cut live tunnels. 0
	// means 1 s.
	CutWait time.Duration
	// SweepEvery is how often Run drops what is past its time. 0 means 1 min.
	SweepEvery time.Duration
	// LookEvery is how often Run looks into the store when nothing wakes it. 0
	// means 1 s.
	LookEvery time.Duration
	// Keep is how long expired tickets, and revocations of them, are kept: so
	// long they can be listed and revoked. At least, and by default, [MinKeep].
	Keep time.Duration
	// Hooks may be left out.
	Hooks Hooks
}

// Hooks are called for metrics and logs. Each may be nil; all must be quick and
// safe for concurrent use. None is given a secret.
type Hooks struct {
	Issued      func(client string)
	Redeemed    func(reason ticket.Reason) // "" when the ticket is good
	Revoked     func(scope string, already bool)
	Refused     func(action Action, reason ticket.Reason) // of issue and revoke
	AuditFailed func(err error)
	Swept       func(Swept)
	SweepFailed func(err error)
	// LookFailed is told when the store cannot be looked into, and with nil when
	// it can again.
	LookFailed func(err error)
	// WroteBack is told how many entries the store had lost.
	WroteBack func(entries int)
	// ClocksApart is told by how much the clock of another node differs, once it
	// is more than may be, and with 0 when it no longer is.
	ClocksApart func(node string, by time.Duration)
	// Alarm is told of what stands in the store and cannot be believed.
	Alarm func(error)
	// KeysChanged is told of another key set in force.
	KeysChanged func(*ticket.KeySet)
}

// Swept counts what one sweep removed.
type Swept struct{ Tickets, Revocations int }

// MinKeep is the least that Config.Keep may be. Tunnels of a ticket that is not
// refreshable may live on past its expiry. As long as one does, there must be a
// record to revoke it by, and a gateway that was away must find the revocation
// when it comes back. The hour is for clocks that differ.
const MinKeep = ticket.MaxLinger + time.Hour

// Authority issues, redeems, revokes and lists tickets. It is safe for
// concurrent use.
type Authority struct {
	id         string
	audience   []string
	lifetime   time.Duration
	longest    time.Duration // lifetime, or what it once was
	cutWait    time.Duration
	sweepEvery time.Duration
	keep       time.Duration
	node       string
	shared     bool
	pin        string
	signer     *ticket.Signer
	store      Store
	log        *revlog.Log
	audit      AuditLog
	now        func() time.Time
	hooks      Hooks
	followers  followers
	sight      sight
	lookEvery  time.Duration
	undropped  ticket.Positions // forgotten here, and still in the store; sweep's own
}

// New refuses a configuration whose tickets no gateway would take: before it
// returns, it signs a ticket and judges it as a gateway does.
func New(c Config) (*Authority, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	a := &Authority{
		id:         c.ID,
		audience:   c.Audience,
		lifetime:   orDefault(c.Lifetime, 168*time.Hour),
		cutWait:    orDefault(c.CutWait, time.Second),
		sweepEvery: orDefault(c.SweepEvery, time.Minute),
		keep:       orDefault(c.Keep, MinKeep),
		lookEvery:  orDefault(c.LookEvery, time.Second),
		node:       c.Node,
		shared:     c.Shared,
		pin:        c.Pin,
		signer:     c.Signer,
		store:      c.Store,
		log:        c.Log,
		audit:      c.Audit,
		now:        c.Now,
		hooks:      c.Hooks,
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.node == "" {
		a.node = c.ID
	}
	if a.log == nil {
		var err error
		if a.log, err = revlog.Open("", revlog.WriterName(a.node)); err != nil {
			return nil, err
		}
	}
	if err := a.recallLifetime(); err != nil {
		return nil, err
	}
	a.followers.init()
	a.sight.init(c.Keys)
	if a.pin != "" {
		a.noteKeys(c.Keys)
	}
	for _, gateway := range c.Audience {
		if err := a.prove(c.Keys, gateway); err != nil {
			return nil, fmt.Errorf("tickets would not be accepted at %s: %w", gateway, err)
		}
	}
	return a, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func (c *Config) check() error {
	if err := ticket.CheckAuthorityID(c.ID); err != nil {
		return err
	}
	switch {
	case c.Signer == nil || c.Keys == nil || c.Store == nil || c.Audit == nil:
		return errors.New("an authority needs a signer, a key set, a store and an audit log")
	case len(c.Audience) == 0:
		return errors.New("an authority needs an audience: the FQDN of each gateway")
	case len(c.Audience) > ticket.MaxList:
		return fmt.Errorf("an audience of over %d gateways", ticket.MaxList)
	case c.Keys.Authority != c.ID:
		return fmt.Errorf("the key set is that of %s, not of %s", c.Keys.Authority, c.ID)
	case !c.Keys.Names(c.Signer.KeyID()):
		return fmt.Errorf("key set version %d does not name the signing key %s", c.Keys.Version, c.Signer.KeyID())
	case c.Lifetime != 0 && c.Lifetime < time.Second:
		return errors.New("tickets live at least 1 s")
	case c.Keep != 0 && c.Keep < MinKeep:
		return fmt.Errorf("expired tickets are kept for at least %s: so long they may have tunnels", MinKeep)
	case c.CutWait < 0 || c.SweepEvery < 0 || c.LookEvery < 0:
		return errors.New("a time to wait is not negative")
	}
	for _, gateway := range c.Audience {
		if err := checkText("audience", gateway); err != nil {
			return err
		}
	}
	return nil
}

// prove signs a ticket that nobody gets and judges it.
func (a *Authority) prove(keys *ticket.KeySet, gateway string) error {
	verifier, err := ticket.NewVerifier(keys, gateway, a.now)
	if err != nil {
		return err
	}
	now := a.now().UTC().Truncate(time.Second)
	hash := ticket.NewHandle().Hash()
	statement, err := a.signer.Sign(ticket.Claims{
		ID: newID(), Family: newID(), Audience: a.audience, Handle: hash,
		Issued: now, NotBefore: now, AuthTime: now, Expires: now.Add(time.Minute),
	})
	if err != nil {
		return err
	}
	_, err = verifier.Verify(statement, hash)
	return err
}

// sweepBatch is how many entries one sweep of the store removes: few enough
// that issuing, which waits for the same disk, hardly notices.
const sweepBatch = 1000

// Run follows what the other nodes do, and drops what is past its time, until ctx
// ends, and returns nil then. What fails is told to the hooks and tried again.
func (a *Authority) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { a.follow(ctx) })
	both.Go(func() { a.sweepAll(ctx) })
	both.Wait()
	return nil
}

func (a *Authority) sweepAll(ctx context.Context) {
	turn := time.NewTicker(a.sweepEvery)
	defer turn.Stop()
	for {
		if err := a.sweep(ctx); err != nil && ctx.Err() == nil && a.hooks.SweepFailed != nil {
			a.hooks.SweepFailed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
	}
}

// dropEntries has the store drop what is forgotten here: what was just forgotten,
// what it could not drop before, and what a process before this one had forgotten.
func (a *Authority) dropEntries(ctx context.Context, forgotten ticket.Positions) error {
	if a.undropped == nil {
		a.undropped = make(ticket.Positions)
		for writer, tip := range a.log.Tips() {
			if tip.From > 0 {
				a.undropped[writer] = tip.From
			}
		}
	}
	maps.Copy(a.undropped, forgotten)
	if len(a.undropped) == 0 {
		return nil
	}
	if err := a.store.DropEntries(ctx, a.undropped); err != nil {
		return err
	}
	clear(a.undropped)
	return nil
}

func (a *Authority) sweep(ctx context.Context) error {
	var total Swept
	// Forgetting cannot be taken back: the earlier of two clocks says what is past.
	now := a.now()
	there, err := a.store.Clock(ctx)
	if err != nil {
		return err
	}
	if there.Before(now) {
		now = there
	}
	before := now.Add(-a.keep)
	dropped, forgot := a.log.Forget(before)
	total.Revocations = len(dropped)
	if err := errors.Join(forgot, a.dropEntries(ctx, dropped)); err != nil {
		return err
	}
	for {
		swept, err := a.store.Sweep(ctx, before, sweepBatch)
		if err != nil {
			return err
		}
		total.Tickets += swept
		if swept < sweepBatch {
			break
		}
	}
	if total != (Swept{}) && a.hooks.Swept != nil {
		a.hooks.Swept(total)
	}
	return nil
}

// unavailable turns a failure of store or audit log into a refusal that says
// "later". Refusals pass as they are.
func unavailable(what string, err error) error {
	var refusal *ticket.Error
	if errors.As(err, &refusal) {
		return err
	}
	return &ticket.Error{Reason: ticket.Unavailable, Text: what, Err: err}
}
