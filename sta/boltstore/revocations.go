package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Revoke ends a family; see [sta.Store].
func (s *Store) Revoke(ctx context.Context, r ticket.Revocation) (stored ticket.Revocation, already bool, err error) {
	err = s.batch(ctx, func(tx *bolt.Tx) error {
		stored, already = r, false
		if serial := tx.Bucket(families).Get([]byte(r.Family)); serial != nil {
			already = true
			stored = revocationOf(tx, serial, r.Family)
			return nil
		}
		if last := lastExpiry(tx, r.Family); last.After(stored.Forget) {
			stored.Forget = last
		}
		// The sequence is part of the transaction: one that is rolled back
		// leaves no gap.
		if stored.Serial, err = tx.Bucket(revocations).NextSequence(); err != nil {
			return err
		}
		return putRevocation(tx, &stored)
	})
	return stored, already, err
}

// lastExpiry is when the last ticket of a family expires.
func lastExpiry(tx *bolt.Tx, family string) time.Time {
	var last uint64
	start := prefix(family)
	cursor := tx.Bucket(members).Cursor()
	for key, value := cursor.Seek(start); bytes.HasPrefix(key, start); key, value = cursor.Next() {
		if len(value) == 8 {
			last = max(last, binary.BigEndian.Uint64(value))
		}
	}
	return time.Unix(int64(last), 0).UTC()
}

func putRevocation(tx *bolt.Tx, r *ticket.Revocation) error {
	data, err := encodeRevocation(r)
	if err != nil {
		return err
	}
	serial := number(r.Serial)
	return errors.Join(
		tx.Bucket(revocations).Put(serial, data),
		tx.Bucket(families).Put([]byte(r.Family), serial),
		tx.Bucket(forget).Put(join(unix(r.Forget), serial), nil),
	)
}

// Revocations gives those past a serial; see [sta.Store].
func (s *Store) Revocations(ctx context.Context, after uint64, limit int) (entries []ticket.Revocation, last uint64, err error) {
	var lost []uint64
	err = s.view(ctx, func(tx *bolt.Tx) error {
		last = tx.Bucket(revocations).Sequence()
		if after < last {
			entries, lost = readRevocations(tx, after, limit)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, 0, err
	case lost != nil:
		return entries, last, &sta.LostError{Serials: lost}
	}
	return entries, last, nil
}

// readRevocations gives up to limit of those past a serial, and the serials of
// those between them of which nothing is known any more.
func readRevocations(tx *bolt.Tx, after uint64, limit int) (entries []ticket.Revocation, lost []uint64) {
	cursor := tx.Bucket(revocations).Cursor()
	for key, value := cursor.Seek(number(after + 1)); key != nil && len(entries) < limit; key, value = cursor.Next() {
		r, ok := decodeRevocation(key, value)
		if !ok {
			family := familyOf(tx, key)
			if family == "" {
				lost = append(lost, serialOf(key))
				continue
			}
			r = revocationOf(tx, key, family)
		}
		entries = append(entries, r)
	}
	return entries, lost
}

// checkRevocations refuses a file that has lost a revocation.
func checkRevocations(tx *bolt.Tx) error {
	const page = 1000
	for after := uint64(0); ; {
		entries, lost := readRevocations(tx, after, page)
		if lost != nil {
			return &sta.LostError{Serials: lost}
		}
		if len(entries) < page {
			return nil
		}
		after = entries[page-1].Serial
	}
}

// damaged stands for the client's name in what was put together from the indexes
// because its record cannot be read. No client is called so.
const damaged = "(record damaged)"

// revocationOf gives the revocation of a family. When its record cannot be read
// it is put together from the indexes: they know what makes it count, and only
// who asked for it, and when, is gone.
func revocationOf(tx *bolt.Tx, serial []byte, family string) ticket.Revocation {
	r, ok := decodeRevocation(serial, tx.Bucket(revocations).Get(serial))
	if ok {
		return r
	}
	return ticket.Revocation{Serial: serialOf(serial), Family: family, By: damaged, Forget: forgetOf(tx, serial)}
}

// familyOf looks for the family that the revocation with a serial ended, "" if
// there is none.
func familyOf(tx *bolt.Tx, serial []byte) string {
	cursor := tx.Bucket(families).Cursor()
	for family, value := cursor.First(); family != nil; family, value = cursor.Next() {
		if bytes.Equal(value, serial) {
			return string(family)
		}
	}
	return ""
}

// never is when a revocation is forgotten of which nothing says when.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func forgetOf(tx *bolt.Tx, serial []byte) time.Time {
	cursor := tx.Bucket(forget).Cursor()
	for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
		if len(key) == 16 && bytes.Equal(key[8:], serial) {
			return time.Unix(int64(binary.BigEndian.Uint64(key)), 0).UTC()
		}
	}
	return never
}

// Sweep drops what is past its time; see [sta.Store].
func (s *Store) Sweep(ctx context.Context, before time.Time, limit int) (swept sta.Swept, err error) {
	// A look first: most sweeps find nothing, and an empty write would still
	// cost an fsync.
	var due, lapsed [][]byte
	err = s.view(ctx, func(tx *bolt.Tx) error {
		due = upTo(tx.Bucket(expiry), before, limit)
		lapsed = upTo(tx.Bucket(forget), before, limit)
		return nil
	})
	if err != nil || len(due)+len(lapsed) == 0 {
		return sta.Swept{}, err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		for _, key := range due {
			// By hand as well: of a corrupt record, remove does not know it.
			if err := errors.Join(tx.Bucket(expiry).Delete(key), remove(tx, key[8:])); err != nil {
				return err
			}
		}
		for _, key := range lapsed {
			if err := dropRevocation(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return sta.Swept{}, err
	}
	return sta.Swept{Tickets: len(due), Revocations: len(lapsed)}, nil
}

// upTo copies the keys of an index by time that are not after a moment. The
// index knows whole seconds, as do the times of tickets.
func upTo(bucket *bolt.Bucket, before time.Time, limit int) [][]byte {
	var keys [][]byte
	end := unix(before)
	cursor := bucket.Cursor()
	for key, _ := cursor.First(); len(key) > 8 && bytes.Compare(key[:8], end) <= 0 && len(keys) < limit; key, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}

// dropRevocation takes the revocation at a key of the forget index out of every
// bucket. The family's key is that of the record, or else the one that leads to
// it; without either the sweep goes on all the same.
func dropRevocation(tx *bolt.Tx, key []byte) error {
	serial := key[8:]
	r, ok := decodeRevocation(serial, tx.Bucket(revocations).Get(serial))
	if !ok {
		r.Family = familyOf(tx, serial)
	}
	return errors.Join(
		tx.Bucket(families).Delete([]byte(r.Family)),
		tx.Bucket(revocations).Delete(serial),
		tx.Bucket(forget).Delete(key),
	)
}

// KeySet gives the key set; see [sta.Store].
func (s *Store) KeySet(ctx context.Context) (set sta.SignedKeySet, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		set, err = keySet(tx)
		return err
	})
	return set, err
}

func keySet(tx *bolt.Tx) (set sta.SignedKeySet, err error) {
	data := tx.Bucket(meta).Get(keySetKey)
	if data == nil {
		return set, sta.ErrNotFound
	}
	if json.Unmarshal(data, &set) != nil {
		return set, &CorruptError{"the key set", errors.New("it is no JSON of one")}
	}
	return set, nil
}

// PutKeySet replaces the key set; see [sta.Store].
func (s *Store) PutKeySet(ctx context.Context, set sta.SignedKeySet) error {
	data, err := json.Marshal(set)
	if err != nil {
		return err
	}
	return s.batch(ctx, func(tx *bolt.Tx) error {
		old, err := keySet(tx)
		if err != nil && !errors.Is(err, sta.ErrNotFound) {
			return err
		}
		if set.Version <= old.Version {
			return sta.ErrVersion
		}
		return tx.Bucket(meta).Put(keySetKey, data)
	})
}
