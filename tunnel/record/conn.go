package record

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

const (
	waitSize = 1 << 10   // to wait with
	readSize = MaxRecord // once there is more; a peer that stops within a record keeps as much
)

var (
	waitBuffers = sync.Pool{New: func() any { return new([waitSize]byte) }}
	readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}
)

// Conn is a Layer over a connection, for who reads and writes as with a
// tls.Conn. One goroutine may read while another writes, and a third closes.
// A Conn that waits in Read holds 1 KiB; one that nobody reads holds nothing.
type Conn struct {
	net.Conn // below
	closed   atomic.Bool

	readMu sync.Mutex // guards the opening side of layer, and the next five
	layer  *Layer     // nil after Release; both mutexes guard that
	buf    []byte     // nil when nothing is held
	r, w   int        // buf[r:w] is ciphertext
	plain  []byte     // of buf, opened and not yet read

	writeMu  sync.Mutex // guards the sealing side of layer, and the next
	writeErr error      // final: how much of a record has arrived is not known
}

// NewConn returns a Conn that goes on with a started Layer, which is its own
// from then on. ahead is what was read from below already.
func NewConn(below net.Conn, l *Layer, ahead []byte) *Conn {
	c := &Conn{Conn: below, layer: l}
	if len(ahead) > 0 {
		c.room(len(ahead))
		c.w = copy(c.buf, ahead)
	}
	return c
}

// Read waits for data, and fills p from all records that are here already. Its
// errors are those of Layer.Open; those of below, if they are no end, leave the
// Conn as good as before; and when below ends without a close_notify, they are
// ErrTruncated between two records and io.ErrUnexpectedEOF within one.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.layer == nil || c.closed.Load() {
		return 0, net.ErrClosed
	}
	got := 0
	for got < len(p) {
		if len(c.plain) > 0 {
			n := copy(p[got:], c.plain)
			c.plain = c.plain[n:]
			got += n
			continue
		}
		plain, n, err := c.layer.Open(c.buf[c.r:c.w])
		c.r += n
		c.plain = plain
		if c.layer.asks() {
			c.ask()
		}
		switch {
		case n > 0 && err == nil:
		case got > 0:
			c.tidy()
			return got, nil // errors of Open come again
		case err != nil:
			return 0, c.failed(err)
		default:
			if err := c.fill(); err != nil {
				return 0, err
			}
		}
	}
	c.tidy()
	return got, nil
}

// tidy lets go of the buffer if there is nothing left in it.
func (c *Conn) tidy() {
	if len(c.plain) == 0 && c.r == c.w {
		c.drop()
	}
}

// fill reads more of the record at the front, and all that is behind it. With
// nothing in hand it waits with a small buffer.
func (c *Conn) fill() error {
	if c.r == c.w {
		c.drop()
	}
	c.room(Need(c.buf[c.r:c.w]))
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	switch {
	case n > 0:
		return nil // an error will come again
	case err == nil:
		return io.ErrNoProgress
	case !errors.Is(err, io.EOF):
		return err
	case c.r < c.w:
		return io.ErrUnexpectedEOF
	}
	return ErrTruncated
}

// room makes room for a record of need bytes at the front, which is not whole.
func (c *Conn) room(need int) {
	held := c.buf[c.r:c.w]
	switch {
	case need <= len(c.buf)-c.r:
		return
	case need <= len(c.buf):
		c.r, c.w = 0, copy(c.buf, held)
		return
	}
	var into []byte
	switch {
	case need <= waitSize:
		into = waitBuffers.Get().(*[waitSize]byte)[:]
	case need <= readSize:
		into = readBuffers.Get().(*[readSize]byte)[:]
	default:
		into = make([]byte, need) // ahead, from elsewhere
	}
	n := copy(into, held)
	c.drop()
	c.buf, c.w = into, n
}

// drop lets go of the buffer, which has seen plaintext.
func (c *Conn) drop() {
	clear(c.buf[:c.w])
	switch len(c.buf) {
	case waitSize:
		waitBuffers.Put((*[waitSize]byte)(c.buf))
	case readSize:
		readBuffers.Put((*[readSize]byte)(c.buf))
	}
	c.buf, c.r, c.w, c.plain = nil, 0, 0, nil
}

// ask sends the KeyUpdate that asks for one, which cannot wait for the next
// Write: a peer that only sends may never cause one. If one is under way it has
// seen to it, or the next call here will.
func (c *Conn) ask() {
	if !c.writeMu.TryLock() {
		return
	}
	defer c.writeMu.Unlock()
	c.send(c.layer.AppendOwed(nil))
}

// failed tells the peer what it did wrong, if it did.
func (c *Conn) failed(err error) error {
	if wrong := (*Error)(nil); errors.As(err, &wrong) {
		c.part(wrong)
	}
	return err
}
