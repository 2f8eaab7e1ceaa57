package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// source is where bytes are waited for. A wait may last an hour, and there are
// a hundred thousand of them, so a source that can do so waits without a
// buffer, and takes one only for a read that has something to read.
//
// One goroutine uses it. Closing the stream below ends a wait.
type source interface {
	// next waits for bytes, which are good until next or release is called.
	// Some may come together with an error.
	next() ([]byte, error)
	// release gives back what the bytes are in.
	release()
}

func sourceOf(conn net.Conn) source {
	switch c := conn.(type) {
	case *tlsStream:
		return &tlsSource{stream: c}
	case *net.TCPConn:
		// Nothing but a TCP connection itself: what wraps one may do more than
		// read from its descriptor.
		if raw, err := c.SyscallConn(); err == nil {
			return newDescriptor(c, raw)
		}
	}
	return &plainSource{conn: conn}
}

// descriptor reads a socket. Each attempt takes a buffer, reads without
// waiting, and gives the buffer back if nothing was there; the runtime waits
// between attempts.
type descriptor struct {
	conn net.Conn // for what an error says
	raw  syscall.RawConn
	try  func(fd uintptr) (done bool) // attempt, bound once so that no read allocates
	buf  buffer
	n    int // of the last read
	err  error
}

func newDescriptor(conn net.Conn, raw syscall.RawConn) *descriptor {
	d := &descriptor{conn: conn, raw: raw}
	d.try = d.attempt
	return d
}

func (d *descriptor) next() ([]byte, error) {
	d.buf.fit(d.n)
	err := d.raw.Read(d.try)
	switch {
	case err != nil: // closed, or a deadline
		d.n = 0
	case d.err != nil:
		err = &net.OpError{
			Op: "read", Net: "tcp", Source: d.conn.LocalAddr(), Addr: d.conn.RemoteAddr(),
			Err: os.NewSyscallError("read", d.err),
		}
	case d.n == 0:
		err = io.EOF
	}
	if err != nil {
		d.buf.release()
		return nil, err
	}
	return d.buf.bytes()[:d.n], nil
}

func (d *descriptor) attempt(fd uintptr) (done bool) {
	for {
		n, err := syscall.Read(int(fd), d.buf.bytes())
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			d.buf.release()
			return false
		}
		d.n, d.err = max(n, 0), err
		return true
	}
}

func (d *descriptor) release() { d.buf.release() }

// tlsSource reads a client's stream. What is in crypto/tls already is taken
// without waiting; the wait is the wire's, which has no buffer either.
type tlsSource struct {
	stream *tlsStream
	buf    buffer
	n      int // of the last read
}

func (t *tlsSource) next() ([]byte, error) {
	t.buf.fit(t.n)
	for {
		if t.stream.wire.dry {
			t.buf.release()
			t.stream.wire.await()
		}
		p := t.buf.bytes()
		n, err := t.stream.readHere(p)
		if n > 0 || !isNoWait(err) {
			t.n = n
			return p[:n], err
		}
	}
}

func (t *tlsSource) release() {
	t.buf.release()
	t.stream.wire.drop()
}

// plainSource reads what has no descriptor, a pipe for one. It cannot know
// whether a read will wait, so it waits with the buffer that was earned.
type plainSource struct {
	conn net.Conn
	buf  buffer
	n    int // of the last read
}

func (s *plainSource) next() ([]byte, error) {
	s.buf.fit(s.n)
	p := s.buf.bytes()
	n, err := s.conn.Read(p)
	s.n = n
	return p[:n], err
}

func (s *plainSource) release() { s.buf.release() }
