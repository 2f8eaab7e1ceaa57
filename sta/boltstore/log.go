package boltstore

import (
	"bytes"
	"context"
	"math"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// place is the key of an entry. No writer's name holds a NUL, so a writer's
// entries stand together, in order.
func place(writer string, position uint64) []byte {
	return append(append([]byte(writer), 0), number(position)...)
}

// entryAt reads the entry under a key, if it can be read and this is its place.
func entryAt(key, value []byte) (e ticket.Entry, ok bool) {
	e, err := ticket.ParseEntry(string(value))
	return e, err == nil && bytes.Equal(key, place(e.Writer, e.Position))
}

// PutEntries adds entries; see [sta.Store].
func (s *Store) PutEntries(ctx context.Context, entries []ticket.Entry) error {
	forked := false
	err := s.batch(ctx, func(tx *bolt.Tx) error {
		forked = false
		bucket := tx.Bucket(log)
		for i := range entries {
			key, signed := place(entries[i].Writer, entries[i].Position), []byte(entries[i].Signed)
			there := bucket.Get(key)
			if bytes.Equal(there, signed) {
				continue
			}
			if _, ok := entryAt(key, there); ok {
				forked = true
				continue
			}
			if err := bucket.Put(key, signed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.Changed()
	if forked {
		return sta.ErrFork
	}
	return nil
}

// Entries gives entries past the positions; see [sta.Store].
func (s *Store) Entries(ctx context.Context, after ticket.Positions, limit int) (logs map[string][]string, last ticket.Positions, err error) {
	logs, last = make(map[string][]string), make(ticket.Positions)
	err = s.view(ctx, func(tx *bolt.Tx) error {
		cursor := tx.Bucket(log).Cursor()
		for key, _ := cursor.First(); key != nil; {
			if err := ctx.Err(); err != nil {
				return err
			}
			name, _, _ := bytes.Cut(key, []byte{0})
			writer := string(name)
			if position := lastOf(cursor, writer); position > 0 {
				last[writer] = position
			}
			if limit > 0 && last[writer] > after[writer] {
				logs[writer] = entriesOf(cursor, writer, after[writer], limit)
				limit -= len(logs[writer])
			}
			key, _ = cursor.Seek(append([]byte(writer), 1)) // the next writer
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return logs, last, nil
}

// lastOf gives the position of a writer's last entry that can be read, 0 if
// there is none.
func lastOf(cursor *bolt.Cursor, writer string) uint64 {
	key, value := cursor.Seek(place(writer, math.MaxUint64))
	if key == nil {
		key, value = cursor.Last()
	}
	for start := place(writer, 0); bytes.Compare(key, start) >= 0; key, value = cursor.Prev() {
		// The first may be the next writer's.
		if e, ok := entryAt(key, value); ok && e.Writer == writer {
			return e.Position
		}
	}
	return 0
}

// entriesOf gives up to limit of a writer's entries past a position, of those
// that can be read.
func entriesOf(cursor *bolt.Cursor, writer string, after uint64, limit int) []string {
	var signed []string
	end := place(writer, math.MaxUint64)
	key, value := cursor.Seek(place(writer, after+1))
	for ; key != nil && bytes.Compare(key, end) <= 0 && len(signed) < limit; key, value = cursor.Next() {
		if e, ok := entryAt(key, value); ok {
			signed = append(signed, e.Signed)
		}
	}
	return signed
}

// DropEntries removes entries; see [sta.Store].
func (s *Store) DropEntries(ctx context.Context, upTo ticket.Positions) error {
	return s.batch(ctx, func(tx *bolt.Tx) error {
		cursor := tx.Bucket(log).Cursor()
		for writer, position := range upTo {
			start, end := place(writer, 0), place(writer, position)
			// Sought anew each time, for the cursor may not go on after Delete.
			for key, _ := cursor.Seek(start); key != nil && bytes.Compare(key, end) <= 0; key, _ = cursor.Seek(start) {
				if err := cursor.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
