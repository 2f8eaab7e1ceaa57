package tunnel

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/tunnel/record"
)

// How much is read from a descriptor at once: a little, or after a read that
// could have found more, a lot. With the large size a system call moves 16
// records.
const (
	smallRead = 32 << 10
	largeRead = 256 << 10

	// slot is a record that is sealed in place.
	slot = record.HeaderSize + record.MaxContent + record.TrailerSize
	// loadSlack is what a buffer has room for beside what is read: the rest of a
	// record that began before, or the headers and trailers of 16 records to be
	// and the control records before them.
	loadSlack = 17 << 10
	// maxVecs is how many pieces a load may be in.
	maxVecs = 64
	// joinBelow is from how many bytes on a piece is left where it is. Smaller ones
	// are moved up to the one before, which is cheaper than their own vector.
	joinBelow = 2 << 10
)

// load is bytes on their way: read from one side, and not yet taken by the other.
// A tunnel has one only while it moves something, or is held up by a receiver that
// takes nothing.
type load struct {
	large bool
	buf   []byte

	vecs    [maxVecs]unix.Iovec // what is still to be written
	from, n int                 // vecs[from:n]
	end     int                 // where in buf the last vec ends
	left    int                 // bytes in all of them
	total   int                 // what left was before anything was written
	content int                 // how many bytes of the tunnel they stand for
	filled  bool                // the read that it comes from may have left some behind
}

var (
	smallLoads = sync.Pool{New: func() any { return &load{buf: make([]byte, smallRead+loadSlack)} }}
	largeLoads = sync.Pool{New: func() any { return &load{buf: make([]byte, largeRead+loadSlack), large: true} }}
)

func takeLoad(large bool) *load {
	if large {
		return largeLoads.Get().(*load)
	}
	return smallLoads.Get().(*load)
}

// room is how much is read into it at once.
func (l *load) room() int { return len(l.buf) - loadSlack }

// release gives the load back. What it holds is ciphertext of a stream between a
// device and its service; readers of the next load get only what was read into it.
func (l *load) release() {
	l.empty()
	if l.large {
		largeLoads.Put(l)
	} else {
		smallLoads.Put(l)
	}
}

// empty makes it have nothing to write.
func (l *load) empty() {
	clear(l.vecs[:l.n])
	l.from, l.n, l.end, l.left, l.total, l.content, l.filled = 0, 0, 0, 0, 0, 0, false
}

// taken is how many of the tunnel's bytes the receiver has.
func (l *load) taken() int64 {
	if l.left == 0 {
		return int64(l.content)
	}
	return int64(l.content) * int64(l.total-l.left) / int64(l.total)
}

func (l *load) size() int { return len(l.buf) }

// add appends buf[from:to], which lies behind all that was added before, to what is
// to be written.
func (l *load) add(from, to int) {
	size := to - from
	if size == 0 {
		return
	}
	if l.n > 0 && (from == l.end || size < joinBelow || l.n == maxVecs) {
		if from != l.end {
			copy(l.buf[l.end:], l.buf[from:to])
		}
		last := &l.vecs[l.n-1]
		last.SetLen(int(last.Len) + size)
		l.end += size
	} else {
		l.vecs[l.n].Base = &l.buf[from]
		l.vecs[l.n].SetLen(size)
		l.n++
		l.end = to
	}
	l.left += size
	l.total += size
}

// wrote takes n bytes off the front.
func (l *load) wrote(n int) {
	l.left -= n
	for n > 0 {
		v := &l.vecs[l.from]
		if n < int(v.Len) {
			v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
			v.SetLen(int(v.Len) - n)
			return
		}
		n -= int(v.Len)
		*v = unix.Iovec{}
		l.from++
	}
}

func (l *load) pending() []unix.Iovec { return l.vecs[l.from:l.n] }
