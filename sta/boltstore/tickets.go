package boltstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// view and batch stop at the door for a caller that has gone; bbolt itself knows
// no contexts. batch may call its function more than once, so that function must
// not leave anything behind from a call before.
func (s *Store) view(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(f)
}

func (s *Store) batch(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Batch(f)
}

// Put adds a record; see [sta.Store].
func (s *Store) Put(ctx context.Context, r *sta.Record) error {
	data, err := encode(r)
	if err != nil {
		return err
	}
	return s.batch(ctx, func(tx *bolt.Tx) error {
		if tx.Bucket(ids).Get([]byte(r.ID)) != nil || tx.Bucket(hashes).Get(r.Hash[:]) != nil {
			return sta.ErrExists
		}
		sequence, err := tx.Bucket(tickets).NextSequence()
		if err != nil {
			return err
		}
		ref := reference(sequence, r.ID)
		for _, e := range rows(r, ref, data) {
			if err := tx.Bucket(e.bucket).Put(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	})
}

type row struct{ bucket, key, value []byte }

// rows is everything that the file holds of one ticket.
func rows(r *sta.Record, ref, data []byte) []row {
	return []row{
		{tickets, ref, data},
		{ids, []byte(r.ID), ref},
		{hashes, r.Hash[:], ref},
		{users, join(prefix(r.User), ref), nil},
		{devices, join(prefix(r.Device), ref), nil},
		{expiry, join(unix(r.Expires), ref), nil},
		{members, join(prefix(r.Family), ref), unix(r.Expires)},
	}
}

// ByHash finds a record; see [sta.Store]. A *[CorruptError] for one that cannot be
// read: nobody gets in by it.
func (s *Store) ByHash(ctx context.Context, hash ticket.Hash) (r *sta.Record, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		r, err = read(tx, tx.Bucket(hashes).Get(hash[:]))
		return err
	})
	return r, err
}

// ByID finds a record; see [sta.Store]. Of one that cannot be read it gives what
// the indexes know, so that the ticket can still be revoked; a *[CorruptError] if
// that is not enough.
func (s *Store) ByID(ctx context.Context, id string) (r *sta.Record, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		ref := tx.Bucket(ids).Get([]byte(id))
		var corrupt *CorruptError
		if r, err = read(tx, ref); errors.As(err, &corrupt) {
			if r = salvage(tx, ref); r.Family != "" {
				err = nil
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// read gives the record at a reference.
func read(tx *bolt.Tx, ref []byte) (*sta.Record, error) {
	if ref == nil {
		return nil, sta.ErrNotFound
	}
	data := tx.Bucket(tickets).Get(ref)
	if data == nil {
		// What is left of a corrupt record that was swept.
		return nil, sta.ErrNotFound
	}
	return decode(ref, data)
}

// damaged stands for the client's name in what was put together from the indexes
// because its record cannot be read. No client is called so.
const damaged = "(record damaged)"

// salvage gives of a record that cannot be read what the indexes know of it. It
// has no statement and no hash, so nothing can be redeemed by it.
func salvage(tx *bolt.Tx, ref []byte) *sta.Record {
	r := &sta.Record{ID: idOf(ref), Client: damaged}
	r.User, _ = valueOf(tx.Bucket(users), ref)
	r.Device, _ = valueOf(tx.Bucket(devices), ref)
	family, expires := valueOf(tx.Bucket(members), ref)
	if len(expires) == 8 {
		r.Expires = time.Unix(int64(binary.BigEndian.Uint64(expires)), 0).UTC()
	}
	r.Family = family
	return r
}

// valueOf looks through an index by length and value for the key that leads to a
// reference, and gives the value, and what stands under the key.
func valueOf(index *bolt.Bucket, ref []byte) (value string, data []byte) {
	cursor := index.Cursor()
	for key, data := cursor.First(); key != nil; key, data = cursor.Next() {
		start, found := bytes.CutSuffix(key, ref)
		if found && len(start) >= 4 && int(binary.BigEndian.Uint32(start)) == len(start)-4 {
			return string(start[4:]), data
		}
	}
	return "", nil
}

// List gives records, newest first; see [sta.Store]. A cursor is the reference
// of the last record that was looked at.
func (s *Store) List(ctx context.Context, f sta.Filter, now time.Time) (found []*sta.Record, next string, err error) {
	after, err := base64.RawURLEncoding.Strict().DecodeString(f.After)
	if err != nil || f.After != "" && len(after) < 8 {
		return nil, "", sta.ErrCursor
	}
	err = s.view(ctx, func(tx *bolt.Tx) error {
		bucket, start := narrowest(tx, f)
		cursor := bucket.Cursor()
		key := lastBefore(cursor, start, after)
		for scanned := 1; key != nil; scanned++ {
			ref := key[len(start):]
			r, err := s.matching(ctx, tx, ref, &f, now)
			if err != nil {
				return err
			}
			if r != nil {
				found = append(found, r)
			}
			key, _ = cursor.Prev()
			if !bytes.HasPrefix(key, start) {
				key = nil
			}
			if key != nil && (len(found) == f.Limit || scanned == sta.MaxScan) {
				next = base64.RawURLEncoding.EncodeToString(ref)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// narrowest chooses what to walk through: the index that leaves out the most.
// Its keys, behind start, are references.
func narrowest(tx *bolt.Tx, f sta.Filter) (bucket *bolt.Bucket, start []byte) {
	switch {
	case f.Device != "":
		return tx.Bucket(devices), prefix(f.Device)
	case f.User != "":
		return tx.Bucket(users), prefix(f.User)
	default:
		return tx.Bucket(tickets), nil
	}
}

// lastBefore goes to the newest reference behind start that is older than after,
// or the newest at all without one. nil if there is none.
func lastBefore(cursor *bolt.Cursor, start, after []byte) []byte {
	limit := join(start, after)
	if len(after) == 0 {
		// References begin with a number that never reaches this one.
		limit = join(start, bytes.Repeat([]byte{0xff}, 8))
	}
	key, _ := cursor.Seek(limit)
	if key == nil {
		key, _ = cursor.Last()
	}
	for key != nil && bytes.Compare(key, limit) >= 0 {
		key, _ = cursor.Prev()
	}
	if !bytes.HasPrefix(key, start) {
		return nil
	}
	return key
}

// matching gives the record at ref if it fits the filter, else nil. One that
// cannot be read must not hide the others: what is known of it stands in its
// place.
func (s *Store) matching(ctx context.Context, tx *bolt.Tx, ref []byte, f *sta.Filter, now time.Time) (*sta.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := read(tx, ref)
	var corrupt *CorruptError
	switch {
	case errors.Is(err, sta.ErrNotFound):
		return nil, nil
	case errors.As(err, &corrupt):
		r = salvage(tx, ref)
	case err != nil:
		return nil, err
	}
	if !f.Matches(r, now) {
		return nil, nil
	}
	return r, nil
}

// Delete removes a record; see [sta.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	return s.batch(ctx, func(tx *bolt.Tx) error {
		if ref := tx.Bucket(ids).Get([]byte(id)); ref != nil {
			return remove(tx, bytes.Clone(ref))
		}
		return nil
	})
}

// remove takes a ticket out of every bucket. Of a corrupt record it removes what
// can be found; the rest leads nowhere, which read knows.
func remove(tx *bolt.Tx, ref []byte) error {
	gone := []row{{bucket: tickets, key: ref}, {bucket: ids, key: []byte(idOf(ref))}}
	if data := tx.Bucket(tickets).Get(ref); data != nil {
		if r, err := decode(ref, data); err == nil {
			gone = rows(r, ref, nil)
		}
	}
	for _, e := range gone {
		if err := tx.Bucket(e.bucket).Delete(e.key); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes tickets that are past their time; see [sta.Store].
func (s *Store) Sweep(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	// A look first: most sweeps find nothing, and an empty write would still
	// cost an fsync.
	var due [][]byte
	err = s.view(ctx, func(tx *bolt.Tx) error {
		due = dueBy(tx, before, limit)
		return nil
	})
	if err != nil || len(due) == 0 {
		return 0, err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		for _, key := range due {
			// By hand as well: of a corrupt record, remove does not know it.
			if err := errors.Join(tx.Bucket(expiry).Delete(key), remove(tx, key[8:])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(due), nil
}

// dueBy copies the keys of the tickets that expire no later than a moment. The
// index knows whole seconds, as do the times of tickets.
func dueBy(tx *bolt.Tx, before time.Time, limit int) [][]byte {
	var keys [][]byte
	end := unix(before)
	cursor := tx.Bucket(expiry).Cursor()
	for key, _ := cursor.First(); len(key) > 8 && bytes.Compare(key[:8], end) <= 0 && len(keys) < limit; key, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}
