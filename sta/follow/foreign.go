package follow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Vault is an authority that only says what a ticket was issued with.
type Vault interface {
	// RequestData redeems a ticket. [ticket.Unknown] is its no; any other error
	// means that it could not be asked.
	RequestData(ctx context.Context, handle ticket.Handle, version int) ([]ticket.Value, error)
}

// ForeignConfig is what a Foreign needs.
type ForeignConfig struct {
	// Authority is its ID, Gateway the FQDN of the gateway that asks.
	Authority, Gateway string
	Vault              Vault
	// RememberFor is how long a yes is remembered, and RefusedFor a no; 0 means
	// 60 s and 5 s.
	RememberFor, RefusedFor time.Duration
	// RedeemTimeout bounds one question; 0 means 5 s.
	RedeemTimeout time.Duration
	// MaxTickets bounds the tickets remembered, MaxCold the questions in flight;
	// 0 means 100,000 and 64.
	MaxTickets, MaxCold int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Foreign judges the tickets of an authority that is none of ours: an STA of
// another make, asked by RequestData. It signs nothing, tells of no revocation
// and says nothing of user or device. So its yes is remembered for a minute only,
// there is no grace when it cannot be asked, and a live tunnel is not cut when it
// changes its mind.
type Foreign struct {
	config  ForeignConfig
	known   *otter.Cache[ticket.Hash, answered]
	refused *otter.Cache[ticket.Hash, answered]
	cold    *semaphore.Weighted
}

// answered is what it said of a ticket.
type answered struct {
	claims *ticket.Claims
	err    error
	until  time.Time
}

const defaultRemember = time.Minute

// NewForeign makes a Foreign. It starts nothing.
func NewForeign(c ForeignConfig) (*Foreign, error) {
	if c.Vault == nil || c.Gateway == "" {
		return nil, errors.New("a foreign authority needs somebody to ask, and the gateway's name")
	}
	if err := ticket.CheckAuthorityID(c.Authority); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	setDefault(&c.RememberFor, defaultRemember)
	setDefault(&c.RefusedFor, defaultRefusedFor)
	setDefault(&c.RedeemTimeout, defaultRedeem)
	setDefault(&c.MaxTickets, defaultMaxTickets)
	setDefault(&c.MaxCold, defaultMaxCold)
	known, err := otter.New(&otter.Options[ticket.Hash, answered]{MaximumSize: c.MaxTickets})
	if err != nil {
		return nil, fmt.Errorf("ticket cache: %w", err)
	}
	refused, err := otter.New(&otter.Options[ticket.Hash, answered]{MaximumSize: maxRefused})
	if err != nil {
		return nil, fmt.Errorf("refusal cache: %w", err)
	}
	return &Foreign{config: c, known: known, refused: refused, cold: semaphore.NewWeighted(int64(c.MaxCold))}, nil
}

// Known judges a ticket that it was asked for within the last minute.
func (f *Foreign) Known(p *ticket.Presentation) (*ticket.Claims, bool, error) {
	if p.Statement != "" || p.Authority != "" && p.Authority != f.config.Authority {
		return nil, false, nil
	}
	a, ok := f.known.GetIfPresent(p.Handle.Hash())
	if !ok || !f.config.Now().Before(a.until) {
		return nil, false, nil
	}
	return a.claims, true, nil
}

// Redeem asks for a ticket.
func (f *Foreign) Redeem(ctx context.Context, p *ticket.Presentation) (*ticket.Claims, error) {
	if p.Statement != "" || p.Authority != "" && p.Authority != f.config.Authority {
		return nil, errWrongAuthority
	}
	hash := p.Handle.Hash()
	if no, ok := f.refused.GetIfPresent(hash); ok && f.config.Now().Before(no.until) {
		return nil, no.err
	}
	ctx, cancel := context.WithTimeout(ctx, f.config.RedeemTimeout)
	defer cancel()
	turn, done := context.WithTimeout(ctx, f.config.RedeemTimeout/2)
	defer done()
	if f.cold.Acquire(turn, 1) != nil {
		return nil, errCold
	}
	defer f.cold.Release(1)
	data, err := f.config.Vault.RequestData(ctx, p.Handle, p.Version)
	now := f.config.Now()
	if err != nil {
		if ticket.ReasonOf(err) == ticket.Unknown {
			f.refused.Set(hash, answered{err: err, until: now.Add(f.config.RefusedFor)})
		}
		return nil, err
	}
	if size(data) > ticket.MaxDataBytes || len(data) > ticket.MaxData {
		return nil, errTooMuch
	}
	claims := f.claims(hash, data, now)
	f.known.Set(hash, answered{claims: claims, until: now.Add(f.config.RememberFor)})
	return claims, nil
}

var errTooMuch = ticket.Refuse(ticket.TooLarge, "the authority says more of the ticket than a ticket may hold")

func size(data []ticket.Value) (n int) {
	for _, v := range data {
		n += len(v.Name) + len(v.Value)
	}
	return n
}

// claims makes up what the authority does not say. The id names the ticket in
// logs, and is no way back to it.
func (f *Foreign) claims(hash ticket.Hash, data []ticket.Value, now time.Time) *ticket.Claims {
	id := "foreign-" + base64.RawURLEncoding.EncodeToString(hash[:12])
	at := now.UTC().Truncate(time.Second)
	return &ticket.Claims{
		ID: id, Family: id, Authority: f.config.Authority, Audience: []string{f.config.Gateway},
		Data: data, Issued: at, NotBefore: at, AuthTime: at, Expires: at.Add(f.config.RememberFor), Handle: hash,
	}
}

// Revoked is never known.
func (f *Foreign) Revoked(*ticket.Claims) bool { return false }

// KeyGone tells that only tickets without a key are from here.
func (f *Foreign) KeyGone(keyID string) bool { return keyID != "" }
