package exchange

import (
	"net"
	"syscall"
	"time"
)

// meter reads and writes, and knows for how long it had to wait for the other side.
// Its owner is one goroutine.
type meter struct {
	conn   net.Conn
	raw    syscall.RawConn // nil if conn has no descriptor to offer
	waited time.Duration

	// Of the call under way. The two functions are made once, for a method value
	// would be made anew for every call.
	rest              []byte
	n                 int
	err               error
	blocked           time.Time
	tryRead, tryWrite func(fd uintptr) bool
}

func newMeter(conn net.Conn) *meter {
	m := &meter{conn: conn}
	if c, ok := conn.(syscall.Conn); ok && rawCalls {
		if raw, err := c.SyscallConn(); err == nil {
			m.raw, m.tryRead, m.tryWrite = raw, m.readOnce, m.writeAll
		}
	}
	return m
}

// Read is the connection's. Without a descriptor all of its time counts as waited.
func (m *meter) Read(b []byte) (int, error) {
	if m.raw == nil || len(b) == 0 {
		defer m.stopwatch(time.Now())
		return m.conn.Read(b)
	}
	m.begin(b)
	return m.end(m.raw.Read(m.tryRead))
}

// Write is the connection's. Without a descriptor all of its time counts as waited.
func (m *meter) Write(b []byte) (int, error) {
	if m.raw == nil || len(b) == 0 {
		defer m.stopwatch(time.Now())
		return m.conn.Write(b)
	}
	m.begin(b)
	return m.end(m.raw.Write(m.tryWrite))
}

func (m *meter) stopwatch(began time.Time) { m.waited += time.Since(began) }

func (m *meter) begin(b []byte) {
	m.rest, m.n, m.err, m.blocked = b, 0, nil, time.Time{}
}

// end lets go of the buffer, which is on loan, and returns what became of the call.
func (m *meter) end(err error) (int, error) {
	m.rest = nil
	if err != nil { // the deadline, or the connection was closed
		m.resume()
		return m.n, err
	}
	return m.n, m.err
}

// block notes that there was nothing to do; resume, that there is again.
func (m *meter) block() { m.blocked = time.Now() }

func (m *meter) resume() {
	if !m.blocked.IsZero() {
		m.waited += time.Since(m.blocked)
		m.blocked = time.Time{}
	}
}
