package sta

import (
	"context"
	"errors"
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
	// ErrCursor: not a cursor that this store gave out.
	ErrCursor = errors.New("not a cursor")
	// ErrVersion: the key set is not newer than the one that is there.
	ErrVersion = errors.New("not a newer version")
	// ErrFork: another entry stands in the place of one that was to be put.
	ErrFork = errors.New("another entry is in this place")
	// ErrNoCopy: the write is done, and the copy that was asked for was not
	// confirmed in time: it may be lost if the store fails over now.
	ErrNoCopy = errors.New("no second copy was confirmed in time")
)

// Store keeps what the nodes of an authority share: tickets, the logs of
// revocations, the key set, and notices that the nodes leave for one another. A
// Store judges nothing: it holds signed things, and who takes them out verifies
// them. It may lose its newest writes, or all of them, when it fails over or is
// restored; what must not be lost, nodes write back.
//
// Every method is safe for concurrent use, sees what this process wrote before,
// and returns from a write only when that write is as durable as the store makes
// it. A write of a record happens as a whole or not at all. Records handed in and
// out are copies: neither side sees the other's later changes.
//
// Reading by hash must not wait for writers: every new tunnel stands behind it.
type Store interface {
	// Put adds a record. [ErrExists] if its id or its hash is taken. With
	// [ErrNoCopy] it is there, and nobody may rely on it.
	Put(ctx context.Context, r *Record) error
	// ByHash and ByID find one record. [ErrNotFound]. A record that is damaged
	// lets nobody in: ByHash fails. ByID and List may give what is known of it,
	// without hash and statement, for a ticket that is on no list and cannot be
	// found is one that nobody revokes.
	ByHash(ctx context.Context, hash ticket.Hash) (*Record, error)
	ByID(ctx context.Context, id string) (*Record, error)
	// List gives records that match, newest first, up to f.Limit, and a cursor
	// for the rest, "" at the end. It looks at no more than [MaxScan] records, so
	// a page may be short, even empty, while there is a cursor. Records put in
	// later never appear behind a cursor, and none appears twice. [ErrCursor].
	List(ctx context.Context, f Filter, now time.Time) (records []*Record, next string, err error)
	// Delete removes a record; it is no error if there is none.
	Delete(ctx context.Context, id string) error
	// Sweep removes up to limit records whose Expires is not after before, and
	// says how many it removed.
	Sweep(ctx context.Context, before time.Time, limit int) (removed int, err error)

	// PutEntries adds entries to the logs of revocations. One that is there
	// already is no error. [ErrFork] if another one is in its place; that does
	// not hold up the others. The order is not guaranteed to be kept, and an
	// entry may stand behind a gap for a while.
	PutEntries(ctx context.Context, entries []ticket.Entry) error
	// Entries gives signed entries past the positions, each writer's in order
	// and up to limit of them together, and, for every writer that the store
	// knows, the last position that is there. What cannot be read is left out,
	// and may be put again.
	Entries(ctx context.Context, after ticket.Positions, limit int) (logs map[string][]string, last ticket.Positions, err error)
	// DropEntries removes each writer's entries up to a position, that one
	// included.
	DropEntries(ctx context.Context, upTo ticket.Positions) error

	// KeySet gives the authority's key set. [ErrNotFound] before the first.
	KeySet(ctx context.Context) (SignedKeySet, error)
	// PutKeySet replaces it. [ErrVersion] unless the version grows.
	PutKeySet(ctx context.Context, set SignedKeySet) error

	// PostNotice leaves word under a name for the other nodes, in place of what
	// was there; after life it is gone. A life of 0 removes it.
	PostNotice(ctx context.Context, name string, notice []byte, life time.Duration) error
	// Notices gives all words left, by name.
	Notices(ctx context.Context) (map[string][]byte, error)
	// Watch gives a channel that has a value soon after somebody, of this or
	// another process, put an entry, a notice or a key set. It is a hint:
	// several may become one, and one may be lost. It is closed when ctx ends.
	Watch(ctx context.Context) <-chan struct{}
	// Clock is the store's own clock, by which nodes compare theirs.
	Clock(ctx context.Context) (time.Time, error)

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
}

// Subject gives what revocations look at.
func (r *Record) Subject() ticket.Subject {
	return ticket.Subject{ID: r.ID, Family: r.Family, User: r.User, Device: r.Device, Issued: r.Issued}
}

// Clone copies r, so that nothing is shared.
func (r *Record) Clone() *Record {
	c := *r
	c.Groups = slices.Clone(r.Groups)
	c.Services = slices.Clone(r.Services)
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

// Filter says which tickets to list. Empty fields match all; the others match
// exactly.
type Filter struct {
	User, Device, App string
	Status            Status
	After             string // where to go on: the cursor of the page before
	Limit             int    // 1 to MaxPage; 0 means DefaultPage
	// Revoked tells whether a ticket is revoked, for Status; nil means that none
	// is. The authority sets it: stores do not know.
	Revoked func(*Record) bool
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
		(f.Status == "" || f.Status == f.status(r, now))
}

func (f *Filter) status(r *Record, now time.Time) Status {
	switch {
	case f.Revoked != nil && f.Revoked(r):
		return Revoked
	case !now.Before(r.Expires):
		return Expired
	default:
		return Valid
	}
}

// SignedKeySet is the authority's key set as its root signed it. The root's pin
// is not beside it: who can write the one could write the other.
type SignedKeySet struct {
	Version uint64 `json:"version"`
	Signed  string `json:"signed"`
}
