package sta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// What a Store answers when it answers no. Anything else it returns means that
// it failed.
var (
	// ErrNotFound: no record, or no key set.
	ErrNotFound = errors.New("not found")
	// ErrExists: a record with this id or hash is there already.
	ErrExists = errors.New("exists already")
	// ErrFamilyRevoked: the record's family was revoked, and takes no members.
	ErrFamilyRevoked = errors.New("the family is revoked")
	// ErrCursor: not a cursor that this store gave out.
	ErrCursor = errors.New("not a cursor")
	// ErrVersion: the key set is not newer than the one that is there.
	ErrVersion = errors.New("not a newer version")
)

// LostError names revocations that were made and cannot be read any more, so that
// nobody knows whom they ended.
type LostError struct{ Serials []uint64 }

func (e *LostError) Error() string {
	const most = 10 // to be named
	text := fmt.Sprintf("revocations %d", e.Serials[:min(len(e.Serials), most)])
	if len(e.Serials) > most {
		text += fmt.Sprintf(" and %d more", len(e.Serials)-most)
	}
	return text + " cannot be read, and whom they ended is not known; restore the store"
}

// Store keeps tickets, revocations and the authority's key set. Every method is
// safe for concurrent use, sees what was written before it was called, and
// returns from a write only when that write survives the loss of power. A write
// happens as a whole or not at all. Records handed in and out are copies: neither
// side sees the other's later changes.
//
// Reading by hash must not wait for writers: every new tunnel stands behind it.
type Store interface {
	// Put adds a record. [ErrExists] if its id or its hash is taken,
	// [ErrFamilyRevoked] if its family was revoked.
	Put(ctx context.Context, r *Record) error
	// ByHash and ByID find one record, with Revoked filled in. [ErrNotFound].
	// A record that is damaged lets nobody in: ByHash fails. ByID and List may
	// give what is known of it, without hash and statement, for a ticket that
	// is on no list and cannot be found is one that nobody revokes.
	ByHash(ctx context.Context, hash ticket.Hash) (*Record, error)
	ByID(ctx context.Context, id string) (*Record, error)
	// List gives records that match, newest first, up to f.Limit, with Revoked
	// filled in, and a cursor for the rest, "" at the end. It looks at no more
	// than [MaxScan] records, so a page may be short, even empty, while there
	// is a cursor. Records put in later never appear behind a cursor, and none
	// appears twice. [ErrCursor].
	List(ctx context.Context, f Filter, now time.Time) (records []*Record, next string, err error)
	// Delete removes a record; it is no error if there is none.
	Delete(ctx context.Context, id string) error
	// Revoke ends a family. It gives the revocation the next serial, from 1
	// without gaps and never used again, raises its Forget to the latest expiry
	// in the family, and returns what it stored. A family that was revoked
	// before keeps its first revocation, which is returned with already.
	Revoke(ctx context.Context, r ticket.Revocation) (stored ticket.Revocation, already bool, err error)
	// Revocations gives up to limit of those with a Serial over after, in
	// order, and the last serial ever given, 0 if none. One that cannot be read
	// holds up no other: the rest comes all the same, beside a *[LostError]
	// that names it. That is for one whose family is not known any more;
	// whatever the store still knows of it by other ways must do in its place.
	// A store that can tell beforehand refuses to be opened.
	Revocations(ctx context.Context, after uint64, limit int) (entries []ticket.Revocation, last uint64, err error)
	// Sweep removes up to limit records with Expires, and up to limit
	// revocations with Forget, not after before.
	Sweep(ctx context.Context, before time.Time, limit int) (Swept, error)
	// KeySet gives the authority's key set. [ErrNotFound] before the first.
	KeySet(ctx context.Context) (SignedKeySet, error)
	// PutKeySet replaces it. [ErrVersion] unless the version grows.
	PutKeySet(ctx context.Context, set SignedKeySet) error
	// Close ends the use of the store.
	Close() error
}

// MaxScan bounds the records that one List looks at.
const MaxScan = 10_000

// Record is one ticket as a Store keeps it: the statement, the hash of the
// handle, and what operators look for. Never the handle. The JSON form is for
// stores to keep; it is not what clients see (see [Ticket]).
type Record struct {
	ID          string      `json:"id"`
	Hash        ticket.Hash `json:"hash"`
	Family      string      `json:"family"`
	User        string      `json:"user,omitempty"`
	Device      string      `json:"device,omitempty"`
	App         string      `json:"app,omitempty"`
	Platform    string      `json:"platform,omitempty"`
	Groups      []string    `json:"groups,omitempty"`
	Policy      string      `json:"policy,omitempty"`
	Services    []string    `json:"services,omitempty"`
	Issued      time.Time   `json:"issued"`  // UTC, whole seconds
	Expires     time.Time   `json:"expires"` // UTC, whole seconds
	Refreshable bool        `json:"refreshable"`
	Client      string      `json:"client"` // who asked for it
	Statement   string      `json:"statement"`
	// Revoked is the revocation of the family, or nil. Stores fill it in on
	// reading and ignore it on writing.
	Revoked *ticket.Revocation `json:"-"`
}

// Clone copies r, so that nothing is shared.
func (r *Record) Clone() *Record {
	c := *r
	c.Groups = slices.Clone(r.Groups)
	c.Services = slices.Clone(r.Services)
	if r.Revoked != nil {
		revoked := *r.Revoked
		c.Revoked = &revoked
	}
	return &c
}

// Status is how a ticket stands.
type Status string

// A ticket that was revoked stays revoked when it has expired as well.
const (
	Valid   Status = "valid"
	Expired Status = "expired"
	Revoked Status = "revoked"
)

// Status tells how the ticket stands at a moment.
func (r *Record) Status(now time.Time) Status {
	switch {
	case r.Revoked != nil:
		return Revoked
	case !now.Before(r.Expires):
		return Expired
	default:
		return Valid
	}
}

// Filter says which tickets to list. Empty fields match all; the others match
// exactly.
type Filter struct {
	User, Device, App string
	Status            Status
	After             string // where to go on: the cursor of the page before
	Limit             int    // 1 to MaxPage; 0 means DefaultPage
}

// Bounds of Filter.Limit.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// Matches tells whether a record fits the filter; stores use it.
func (f *Filter) Matches(r *Record, now time.Time) bool {
	return (f.User == "" || f.User == r.User) &&
		(f.Device == "" || f.Device == r.Device) &&
		(f.App == "" || f.App == r.App) &&
		(f.Status == "" || f.Status == r.Status(now))
}

// Swept counts what one sweep removed.
type Swept struct{ Tickets, Revocations int }

// SignedKeySet is the authority's key set as its root signed it. The root's pin
// is not beside it: who can write the one could write the other.
type SignedKeySet struct {
	Version uint64 `json:"version"`
	Signed  string `json:"signed"`
}
