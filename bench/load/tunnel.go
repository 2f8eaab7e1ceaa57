package load

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// tunnel is one that stands.
type tunnel struct {
	net.Conn
	all   *tunnels
	held  bool // there to be held
	early bool // opened before the ramp ended
}

// Close ends it, if it has not ended.
func (t *tunnel) Close() error {
	if !t.all.remove(t) {
		return nil
	}
	return t.Conn.Close()
}

// tunnels are all that stand, so that the end of a run can end them.
type tunnels struct {
	rec    *recorder
	mu     sync.Mutex
	open   map[*tunnel]struct{}
	closed bool
}

// add takes a connection in; it is closed at once if the run is over.
func (s *tunnels) add(conn net.Conn) *tunnel {
	t := &tunnel{Conn: conn, all: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		abort(conn)
		return t
	}
	s.open[t] = struct{}{}
	s.rec.tunnels.Add(1)
	return t
}

func (s *tunnels) remove(t *tunnel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.open[t]
	if there {
		delete(s.open, t)
		s.rec.tunnels.Add(-1)
	}
	return there
}

// abort ends all, now and for good. What reads or writes on them fails.
func (s *tunnels) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for t := range s.open {
		abort(t.Conn)
		s.rec.tunnels.Add(-1)
	}
	clear(s.open)
}

// abort closes without saying goodbye: TLS would wait until the peer takes it.
func abort(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// open opens a tunnel for device k, for something that is due at at.
func (c *client) open(ctx context.Context, k uint64, at time.Time) (*tunnel, error) {
	ctx, cancel := context.WithDeadline(ctx, at.Add(c.plan.Patience))
	defer cancel()
	conn, err := c.dialer.dial(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.tunnels.add(conn), nil
}

// hold marks a tunnel as one of those that are held.
func (c *client) hold(t *tunnel) *tunnel {
	t.held, t.early = true, c.rec.hold()
	return t
}

// drop closes a tunnel that failed, end also one that has served its time.
func (c *client) drop(ctx context.Context, t *tunnel) { c.end(ctx, t, false) }

func (c *client) end(ctx context.Context, t *tunnel, asked bool) {
	if t.held && ctx.Err() == nil {
		t.held = false
		c.rec.letGo(t.early, asked)
	}
	_ = t.Close()
}

// step does one exchange as the step name of what is due at at. Latency is from from.
// It returns the service's share.
func (c *client) step(t *tunnel, name string, at, from time.Time, a exchange.Ask) (time.Duration, error) {
	if err := t.SetDeadline(from.Add(c.plan.Patience)); err != nil {
		return 0, err
	}
	a.Write = c.plan.Scenario.Write
	answer, err := c.talk.Do(t, a, c.rec.moved)
	if err == nil {
		c.rec.took(name, at, from, answer.Late)
	}
	return answer.Late, err
}

// watch waits until then, and returns nil if the tunnel stood all the time. Nothing
// may come meanwhile. It costs nothing but the goroutine.
func (t *tunnel) watch(until time.Time) error {
	if err := t.SetReadDeadline(until); err != nil {
		return err
	}
	var b [1]byte
	switch n, err := t.Read(b[:]); {
	case n > 0:
		return exchange.ErrGarbled
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	default:
		return err
	}
}
