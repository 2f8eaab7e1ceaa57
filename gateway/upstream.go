package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// MaxSources is the most source addresses that an Upstream may have.
const MaxSources = 64

// UpstreamConfig says how services are connected to. The zero value leaves all to
// the kernel.
type UpstreamConfig struct {
	// Sources are addresses of this machine, at most MaxSources. A connection comes
	// from the one of its family that has the fewest to the same service; one whose
	// ports are used up, or that the machine has lost, is passed over. To a family
	// that has none here the kernel chooses, as it does for an empty list.
	Sources []netip.Addr
	// UserTimeout is how long what was sent may go unacknowledged before the
	// connection fails, to the millisecond (RFC 5482). It also takes the place of
	// the count of keep-alive probes: if it is shorter than they take, a single lost
	// one ends an idle tunnel. 0 leaves it to the kernel.
	UserTimeout time.Duration
	// PortsLow is told when nine tenths of a source's ports to a service are in
	// use, and again only after it were fewer than eight tenths. It is called while
	// a tunnel is being set up, and must not block. It may be nil.
	PortsLow func(PortUse)
}

// Upstream is the way to the services: where connections come from, what is set on
// them, and how many there are. A nil Upstream sets and counts nothing.
type Upstream struct {
	config UpstreamConfig
	ports  ports
}

// NewUpstream makes an Upstream. A source that this machine does not have is an
// error, which wraps EADDRNOTAVAIL.
func NewUpstream(c UpstreamConfig) (*Upstream, error) {
	if len(c.Sources) > MaxSources {
		return nil, fmt.Errorf("%d source addresses are more than %d", len(c.Sources), MaxSources)
	}
	sources := make([]netip.Addr, len(c.Sources))
	for i, source := range c.Sources {
		sources[i] = source.Unmap()
		if err := has(sources[i]); err != nil {
			return nil, fmt.Errorf("%s is no address that connections can come from here: %w", source, err)
		}
	}
	c.Sources = sources
	u := &Upstream{config: c}
	u.ports.size = portRange()
	return u, nil
}

// has tells whether a connection may come from the address. Only the kernel knows:
// there are addresses that are on no interface, such as all of 127.0.0.0/8.
func has(addr netip.Addr) error {
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return syscall.EADDRNOTAVAIL
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// prepare sets what a socket must have before it connects.
func (u *Upstream) prepare(c syscall.RawConn) error {
	if u == nil {
		return prepareSocket(c, 0)
	}
	return prepareSocket(c, u.config.UserTimeout)
}

// connect dials a service from one source after the other, as long as it is for
// the source that one fails, and counts the connection. Without a source for the
// family it dials from usual, which may be zero.
func (u *Upstream) connect(to, usual netip.AddrPort, dial func(from netip.AddrPort) (*net.TCPConn, error)) (*net.TCPConn, error) {
	if u == nil {
		return dial(usual)
	}
	var tried sourceSet
	var failed error
	for {
		n, nearlyFull := u.ports.enterFewest(u.config.Sources, tried, to)
		if n < 0 {
			if failed != nil {
				return nil, failed
			}
			return u.connectUnbound(to, usual, dial)
		}
		tried.add(n)
		conn, err := u.connectFrom(pair{u.config.Sources[n], to}, nearlyFull, dial)
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
		failed = err
	}
}

// connectFrom dials from a source at which the connection is counted already.
func (u *Upstream) connectFrom(p pair, nearlyFull bool, dial func(from netip.AddrPort) (*net.TCPConn, error)) (conn *net.TCPConn, err error) {
	defer func() {
		if conn == nil { // it failed, or a panic is on its way up
			u.ports.leave(p)
		}
	}()
	if nearlyFull {
		u.warn(p)
	}
	return dial(netip.AddrPortFrom(p.from, 0))
}

// connectUnbound counts the connection where the kernel let it come from.
func (u *Upstream) connectUnbound(to, usual netip.AddrPort, dial func(from netip.AddrPort) (*net.TCPConn, error)) (*net.TCPConn, error) {
	conn, err := dial(usual)
	if err != nil {
		return nil, err
	}
	p := pair{addrPort(conn.LocalAddr()).Addr(), to}
	if nearlyFull := u.ports.enter(p); nearlyFull {
		u.warn(p)
	}
	return conn, nil
}

// warn tells of a pair that is nearly full, unless there are more ports by now
// than there were.
func (u *Upstream) warn(p pair) {
	u.ports.resize(portRange())
	if use, nearlyFull := u.ports.look(p); nearlyFull && u.config.PortsLow != nil {
		u.config.PortsLow(use)
	}
}

// hungUp is told the two ends of each connection that dial gave, once that has
// ended. Those of a stream that dial did not give, such as the gateway's DNS, do
// nothing.
func (g *Gateway) hungUp(from, to netip.AddrPort) {
	if !to.IsValid() {
		return
	}
	if u := g.config.Upstream; u != nil {
		u.ports.leave(pair{from.Addr(), to})
	}
}

// Ports tells of the ports that are in use towards services, the fullest pairs of
// source and service first, and of no more than a hundred.
func (g *Gateway) Ports() []PortUse {
	u := g.config.Upstream
	if u == nil {
		return nil
	}
	u.ports.resize(portRange())
	return u.ports.fullest()
}
