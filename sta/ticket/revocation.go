package ticket

import "time"

// Revocation ends every ticket of a family, now and for good.
type Revocation struct {
	// Serial orders the revocations of one store, from 1 without gaps.
	Serial uint64 `json:"serial"`
	// Family is the family that ends.
	Family string `json:"family"`
	// Time is when, UTC.
	Time time.Time `json:"time"`
	// By names the client that asked.
	By string `json:"by"`
	// Forget is when the last ticket of the family has expired and the entry
	// may be dropped.
	Forget time.Time `json:"forget"`
}

// Covers tells whether the revocation ends the ticket with these claims.
func (r *Revocation) Covers(c *Claims) bool { return r.Family == c.Family }
