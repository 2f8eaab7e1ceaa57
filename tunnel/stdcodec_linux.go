package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// stdCodec is crypto/tls, upon a connection in memory.
type stdCodec struct {
	conn  *tls.Conn
	mem   memory
	early early
	fresh bool // crypto/tls may have read more in set-up than it gave
}

func (c *stdCodec) receive(client *socket, large bool) (*load, error) {
	if l := c.early.take(); l != nil {
		return l, nil
	}
	if c.fresh {
		c.fresh = false
		if l, err := c.read(large); l != nil || !isNoWait(err) || !client.readable {
			return l, err
		}
	}
	raw := takeLoad(large)
	defer raw.release()
	n, err := client.read(raw.buf[:raw.room()])
	switch {
	case err == io.EOF:
		c.mem.ended = true
	case err != nil:
		return nil, err
	}
	c.mem.fed = raw.buf[:n]
	l, err := c.read(large)
	if l != nil {
		l.filled = n == raw.room()
	}
	c.mem.fed = nil // it has all been read, or there was an error, which is final
	return l, err
}

// read gives what crypto/tls makes of what it was fed. There is room for that and
// for a record whose beginning it had before.
func (c *stdCodec) read(large bool) (*load, error) {
	l := takeLoad(large)
	for at := 0; ; {
		n, err := c.conn.Read(l.buf[at:])
		l.add(at, at+n)
		at += n
		if err == nil {
			continue
		}
		l.content = l.left
		if at == 0 {
			l.release()
			l = nil
		}
		return l, err
	}
}

func (c *stdCodec) send(service *socket, large bool) (*load, error) {
	plain := takeLoad(large)
	defer plain.release()
	n, err := service.read(plain.buf[:plain.room()])
	if err != nil {
		return nil, err
	}
	c.mem.out = takeLoad(large)
	_, err = c.conn.Write(plain.buf[:n])
	l := c.owed()
	if err != nil {
		l.release()
		return nil, err
	}
	l.filled = n == plain.room()
	l.content = n
	return l, nil
}

func (c *stdCodec) holds() bool { return c.fresh || len(c.early) > 0 }

// crypto/tls answers a request for new keys at once, from within Read.
func (c *stdCodec) owes() bool { return c.mem.out != nil }

func (c *stdCodec) owed() *load {
	l := c.mem.out
	c.mem.out = nil
	return l
}

// end is close_notify: crypto/tls says by itself what the client did wrong.
func (c *stdCodec) end(l *load, brokeOff bool) error {
	if brokeOff {
		return nil
	}
	c.mem.out = l
	defer c.owed()
	return c.conn.CloseWrite()
}

func (c *stdCodec) closeWrite(*socket) error { return nil }
func (c *stdCodec) awake() bool              { return false }
func (c *stdCodec) rest()                    {}

func (c *stdCodec) wipe() {
	if c.mem.out != nil {
		c.owed().release()
	}
}

// memory is the connection that crypto/tls has under a parked tunnel. What the
// tunnel has read it is fed record by record, which keeps the buffer small that it
// reads into: it grows to hold whatever it is given, and is never given back.
type memory struct {
	fed     []byte
	ended   bool // nothing more comes
	records boundary
	out     *load
}

var errOverflow = &net.OpError{Op: "write", Net: "memory", Err: unix.ENOBUFS}

func (m *memory) Read(p []byte) (int, error) {
	switch {
	case len(m.fed) > 0:
		n := copy(p[:min(len(p), m.records.left())], m.fed)
		m.records.pass(m.fed[:n])
		m.fed = m.fed[n:]
		return n, nil
	case m.ended:
		return 0, io.EOF
	default:
		return 0, errNoWait
	}
}

func (m *memory) Write(p []byte) (int, error) {
	if m.out == nil {
		m.out = takeLoad(false)
	}
	l := m.out
	if len(p) > len(l.buf)-l.end {
		return 0, errOverflow // more than there was to say for what was read
	}
	at := l.end
	l.add(at, at+copy(l.buf[at:], p))
	return len(p), nil
}

func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return nil }
func (m *memory) RemoteAddr() net.Addr             { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
