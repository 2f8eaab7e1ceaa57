package tunnel

import "sync"

// The sizes of buffers that streams are read into. A read that fills its buffer
// earns the next one a larger buffer: the middle size is that of a TLS record's
// content, and with the large one a system call moves 16 records. A read that
// would have fitted into less goes back.
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

// buffer is a size that was earned and, between bytes and release, a buffer of
// that size: one of the three pointers; the others are nil. Pointers to arrays
// go in and out of a pool without an allocation, where a slice would cost one.
// The zero buffer has the smallest size, and holds nothing.
type buffer struct {
	size   int // waitSize, recordSize or bulkSize; zero means waitSize
	wait   *[waitSize]byte
	record *[recordSize]byte
	bulk   *[bulkSize]byte
}

// bytes is the buffer held; if there is none it takes one out of its pool.
func (b *buffer) bytes() []byte {
	switch b.size {
	case bulkSize:
		if b.bulk == nil {
			b.bulk = bulkBuffers.Get().(*[bulkSize]byte)
		}
		return b.bulk[:]
	case recordSize:
		if b.record == nil {
			b.record = recordBuffers.Get().(*[recordSize]byte)
		}
		return b.record[:]
	default:
		if b.wait == nil {
			b.wait = waitBuffers.Get().(*[waitSize]byte)
		}
		return b.wait[:]
	}
}

// fit sets the size for the read after one of n bytes. A buffer of another size
// is given back.
func (b *buffer) fit(n int) {
	size := waitSize
	switch {
	case n >= recordSize:
		size = bulkSize
	case n >= waitSize:
		size = recordSize
	}
	if size != b.size {
		b.release()
		b.size = size
	}
}

// isSmall tells whether the last read has not earned more.
func (b *buffer) isSmall() bool { return b.size <= waitSize }

// release gives the buffer back and keeps the size. What it holds is the
// streams' own ciphertext or, with no TLS inside, some tunnel's plain bytes:
// readers get only what was read into it since.
func (b *buffer) release() {
	switch {
	case b.bulk != nil:
		bulkBuffers.Put(b.bulk)
	case b.record != nil:
		recordBuffers.Put(b.record)
	case b.wait != nil:
		waitBuffers.Put(b.wait)
	}
	b.wait, b.record, b.bulk = nil, nil, nil
}
