package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

const (
	// attemptDelay is how long one address is tried alone before the next one
	// is tried beside it (RFC 8305 §5).
	attemptDelay = 250 * time.Millisecond
	// maxAttempts bounds the addresses that are tried for one tunnel.
	maxAttempts = 8
)

// errDefect is what came of an attempt that panicked.
var errDefect = errors.New("a defect ended the attempt")

// dial connects to one of the addresses that were found good; ctx bounds the
// whole. Most services have one address, and it needs no more than an attempt:
// what it takes to choose among several would be a good part of the cost.
//
// The connection is counted until hungUp or dismiss is told of it, once.
func (g *Gateway) dial(ctx context.Context, t *trial) (tunnel.Stream, error) {
	var conn *net.TCPConn
	var err error
	if len(t.good) == 1 {
		conn, err = g.attempt(ctx, t, t.good[0])
	} else {
		conn, err = g.race(ctx, t)
	}
	if err != nil {
		return nil, refuseDial(err)
	}
	return conn, nil
}

// outcome is what came of an attempt.
type outcome struct {
	conn *net.TCPConn
	err  error
}

// race tries the addresses in turn, each with a head start, and the first to
// answer wins (RFC 8305). The error is the first one's.
func (g *Gateway) race(ctx context.Context, t *trial) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addrs := interleave(t.good)
	addrs = addrs[:min(len(addrs), maxAttempts)]
	// Room for every outcome: an attempt that loses never waits for anyone.
	outcomes := make(chan outcome, len(addrs))
	enter := func(addr netip.Addr) {
		conn, err := g.attempt(ctx, t, addr)
		outcomes <- outcome{conn, err}
	}
	var first error
	next, open := 0, 0
	delay := time.NewTimer(0)
	defer delay.Stop()
	for next < len(addrs) || open > 0 {
		start := delay.C
		if next == len(addrs) {
			start = nil
		}
		select {
		case <-start:
			go enter(addrs[next])
			next, open = next+1, open+1
			delay.Reset(attemptDelay)
		case o := <-outcomes:
			open--
			if o.err == nil {
				cancel()
				g.dismissLosers(open, outcomes)
				return o.conn, nil
			}
			if first == nil {
				first = o.err
			}
			delay.Reset(0) // a failure brings the next one forward
		}
	}
	return nil, first
}

// dismissLosers waits for the attempts that are still open, which the cancelled
// context ends at once, and closes those that had connected all the same.
func (g *Gateway) dismissLosers(open int, outcomes <-chan outcome) {
	for range open {
		if o := <-outcomes; o.err == nil {
			g.dismiss(o.conn)
		}
	}
}

// dismiss closes a service's connection that is to become no tunnel's.
func (g *Gateway) dismiss(service tunnel.Stream) {
	from, to := addrPort(service.LocalAddr()), addrPort(service.RemoteAddr())
	_ = service.Close()
	if over := dnsBehind(service); over != nil {
		<-over
	}
	g.hungUp(from, to)
}

// attempt connects to one address. A panic is told of, and fails this address
// alone.
func (g *Gateway) attempt(ctx context.Context, t *trial, addr netip.Addr) (conn *net.TCPConn, err error) {
	err = errDefect // unless connect returns
	defer t.on.panicked.catch()
	conn, err = g.connect(ctx, t, netip.AddrPortFrom(addr, t.ask.Port))
	return conn, err
}

// connect dials one address, from a source of the snapshot's.
func (g *Gateway) connect(ctx context.Context, t *trial, to netip.AddrPort) (*net.TCPConn, error) {
	up := g.config.Upstream
	dialer := g.config.Dialer
	dialer.ControlContext = func(_ context.Context, _, address string, c syscall.RawConn) error {
		// What the kernel is about to connect to, whatever happened before.
		to, err := netip.ParseAddrPort(address)
		if err == nil {
			err = t.address.Check(t.listed(), to)
		}
		if err == nil {
			err = up.prepare(c)
		}
		return err
	}
	return up.connect(to, addrPort(dialer.LocalAddr), func(from netip.AddrPort) (*net.TCPConn, error) {
		return dialer.DialTCP(ctx, "tcp", from, to)
	})
}

// interleave alternates the address families, beginning with that of the first
// address, and keeps the order within each (RFC 8305 §4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var same, other []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			same = append(same, addr)
		} else {
			other = append(other, addr)
		}
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			mixed = append(mixed, same[i])
		}
		if i < len(other) {
			mixed = append(mixed, other[i])
		}
	}
	return mixed
}

func addrPort(addr net.Addr) netip.AddrPort {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
