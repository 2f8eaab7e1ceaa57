package ticket

import (
	"encoding/binary"
	"hash/fnv"
	"time"
	"unicode/utf8"
)

// CutAhead is how far ahead of the clock the cut of a revocation lies: as far as
// the clocks of an authority's nodes may differ. Issuing steps over it.
const CutAhead = 2 * time.Second

// MaxStage is the longest time over which tickets are let back in.
const MaxStage = 24 * time.Hour

// Subject is what of a ticket a revocation looks at.
type Subject struct {
	ID, Family, User, Device string
	Issued                   time.Time
}

// Subject gives what revocations look at.
func (c *Claims) Subject() Subject {
	return Subject{ID: c.ID, Family: c.Family, User: c.User, Device: c.Device, Issued: c.Issued}
}

// Revocation ends tickets. It names a ticket, a family, a user, a device, a user
// and a device, or all; see [Revocation.Check].
//
// One by ticket or family ends what it names, whenever issued. The others have a
// Cut and end what was issued up to then, so that the same user and device can
// be given new tickets. One with a Stage ends nothing for good: it cuts every
// tunnel, and lets the tickets back in, each at a time of its own within Stage.
type Revocation struct {
	// Time is when it was asked for, UTC, and By names who asked.
	Time time.Time `json:"time"`
	By   string    `json:"by"`

	Ticket string `json:"ticket,omitempty"`
	Family string `json:"family,omitempty"`
	User   string `json:"user,omitempty"`
	Device string `json:"device,omitempty"`
	All    bool   `json:"all,omitempty"`

	// Cut is the last iat that ends: whole seconds, UTC.
	Cut time.Time `json:"cut,omitzero"`
	// Stage is how long it takes until everybody is let in again: whole seconds.
	Stage time.Duration `json:"stage,omitempty"`
	// Forget is when the last ticket that it ends has expired, so that it need
	// not be remembered any longer.
	Forget time.Time `json:"forget"`
}

// Check refuses, with [Invalid], what is no revocation.
func (r *Revocation) Check() error {
	byUser := r.User != "" || r.Device != ""
	scopes := 0
	for _, named := range []bool{r.Ticket != "", r.Family != "", byUser, r.All} {
		if named {
			scopes++
		}
	}
	exact := r.Ticket != "" || r.Family != ""
	switch {
	case scopes != 1:
		return refuse(Invalid, "a revocation names a ticket, a family, a user or device, or all: one of them")
	case exact != r.Cut.IsZero():
		return refuse(Invalid, "a revocation of a user, a device or all has a cut, others have none")
	case r.Stage != 0 && !r.All, r.Stage < 0, r.Stage > MaxStage, r.Stage%time.Second != 0:
		return refuse(Invalid, "a stage goes with a revocation of all, and is whole seconds up to %s", MaxStage)
	case r.Cut.Nanosecond() != 0:
		return refuse(Invalid, "a cut is a whole second, as every iat is")
	case r.Time.IsZero() || r.Forget.IsZero():
		return refuse(Invalid, "a revocation has a time, and a time to be forgotten")
	}
	for _, text := range []string{r.By, r.Ticket, r.Family, r.User, r.Device} {
		if len(text) > MaxText {
			return refuse(TooLarge, "a name of over %d bytes in a revocation", MaxText)
		}
		// JSON would put U+FFFD in place of what is not UTF-8: others would read
		// another name than the one that is ended here.
		if !utf8.ValidString(text) {
			return refuse(Invalid, "a name that is not UTF-8 in a revocation")
		}
	}
	return nil
}

// Covers tells whether the revocation ends the ticket, at a moment. Only one
// with a Stage depends on the moment.
func (r *Revocation) Covers(s *Subject, now time.Time) bool {
	switch {
	case r.Ticket != "":
		return r.Ticket == s.ID
	case r.Family != "":
		return r.Family == s.Family
	case s.Issued.After(r.Cut),
		r.User != "" && r.User != s.User,
		r.Device != "" && r.Device != s.Device:
		return false
	case r.Stage > 0:
		return now.Before(r.Time.Add(r.Stage)) && now.Before(r.Readmits(s))
	}
	return r.All || r.User != "" || r.Device != ""
}

// Readmits is when a revocation with a Stage lets a ticket in again. Families are
// spread evenly over the stage, the same at every gateway; none is let in within
// the first tenth, so that what made somebody cut everyone can be dealt with.
func (r *Revocation) Readmits(s *Subject) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(s.Family))
	var cut [8]byte
	binary.BigEndian.PutUint64(cut[:], uint64(r.Cut.Unix()))
	_, _ = hash.Write(cut[:]) // another order each time
	const parts = 1 << 16
	part := time.Duration(mix(hash.Sum64()) % parts)
	hold := r.Stage / 10
	return r.Time.Add(hold + (r.Stage-hold)/parts*part)
}

// mix spreads the bits of an FNV hash, whose low ones depend on the last bytes
// too little.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Scope names what the revocation ends, for logs: ticket, family, user, device,
// user_device or all.
func (r *Revocation) Scope() string {
	switch {
	case r.Ticket != "":
		return "ticket"
	case r.Family != "":
		return "family"
	case r.User != "" && r.Device != "":
		return "user_device"
	case r.User != "":
		return "user"
	case r.Device != "":
		return "device"
	}
	return "all"
}
