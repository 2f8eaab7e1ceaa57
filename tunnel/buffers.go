package tunnel

import "sync"

// The sizes of relay buffers. A direction waits for bytes with a small one: it
// may wait for an hour. Once a read fills it, a middle one follows, of the size
// of a TLS record's content, and then a large one, for which a system call
// moves 16 records. A read that would have fitted into less goes back.
const (
	waitSize   = 4 << 10
	recordSize = 16 << 10
	bulkSize   = 256 << 10
)

var (
	waitBuffers   = sync.Pool{New: func() any { return new([waitSize]byte) }}
	recordBuffers = sync.Pool{New: func() any { return new([recordSize]byte) }}
	bulkBuffers   = sync.Pool{New: func() any { return new([bulkSize]byte) }}
)

// buffer is one of the three; the others are nil. Pointers to arrays go in and
// out of a pool without an allocation, where a slice would cost one.
type buffer struct {
	wait   *[waitSize]byte
	record *[recordSize]byte
	bulk   *[bulkSize]byte
}

func idleBuffer() buffer {
	return buffer{wait: waitBuffers.Get().(*[waitSize]byte)}
}

func (b buffer) bytes() []byte {
	switch {
	case b.bulk != nil:
		return b.bulk[:]
	case b.record != nil:
		return b.record[:]
	default:
		return b.wait[:]
	}
}

// fitting returns the buffer for the read after one of n bytes, and gives b
// back if that is another one.
func (b buffer) fitting(n int) buffer {
	switch {
	case n == len(b.bytes()) && b.wait != nil:
		b.release()
		return buffer{record: recordBuffers.Get().(*[recordSize]byte)}
	case n == len(b.bytes()) && b.record != nil:
		b.release()
		return buffer{bulk: bulkBuffers.Get().(*[bulkSize]byte)}
	case n < waitSize && b.wait == nil:
		b.release()
		return idleBuffer()
	case n < recordSize && b.bulk != nil:
		b.release()
		return buffer{record: recordBuffers.Get().(*[recordSize]byte)}
	}
	return b
}

// release gives the buffer back. What it holds is the streams' own ciphertext
// or, with no TLS inside, some tunnel's plain bytes: readers get only what was
// read into it since.
func (b buffer) release() {
	switch {
	case b.bulk != nil:
		bulkBuffers.Put(b.bulk)
	case b.record != nil:
		recordBuffers.Put(b.record)
	default:
		waitBuffers.Put(b.wait)
	}
}
