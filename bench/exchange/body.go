package exchange

import (
	"encoding/binary"
	"sync"
)

const (
	blockSize = 4 << 10
	stampSize = 8
	// chunk is what either end reads or writes at a time.
	chunk = 64 << 10
)

// body is one body's contents: what every block begins with. Between those there is
// whatever was in the buffer.
type body uint64

// upBody and downBody differ, so that bytes that turned round are seen.
func upBody(key uint64) body   { return body(key) }
func downBody(key uint64) body { return body(^key) }

// stamp is what block n begins with. It is the finisher of splitmix64: neighbours
// look nothing alike.
func (c body) stamp(n int64) (s [stampSize]byte) {
	x := uint64(c) + uint64(n+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	binary.BigEndian.PutUint64(s[:], x^x>>31)
	return s
}

// fill makes b the part of the body that begins at offset at.
func (c body) fill(b []byte, at int64) {
	c.each(b, at, func(part, stamp []byte) bool { copy(part, stamp); return true })
}

// good says whether b can be the part of the body that begins at offset at.
func (c body) good(b []byte, at int64) bool {
	return c.each(b, at, func(part, stamp []byte) bool { return string(part) == string(stamp) })
}

// each calls do for every stamp, or part of one, that falls into b, until do
// returns false.
func (c body) each(b []byte, at int64, do func(part, stamp []byte) bool) bool {
	for n := at / blockSize; n*blockSize < at+int64(len(b)); n++ {
		stamp := c.stamp(n)
		first := max(n*blockSize, at)
		last := min(n*blockSize+stampSize, at+int64(len(b)))
		if first >= last {
			continue
		}
		if !do(b[first-at:last-at], stamp[first-n*blockSize:last-n*blockSize]) {
			return false
		}
	}
	return true
}

// buffer holds a head and a chunk behind it, so that they go out in one write.
type buffer [askSize + chunk]byte

// buffers are lent while a body flows.
type buffers struct{ pool sync.Pool }

func (p *buffers) lend() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return new(buffer)
}

func (p *buffers) back(b *buffer) { p.pool.Put(b) }
