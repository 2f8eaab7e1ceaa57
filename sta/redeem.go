package sta

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Redeem gives the statement of the ticket whose handle has this hash. It is for
// gateways, which then verify the statement themselves. Refusals:
// [ticket.Unknown], [ticket.Revoked], [ticket.Expired], and [ticket.Mismatch]
// for a record that the store gives for a hash it does not belong to.
func (a *Authority) Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error) {
	statement, err = a.redeem(ctx, handle)
	if a.hooks.Redeemed != nil {
		a.hooks.Redeemed(ticket.ReasonOf(err))
	}
	return statement, err
}

func (a *Authority) redeem(ctx context.Context, handle ticket.Hash) (string, error) {
	// Whoever has not read the logs does not know who is ended.
	if err := a.look(ctx); err != nil {
		return "", err
	}
	r, err := a.store.ByHash(ctx, handle)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", ticket.Refuse(ticket.Unknown, "no ticket has this handle")
	case err != nil:
		return "", unavailable("the ticket could not be read", err)
	case !belongs(r, handle):
		return "", ticket.Refuse(ticket.Mismatch, "the stored statement is that of another ticket")
	}
	now := a.now()
	if by := a.revoked(r, now); by != nil && by.Stage == 0 {
		return "", ticket.Refuse(ticket.Revoked, "the ticket was revoked")
	}
	// The statement of one that is held back is given all the same: gateways know
	// when to let it in, and need not ask again then. Other doors ask [Authority.Judge].
	if !now.Before(r.Expires) {
		return "", ticket.Refuse(ticket.Expired, "the ticket has expired")
	}
	return r.Statement, nil
}

// Judge refuses a ticket of this authority that is ended, or held back, at the
// moment: [ticket.Revoked], [ticket.Held]. It does no I/O.
func (a *Authority) Judge(claims *ticket.Claims) error {
	subject := claims.Subject()
	switch r := a.log.Find(&subject, a.now()); {
	case r == nil:
		return nil
	case r.Stage > 0:
		return ticket.Refuse(ticket.Held, "everyone was cut, and its turn has not come")
	}
	return ticket.Refuse(ticket.Revoked, "the ticket was revoked")
}

// revoked gives the revocation that ends a ticket, or nil.
func (a *Authority) revoked(r *Record, now time.Time) *ticket.Revocation {
	subject := r.Subject()
	return a.log.Find(&subject, now)
}

// belongs tells whether a record is the one for this hash and its statement says
// the same of itself. Somebody who can write to the store could otherwise give a
// ticket that he was issued the rights of another, or slip a revoked ticket into
// a family, or under a user, that is not. The signature is not judged here:
// gateways do, and trust nobody else with it.
func belongs(r *Record, handle ticket.Hash) bool {
	var claims struct {
		ID     string       `json:"jti"`
		Family string       `json:"fam"`
		User   string       `json:"sub"`
		Device string       `json:"dev"`
		Issued int64        `json:"iat"`
		Handle *ticket.Hash `json:"h"`
	}
	parts := strings.Split(r.Statement, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Handle == nil {
		return false
	}
	return claims.Handle.Equal(handle) && r.Hash.Equal(handle) &&
		claims.ID == r.ID && claims.Family == r.Family &&
		claims.User == r.User && claims.Device == r.Device && claims.Issued == r.Issued.Unix()
}
