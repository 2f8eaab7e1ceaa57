package follow

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Source is an authority as a gateway sees it.
type Source interface {
	// Redeem gives the statement of the ticket whose handle has this hash. A
	// refusal is a *ticket.Error with Unknown, Expired or Revoked; any other
	// error means that the authority could not be asked.
	Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error)
	// Revocations gives revocations with a Serial above after, in order. When
	// there are none it waits up to wait for the first. It also renews the
	// gateway's lease: an authority expects a report from whoever holds one.
	Revocations(ctx context.Context, gateway string, after uint64, wait time.Duration) ([]ticket.Revocation, error)
	// ReportCuts says that the gateway has applied everything up to serial, and
	// how many live tunnels it cut for the revocation with that serial.
	ReportCuts(ctx context.Context, gateway string, serial uint64, cut int) error
}

// Config is what a Follower needs. Source, Keys, Audience and Cut are required.
type Config struct {
	// Gateway is the name under which cuts are reported.
	Gateway string
	// Audience is the gateway's FQDN; tickets must name it.
	Audience string
	// Source is the authority.
	Source Source
	// Keys are the authority's signing keys.
	Keys *ticket.KeySet
	// Cut ends the live tunnels that a revocation covers and says how many
	// there were. It is called from Run, in order of serials, and must not
	// block for long.
	Cut func(*ticket.Revocation) int

	// MaxTickets bounds the tickets remembered; 0 means 100,000. The ones used
	// least are forgotten first and redeemed again when they come back.
	MaxTickets int
	// MaxCold bounds the redeems in flight; 0 means 64. More wait their turn, for
	// half of RedeemTimeout at most.
	MaxCold int
	// RefusedFor is how long a refusal by the authority is remembered, so that a
	// device that keeps trying does not keep asking; 0 means 5 s.
	RefusedFor time.Duration
	// RedeemTimeout bounds one redeem; 0 means 5 s.
	RedeemTimeout time.Duration
	// Grace is how long tickets are still admitted when revocations can no
	// longer be followed; 0 means 15 min. Then nobody is, known or not: what a
	// gateway does not know may have been revoked.
	Grace time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Lost is told when revocations cannot be followed, and with nil when they
	// can again. It may be nil.
	Lost func(error)
}

// Follower redeems and follows. Run must be running for it to admit anyone: a
// gateway that does not know what was revoked does not know who is good. While
// the source is away it goes by what it knew for Config.Grace, and no longer.
type Follower struct {
	config   Config
	verifier *ticket.Verifier

	known   *otter.Cache[ticket.Hash, *redeemed]
	refused *otter.Cache[ticket.Hash, refusal]
	flights singleflight.Group
	cold    *semaphore.Weighted

	ready   chan struct{} // closed once the revocations so far are known
	revoked revokedSet
	began   time.Time    // what heard counts from, on the monotonic clock
	heard   atomic.Int64 // when the source last told of revocations, or of none
}

// redeemed is what is remembered of a ticket that was good.
type redeemed struct {
	claims    *ticket.Claims
	statement uint64 // the digest of the statement that was verified
}

// refusal is what is remembered of an authority's "no".
type refusal struct {
	err   error
	until time.Time
}

const (
	defaultMaxTickets = 100_000
	defaultMaxCold    = 64
	maxRefused        = 16_384
	defaultRefusedFor = 5 * time.Second
	defaultRedeem     = 5 * time.Second
	defaultGrace      = 15 * time.Minute
)

// New makes a Follower. It starts nothing; call Run.
func New(c Config) (*Follower, error) {
	if c.Source == nil || c.Keys == nil || c.Cut == nil {
		return nil, errors.New("a follower needs a source, a key set and a cut")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	setDefault(&c.MaxTickets, defaultMaxTickets)
	setDefault(&c.MaxCold, defaultMaxCold)
	setDefault(&c.RefusedFor, defaultRefusedFor)
	setDefault(&c.RedeemTimeout, defaultRedeem)
	setDefault(&c.Grace, defaultGrace)
	verifier, err := ticket.NewVerifier(c.Keys, c.Audience, c.Now)
	if err != nil {
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
	return &Follower{
		config: c, verifier: verifier, known: known, refused: refused,
		cold:  semaphore.NewWeighted(int64(c.MaxCold)),
		ready: make(chan struct{}),
		began: time.Now(),
	}, nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Known judges a ticket that was redeemed here before, without I/O. The second
// result is false when it was not; then Redeem must be asked. A statement that
// is carried along must be the one that was verified: any other is not known,
// even beside a handle that is. The claims are shared: nobody may change them.
func (f *Follower) Known(p *ticket.Presentation) (*ticket.Claims, bool, error) {
	r, ok := f.known.GetIfPresent(p.Handle.Hash())
	if !ok || p.Statement != "" && digest(p.Statement) != r.statement {
		return nil, false, nil
	}
	return r.claims, true, f.stillGood(p, r.claims)
}

// digest tells statements apart. It is keyed at random and not cryptographic: who
// found a statement with the digest of the true one would have the handle that
// goes with it, and gain nothing.
func digest(statement string) uint64 { return maphash.String(digestSeed, statement) }

var digestSeed = maphash.MakeSeed()

// stillGood repeats, for a remembered ticket, what can change with time or
// differs from one presentation to the next.
func (f *Follower) stillGood(p *ticket.Presentation, claims *ticket.Claims) error {
	switch {
	case time.Since(f.began)-time.Duration(f.heard.Load()) > f.config.Grace:
		return errBlind
	case p.Authority != "" && p.Authority != claims.Authority:
		return errWrongAuthority
	case !f.config.Now().Before(claims.Expires):
		return errExpired
	case f.revoked.has(claims):
		return errRevoked
	}
	return nil
}

var (
	errWrongAuthority = ticket.Refuse(ticket.WrongAuthority, "presented for an authority that is not configured here")
	errExpired        = ticket.Refuse(ticket.Expired, "expired")
	errBlind          = ticket.Refuse(ticket.Unavailable, "revocations have not been heard of for longer than the grace")
	errRevoked        = ticket.Refuse(ticket.Revoked, "revoked")
	errCold           = ticket.Refuse(ticket.Busy, "no turn to redeem before the deadline")
)

// Redeem judges a ticket with the authority's help. A refusal is a
// *ticket.Error; [ticket.Unavailable] and [ticket.Busy] mean that the authority
// could not be asked in time, and say nothing about the ticket.
func (f *Follower) Redeem(ctx context.Context, p *ticket.Presentation) (*ticket.Claims, error) {
	if p.Authority != "" && p.Authority != f.config.Keys.Authority {
		return nil, errWrongAuthority
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, &ticket.Error{Reason: ticket.Unavailable, Text: "revocations are not known yet", Err: context.Cause(ctx)}
	}
	hash := p.Handle.Hash()
	// What the authority said of the bare handle says nothing of a statement.
	if no, ok := f.refused.GetIfPresent(hash); ok && p.Statement == "" && f.config.Now().Before(no.until) {
		return nil, no.err
	}
	claims, err := f.fly(ctx, p.Statement, hash)
	if err != nil {
		return nil, err
	}
	if err := f.stillGood(p, claims); err != nil {
		return nil, err
	}
	return claims, nil
}

// fly looks a ticket up once for all who present it at the same time. The
// flight has its own deadline, so that one caller who goes away does not spoil
// it for the others.
func (f *Follower) fly(ctx context.Context, statement string, hash ticket.Hash) (*ticket.Claims, error) {
	// A carried statement may be a forgery: it must not share a flight, and so
	// an answer, with the bare handle.
	key := statement + string(hash[:])
	landed := f.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.RedeemTimeout)
		defer cancel()
		return f.lookUp(ctx, statement, hash)
	})
	select {
	case <-ctx.Done():
		return nil, &ticket.Error{Reason: ticket.Unavailable, Text: "the authority did not answer in time", Err: context.Cause(ctx)}
	case r := <-landed:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*ticket.Claims), nil
	}
}

func (f *Follower) lookUp(ctx context.Context, statement string, hash ticket.Hash) (*ticket.Claims, error) {
	if statement == "" {
		if err := f.awaitTurn(ctx); err != nil {
			return nil, err
		}
		defer f.cold.Release(1)
		var err error
		if statement, err = f.config.Source.Redeem(ctx, hash); err != nil {
			f.rememberRefusal(hash, err)
			return nil, err
		}
	}
	claims, err := f.verifier.Verify(statement, hash)
	if err != nil {
		return nil, err
	}
	f.known.Set(hash, &redeemed{claims, digest(statement)})
	return claims, nil
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

// rememberRefusal keeps the answers that will not change within seconds.
func (f *Follower) rememberRefusal(hash ticket.Hash, err error) {
	switch ticket.ReasonOf(err) {
	case ticket.Unknown, ticket.Expired, ticket.Revoked:
		f.refused.Set(hash, refusal{err, f.config.Now().Add(f.config.RefusedFor)})
	}
}

// Revoked tells whether a ticket that was good has been revoked since.
func (f *Follower) Revoked(claims *ticket.Claims) bool { return f.revoked.has(claims) }

// revokedSet holds the families that were revoked, until their last ticket has
// expired anyway.
type revokedSet struct {
	mu       sync.RWMutex
	families map[string]time.Time // → when the entry may be forgotten
}

func (s *revokedSet) has(claims *ticket.Claims) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.families[claims.Family]
	return ok
}

func (s *revokedSet) add(r *ticket.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.families == nil {
		s.families = make(map[string]time.Time)
	}
	s.families[r.Family] = r.Forget
}

// forget drops what expired before now, less the skew that verifiers allow.
func (s *revokedSet) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for family, at := range s.families {
		if at.Add(ticket.Skew).Before(now) {
			delete(s.families, family)
		}
	}
}
