package revlog

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta/ticket"
)

// sum is over the records of a file; see the buckets.
type sum [sha256.Size]byte

// toggle adds a record, or takes it away.
func (s *sum) toggle(bucket, key, value []byte) {
	h := sha256.New()
	var lengths [8]byte
	binary.BigEndian.PutUint32(lengths[:], uint32(len(bucket)))
	binary.BigEndian.PutUint32(lengths[4:], uint32(len(key)))
	for _, part := range [][]byte{lengths[:], bucket, key, value} {
		_, _ = h.Write(part)
	}
	var record sum
	h.Sum(record[:0])
	subtle.XORBytes(s[:], s[:], record[:])
}

// change is one transaction that writes.
type change struct {
	tx  *bolt.Tx
	sum sum
}

func (c *change) put(bucket, key, value []byte) error {
	b := c.tx.Bucket(bucket)
	if old := b.Get(key); old != nil {
		c.sum.toggle(bucket, key, old)
	}
	c.sum.toggle(bucket, key, value)
	return b.Put(key, value)
}

func (c *change) remove(bucket, key []byte) error {
	b := c.tx.Bucket(bucket)
	if old := b.Get(key); old != nil {
		c.sum.toggle(bucket, key, old)
	}
	return b.Delete(key)
}

type loader struct {
	writers map[string]*writer
	sum     sum
}

func (l *loader) note(name, value []byte) error {
	l.sum.toggle(notes, name, value)
	return nil
}

func (l *loader) from(name, value []byte) error {
	l.sum.toggle(from, name, value)
	if len(value) != 8+len(ticket.Hash{})+8 {
		return &DamagedError{"from", errors.New("a value of the wrong length")}
	}
	w := &writer{from: binary.BigEndian.Uint64(value)}
	copy(w.last[:], value[8:])
	w.forgot = time.Unix(int64(binary.BigEndian.Uint64(value[8+len(w.last):])), 0).UTC()
	l.writers[string(name)] = w
	return nil
}

func (l *loader) entry(key, value []byte) error {
	l.sum.toggle(entries, key, value)
	e, err := ticket.ParseEntry(string(value))
	if err != nil {
		return &DamagedError{"an entry", err}
	}
	w := l.writers[e.Writer]
	if w == nil {
		w = &writer{}
		l.writers[e.Writer] = w
	}
	if !bytes.Equal(key, place(e.Writer, e.Position)) || e.Position != w.position()+1 || e.Previous != w.last {
		return &DamagedError{"entry " + e.Ref().String(), ErrGap}
	}
	w.entries, w.last = append(w.entries, e), e.Hash()
	return nil
}

// begins tells whether the log is known to begin with e.
func (c *change) begins(e *ticket.Entry) bool {
	value := c.tx.Bucket(from).Get([]byte(e.Writer))
	return len(value) >= 8 && binary.BigEndian.Uint64(value) == e.Position-1
}

func (c *change) putFrom(name string, w *writer) error {
	value := binary.BigEndian.AppendUint64(nil, w.from)
	hash := w.before()
	value = append(value, hash[:]...)
	return c.put(from, []byte(name), binary.BigEndian.AppendUint64(value, uint64(w.forgot.Unix())))
}

// clear removes a writer's entries before a position.
func (c *change) clear(name string, position uint64) error {
	end := place(name, position)
	var gone [][]byte
	cursor := c.tx.Bucket(entries).Cursor()
	for key, _ := cursor.Seek(place(name, 0)); key != nil && bytes.Compare(key, end) < 0; key, _ = cursor.Next() {
		gone = append(gone, bytes.Clone(key))
	}
	for _, key := range gone {
		if err := c.remove(entries, key); err != nil {
			return err
		}
	}
	return nil
}
