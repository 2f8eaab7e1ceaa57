package tunnel

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

var (
	errShed = errors.New("tunnel: shed to make room for others")
	errFull = errors.New("tunnel: as many tunnels as there may be")
)

const (
	// sampleSize is how many of the pending are looked at for a victim. A
	// source that has half of them is missed once in 65,536 times.
	sampleSize = 16
	// leaveBound is how long a victim has to be gone before another one is
	// shed. Its connection is closed and its context has ended, so it takes
	// longer only where a handler heeds neither.
	leaveBound = 10 * time.Millisecond
)

// visitor is one connection, from accept to its end.
//
//	 admit               settle            leave
//	───────→ pending ──────────────→ live ───────→
//	            ├── shed ──→ shed ───────────────→
//	            └────────────────────────────────→
type visitor struct {
	server   *Server
	serving  *sync.WaitGroup         // of the Serve that it came through
	conn     net.Conn                // nil once the tunnel is leased
	cancel   context.CancelCauseFunc // of what serves it; likewise, and only then: shed may be about to call it
	source   netip.Addr
	accepted time.Time

	// The server's mu guards these.
	tunnel Tunnel // nil until it is leased: it is ended in place of conn
	stage  visitorStage
	number uint64 // counted at admit: the older one has the lower
	index  int    // in crowd.pending, if it is there
}

type visitorStage int

const (
	visitorPending visitorStage = iota
	visitorShed
	visitorLive
)

func (s *Server) newVisitor(conn net.Conn, serving *sync.WaitGroup, cancel context.CancelCauseFunc) *visitor {
	return &visitor{
		server: s, serving: serving, conn: conn, cancel: cancel,
		source: sourceAddr(conn.RemoteAddr()), accepted: time.Now(),
	}
}

// sourceAddr is whom a connection is counted with: an IPv4 address or an IPv6
// /64, which is the least that one customer has; over anything but TCP and UDP the
// zero Addr.
func sourceAddr(remote net.Addr) netip.Addr {
	from, ok := remote.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Addr{}
	}
	addr := from.AddrPort().Addr().Unmap()
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().Addr()
}

// close ends the connection from this side, and frees its context.
func (v *visitor) close() {
	v.cancel(nil)
	_ = v.conn.Close()
}

// end ends what the visitor has, without waiting. Called with the server's mu held.
func (v *visitor) end() {
	if v.tunnel != nil {
		v.tunnel.Abort()
	} else {
		_ = v.conn.Close()
	}
}

// shed cuts the connection off. There is no answer: it would have to be waited
// for, by whom there is no room for.
func (v *visitor) shed() {
	v.cancel(errShed)
	abortConn(v.conn)
}

// admit makes v a pending one, once there is room; false means that the server
// is stopped.
func (s *Server) admit(call *serveCall, v *visitor) bool {
	for {
		admitted, victim := s.tryAdmit(v)
		if admitted {
			return true
		}
		if victim != nil {
			victim.shed()
		}
		if !s.awaitRoom(call) {
			return false
		}
	}
}

// tryAdmit makes v a pending one if there is room. If not, it names the one
// that is to go; there is none when all of them are going already.
func (s *Server) tryAdmit(v *visitor) (admitted bool, victim *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateClosed {
		return false, nil
	}
	if len(s.crowd.pending)+s.crowd.leaving < s.config.MaxPending {
		s.crowd.enter(v)
		return true, nil
	}
	victim = s.crowd.worst()
	if victim != nil {
		s.crowd.unpend(victim)
		victim.stage = visitorShed
		s.crowd.leaving++
	}
	return false, victim
}

// awaitRoom waits until somebody has left, but not for long; false means that
// the call is stopped.
func (s *Server) awaitRoom(call *serveCall) bool {
	timer := time.NewTimer(leaveBound)
	defer timer.Stop()
	select {
	case <-s.room:
	case <-timer.C:
	case <-call.stopped:
		return false
	}
	return true
}

// settle makes a pending visitor a live one, whom nobody sheds.
func (s *Server) settle(v *visitor) error {
	s.mu.Lock()
	full := s.crowd.live >= s.config.MaxStreams
	shed := v.stage == visitorShed
	if !full && !shed {
		s.crowd.unpend(v)
		v.stage = visitorLive
		s.crowd.live++
	}
	s.mu.Unlock()
	switch {
	case shed:
		return errShed
	case full:
		if s.config.Hooks.Full != nil {
			s.config.Hooks.Full()
		}
		return errFull
	}
	s.tellRoom()
	return nil
}

// leave is the end of a visitor.
func (s *Server) leave(v *visitor) {
	s.mu.Lock()
	s.crowd.leave(v)
	s.mu.Unlock()
	s.tellRoom()
}

func (s *Server) tellRoom() {
	select {
	case s.room <- struct{}{}:
	default: // told already
	}
}

// crowd is everybody who is here.
type crowd struct {
	all     map[*visitor]struct{}
	pending []*visitor         // in no order, for picking at random
	sources map[netip.Addr]int // of the pending ones, how many are from where
	leaving int                // shed, and not yet gone
	live    int
	number  uint64 // of who came last
}

func newCrowd() crowd {
	return crowd{all: make(map[*visitor]struct{}), sources: make(map[netip.Addr]int)}
}

func (c *crowd) enter(v *visitor) {
	c.number++
	v.stage, v.number, v.index = visitorPending, c.number, len(c.pending)
	c.all[v] = struct{}{}
	c.pending = append(c.pending, v)
	c.sources[v.source]++
}

// unpend takes v out of the pending ones; another one takes its place there.
func (c *crowd) unpend(v *visitor) {
	last := len(c.pending) - 1
	moved := c.pending[last]
	c.pending[v.index], moved.index = moved, v.index
	c.pending[last] = nil
	c.pending = c.pending[:last]
	if c.sources[v.source]--; c.sources[v.source] == 0 {
		delete(c.sources, v.source)
	}
}

func (c *crowd) leave(v *visitor) {
	delete(c.all, v)
	switch v.stage {
	case visitorPending:
		c.unpend(v)
	case visitorShed:
		c.leaving--
	case visitorLive:
		c.live--
	}
}

// worst looks at some of the pending ones, or at all if they are few, and
// returns the one whose source has most of them; of several, the oldest. It is
// nil if nobody is pending.
func (c *crowd) worst() *visitor {
	var worst *visitor
	look := func(v *visitor) {
		if worst == nil || c.sources[v.source] > c.sources[worst.source] ||
			c.sources[v.source] == c.sources[worst.source] && v.number < worst.number {
			worst = v
		}
	}
	if len(c.pending) <= sampleSize {
		for _, v := range c.pending {
			look(v)
		}
		return worst
	}
	for range sampleSize {
		look(c.pending[rand.IntN(len(c.pending))])
	}
	return worst
}
