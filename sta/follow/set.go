package follow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Member judges the tickets of one authority: a [Follower] or a [Foreign].
type Member interface {
	Known(*ticket.Presentation) (*ticket.Claims, bool, error)
	Redeem(context.Context, *ticket.Presentation) (*ticket.Claims, error)
	Revoked(*ticket.Claims) bool
	KeyGone(keyID string) bool
}

// Set is every authority whose tickets a gateway takes. It judges a ticket as
// the authority does that it comes from; a bare handle does not say which that
// is, and is asked after at one after the other. It is immutable.
type Set struct{ trusted []Trusted }

// Trusted is one authority of a Set.
type Trusted struct {
	Authority string
	Member    Member
	// Foreign says that asking it hands it the ticket itself. A bare handle goes
	// there only when every other authority has said that it is not theirs, and
	// there is no second foreign one; then tickets must name whose they are.
	Foreign bool
	// Policies are those that its tickets may name, "" being the default one;
	// nil is any.
	Policies []string
}

// NewSet refuses none, and one that stands there twice.
func NewSet(trusted []Trusted) (*Set, error) {
	if len(trusted) == 0 {
		return nil, errors.New("a gateway trusts at least one authority")
	}
	seen := make(map[string]bool)
	s := &Set{}
	for _, foreign := range []bool{false, true} { // foreign ones last
		for _, t := range trusted {
			if t.Foreign != foreign {
				continue
			}
			if seen[t.Authority] {
				return nil, fmt.Errorf("%s is trusted twice", t.Authority)
			}
			seen[t.Authority] = true
			s.trusted = append(s.trusted, t)
		}
	}
	return s, nil
}

// Known judges a ticket that needs no I/O.
func (s *Set) Known(p *ticket.Presentation) (*ticket.Claims, bool, error) {
	for i := range s.trusted {
		t := &s.trusted[i]
		if p.Authority != "" && p.Authority != t.Authority {
			continue
		}
		if claims, known, err := t.Member.Known(p); known {
			if err == nil {
				err = t.judge(claims)
			}
			return claims, true, err
		}
	}
	return nil, false, nil
}

// Redeem judges a ticket with the help of its authority. Whoever cannot be asked
// might have known it: then the answer is [ticket.Unavailable], not a no.
func (s *Set) Redeem(ctx context.Context, p *ticket.Presentation) (*ticket.Claims, error) {
	if len(s.trusted) == 1 {
		return s.trusted[0].redeem(ctx, p)
	}
	authority := p.Authority
	if p.Statement != "" {
		if authority = ticket.Issuer(p.Statement); authority == "" {
			return nil, errNoStatement
		}
	}
	if authority != "" {
		for i := range s.trusted {
			if t := &s.trusted[i]; t.Authority == authority {
				return t.redeem(ctx, p)
			}
		}
		return nil, errWrongAuthority
	}
	claims, err := askAll(ctx, s.own(), p)
	if ticket.ReasonOf(err) != ticket.Unknown {
		return claims, err
	}
	// Nobody of ours knows it: now another may see it, if there is one whose it can
	// be. With two, one would be shown the other's.
	if foreign := s.trusted[len(s.own()):]; len(foreign) == 1 {
		return foreign[0].redeem(ctx, p)
	}
	return nil, err
}

// own gives those that are asked by hash.
func (s *Set) own() []Trusted {
	n := 0
	for n < len(s.trusted) && !s.trusted[n].Foreign {
		n++
	}
	return s.trusted[:n]
}

// askAll asks all at the same time: one that is away must not keep the ticket of
// another from being judged. A no counts when nobody says yes: nobody signed it.
func askAll(ctx context.Context, trusted []Trusted, p *ticket.Presentation) (*ticket.Claims, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		claims *ticket.Claims
		err    error
	}
	answers := make(chan answer, len(trusted))
	for i := range trusted {
		go func() {
			claims, err := trusted[i].redeem(ctx, p)
			answers <- answer{claims, err}
		}()
	}
	var cannot error
	no := error(ticket.Refuse(ticket.Unknown, "no authority has issued this ticket"))
	for range trusted {
		a := <-answers
		switch ticket.ReasonOf(a.err) {
		case ticket.Unavailable, ticket.Busy:
			cannot = a.err
		case "":
			return a.claims, nil
		case ticket.Unknown:
		default:
			no = a.err
		}
	}
	if cannot != nil {
		return nil, cannot
	}
	return nil, no
}

// redeem asks one, and judges what it may not say.
func (t *Trusted) redeem(ctx context.Context, p *ticket.Presentation) (*ticket.Claims, error) {
	claims, err := t.Member.Redeem(ctx, p)
	if err == nil {
		err = t.judge(claims)
	}
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// judge refuses what the authority may not say.
func (t *Trusted) judge(claims *ticket.Claims) error {
	if t.Policies == nil {
		return nil
	}
	for _, policy := range t.Policies {
		if policy == claims.Policy {
			return nil
		}
	}
	return errPolicy
}

var errNoStatement = ticket.Refuse(ticket.Malformed, "not a statement")

var errPolicy = ticket.Refuse(ticket.WrongAuthority, "its authority may not issue tickets for this policy")

// Revoked tells whether a good ticket has been revoked since, or is held back.
func (s *Set) Revoked(claims *ticket.Claims) bool {
	for i := range s.trusted {
		if s.trusted[i].Authority == claims.Authority {
			return s.trusted[i].Member.Revoked(claims)
		}
	}
	return true // of an authority that nobody trusts
}

// KeyGone tells whether no authority has a key any more. Two of them never have
// the same: an id is the key's fingerprint.
func (s *Set) KeyGone(keyID string) bool {
	for i := range s.trusted {
		if !s.trusted[i].Member.KeyGone(keyID) {
			return false
		}
	}
	return true
}
