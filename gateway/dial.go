package gateway

import (
	"context"
	"errors"
	"fmt"
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

// dial connects to one of the addresses that were found good. They are tried in
// turn, each with a head start, and the first to answer wins (RFC 8305); ctx
// bounds the whole.
func (g *Gateway) dial(ctx context.Context, t *trial) (tunnel.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addrs := interleave(t.good)
	addrs = addrs[:min(len(addrs), maxAttempts)]

	dialer := g.config.Dialer
	dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		// What the kernel is about to connect to, whatever happened before.
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return t.address.Check(t.listed(), to)
	}
	type outcome struct {
		conn net.Conn
		err  error
	}
	// Room for every outcome: an attempt that loses never waits for anyone.
	outcomes := make(chan outcome, len(addrs))
	attempt := func(addr netip.Addr) {
		o := outcome{err: errDefect}
		defer func() { outcomes <- o }()
		defer t.on.panicked.catch()
		o.conn, o.err = dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, t.ask.Port).String())
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
			go attempt(addrs[next])
			next, open = next+1, open+1
			delay.Reset(attemptDelay)
		case o := <-outcomes:
			open--
			if o.err == nil {
				cancel()
				closeLosers(open, func() net.Conn { return (<-outcomes).conn })
				return asStream(o.conn)
			}
			if first == nil {
				first = o.err
			}
			delay.Reset(0) // a failure brings the next one forward
		}
	}
	return nil, refuseDial(first)
}

// closeLosers waits for the attempts that are still open, which the cancelled
// context ends at once, and closes those that had connected all the same.
func closeLosers(open int, next func() net.Conn) {
	for range open {
		if conn := next(); conn != nil {
			conn.Close()
		}
	}
}

func asStream(conn net.Conn) (tunnel.Stream, error) {
	stream, ok := conn.(tunnel.Stream)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("the dialer gave a %T, which cannot be half-closed", conn)
	}
	return stream, nil
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
