package quic

import (
	"context"
	"net"
	"net/netip"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// gate counts connections, from their first packet to their end.
type gate struct {
	maxConnections, maxPerSource, maxUnproven int

	allowances *allowances

	mu       sync.Mutex // guards the rest; taken four times in a connection's life
	all      int
	unproven int                // handshakes with whoever may not be there
	sources  map[netip.Addr]int // without a tunnel so far, and proven to be there
	closed   bool
	empty    chan struct{} // closed when closed is set and all are gone
}

func newGate(c *Config) *gate {
	return &gate{
		maxConnections: c.MaxConnections, maxPerSource: c.MaxPerSource, maxUnproven: c.MaxUnproven,
		allowances: newAllowances(), sources: make(map[netip.Addr]int), empty: make(chan struct{}),
	}
}

// slot is a connection's place.
//
//	unproven ──┬─ handshake complete ─► counted ─ first tunnel ─► free ─► gone
//	           │                          ▲
//	Retry ─────┴──────────────────────────┘     gone may follow on any of them
type slot struct {
	gate   *gate
	remote netip.AddrPort
	source netip.Addr

	// gate.mu guards these.
	stage   slotStage
	arrived bool // the handshake is complete
}

type slotStage uint8

const (
	slotUnproven slotStage = iota
	slotCounted            // with its source
	slotFree
	slotGone
)

// slotKey is how a connection's context holds its slot: quic-go offers no other way
// to bring something from a connection's first packet to its Accept.
type slotKey struct{}

func slotOf(conn *quicgo.Conn) *slot {
	return conn.Context().Value(slotKey{}).(*slot)
}

// mustProve decides whether a client is to be asked for a proof of its address.
func (g *gate) mustProve(net.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unproven >= g.maxUnproven
}

// enter takes a place; the error is a refusal.
func (g *gate) enter(remote netip.AddrPort, proven bool) (*slot, *tunnel.Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil, &tunnel.Refusal{Status: 503, Label: tunnel.LabelCancelled, Text: "the listener is closed"}
	case g.all >= g.maxConnections:
		return nil, &tunnel.Refusal{Status: 503, Label: LabelConnections, Text: "as many connections as there may be"}
	}
	s := &slot{gate: g, remote: remote, source: sourceOf(remote.Addr())}
	switch {
	case !proven:
		g.unproven++
	case !g.count(s):
		return nil, sourceFull()
	}
	g.all++
	g.allowances.enter(remote, proven)
	return s, nil
}

func sourceFull() *tunnel.Refusal {
	return &tunnel.Refusal{Status: 503, Label: LabelSource, Text: "as many connections without a tunnel as one source may have"}
}

// close lets nobody in any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.all == 0 {
		close(g.empty)
	}
}

// count counts s with its source, if that has room. Called with mu held.
func (g *gate) count(s *slot) bool {
	if g.sources[s.source] >= g.maxPerSource {
		return false
	}
	g.sources[s.source]++
	s.stage = slotCounted
	return true
}

// uncount takes s out of whatever it is counted in but all. Called with mu held.
func (g *gate) uncount(s *slot) {
	switch s.stage {
	case slotUnproven:
		g.unproven--
	case slotCounted:
		if g.sources[s.source]--; g.sources[s.source] == 0 {
			delete(g.sources, s.source)
		}
	}
}

// arrive is for a complete handshake, which proves the address. False means that the
// source has too many.
func (s *slot) arrive() bool {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	s.over()
	s.arrived = true
	if s.stage != slotUnproven {
		return true
	}
	g.uncount(s)
	s.stage = slotFree
	return g.count(s)
}

// over is told that the handshake is complete, or will never be. Called with mu held.
func (s *slot) over() {
	if !s.arrived {
		s.gate.allowances.leave(s.remote)
	}
}

// settle is for a connection that has a tunnel: its source is not blamed for it.
func (s *slot) settle() {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.stage == slotCounted {
		s.gate.uncount(s)
		s.stage = slotFree
	}
}

// hasArrived tells whether the handshake was ever complete.
func (s *slot) hasArrived() bool {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return s.arrived
}

// leave gives the place back.
func (s *slot) leave() {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uncount(s)
	s.over()
	s.stage = slotGone
	if g.all--; g.closed && g.all == 0 {
		close(g.empty)
	}
}

// admit is the transport's ConnContext.
func (l *Listener) admit(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	s, refusal := l.gate.enter(addrPort(info.RemoteAddr), info.AddrVerified)
	if refusal != nil {
		l.refused(info.RemoteAddr, refusal)
		return nil, refusal
	}
	context.AfterFunc(ctx, func() {
		if !s.hasArrived() {
			l.refused(info.RemoteAddr, handshakeRefusal(context.Cause(ctx)))
		}
		s.leave()
	})
	return context.WithValue(ctx, slotKey{}, s), nil
}

// sourceOf is whom a client is counted with: an IPv4 address or an IPv6 /64.
func sourceOf(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().Addr()
}

// addrPort is a UDP address; an IPv4 one in IPv6 form is made IPv4.
func addrPort(addr net.Addr) netip.AddrPort {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
