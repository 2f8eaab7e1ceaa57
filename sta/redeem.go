package sta

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

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
	if lost := a.lost.Load(); lost != nil {
		return "", unavailable("revocations were lost", lost)
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
	switch r.Status(a.now()) {
	case Revoked:
		return "", ticket.Refuse(ticket.Revoked, "the ticket was revoked")
	case Expired:
		return "", ticket.Refuse(ticket.Expired, "the ticket has expired")
	}
	return r.Statement, nil
}

// belongs tells whether a record is the one for this hash and its statement says
// the same of itself. Somebody who can write to the store could otherwise give a
// ticket that he was issued the rights of another, or slip a revoked ticket into
// a family that is not. The signature is not judged here: gateways do, and trust
// nobody else with it.
func belongs(r *Record, handle ticket.Hash) bool {
	var claims struct {
		ID     string       `json:"jti"`
		Family string       `json:"fam"`
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
		claims.ID == r.ID && claims.Family == r.Family
}
