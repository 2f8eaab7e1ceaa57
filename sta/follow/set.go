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
	// there only when every other authority has said that it is not theirs.
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
	var no, cannot error
	for i := range s.trusted {
		t := &s.trusted[i]
		switch {
		case p.Authority != "" && p.Authority != t.Authority,
			t.Foreign && p.Statement != "":
			continue
		case t.Foreign && p.Authority == "" && cannot != nil:
			// It may be a ticket of ours, and is nothing for others' eyes.
			return nil, cannot
		}
		claims, err := t.Member.Redeem(ctx, p)
		if err == nil {
			return claims, t.judge(claims)
		}
		switch ticket.ReasonOf(err) {
		case ticket.Unavailable, ticket.Busy:
			cannot = err
		case ticket.Unknown, ticket.WrongAuthority, ticket.BadSignature:
			if no == nil || p.Statement != "" && ticket.ReasonOf(no) == ticket.WrongAuthority {
				no = err
			}
		default:
			return nil, err // it is theirs, and not good
		}
	}
	switch {
	case cannot != nil:
		return nil, cannot
	case no != nil:
		return nil, no
	}
	return nil, errWrongAuthority
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
