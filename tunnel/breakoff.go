package tunnel

import (
	"errors"
	"math"
	"net"
	"syscall"
	"time"
)

// The peer of a tunnel that broke off is sent a reset when it has what it was sent; or
// has taken nothing more of it for partBound; or after mostParting, so that nobody is
// kept who takes a byte now and then.
const (
	partBound   = time.Second
	mostParting = 10 * partBound
)

// Break closes a stream whose tunnel broke off, so that its peer does not take what it
// got for the whole; but it gets it. Over TLS the connection ends without a
// close_notify (RFC 8446 section 6.1), over TCP with a reset, once the peer has
// acknowledged everything, or nothing for a second. A stream with a method Break has
// it called, and one of another kind is merely closed.
//
// It may be called while others read and write, and waits for that, 10 s at most; Abort
// ends the waiting.
func Break(s Stream) {
	switch s := s.(type) {
	case interface{ Break() }:
		s.Break()
	case *net.TCPConn:
		awaitSent(s)
		_ = s.SetLinger(0)
		_ = s.Close()
	default:
		_ = s.Close()
	}
}

// breakBelow ends a connection that TLS is upon. What the peer is still sending would
// have the kernel forget what it has not sent, so that goes first.
func breakBelow(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
		awaitSent(tcp)
	}
	_ = conn.Close()
}

// awaitSent waits until the peer's kernel has everything, within the bounds.
func awaitSent(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	awaitNone(func() (left int) {
		_ = raw.Control(func(fd uintptr) { left = unsent(int(fd)) })
		return left
	})
}

// awaitNone asks how much is left until it is nothing, within the bounds: the kernel
// tells nobody that a peer has acknowledged the last byte.
func awaitNone(left func() int) {
	began := time.Now()
	least, moved := math.MaxInt, began
	for pause := time.Millisecond; ; pause = min(2*pause, partBound/10) {
		n, now := left(), time.Now()
		if n < least {
			least, moved = n, now
		}
		if n == 0 || now.Sub(moved) > partBound || now.Sub(began) > mostParting {
			return
		}
		time.Sleep(pause)
	}
}

// isLost tells whether a write failed because the connection did, and that is told but
// once: a read finds an end then, which is none. A peer that had said all before finds
// another error (EPIPE).
func isLost(err error) bool {
	return errors.As(err, new(*net.OpError)) && !errors.Is(err, syscall.EPIPE) && !isCut(err)
}
