package quic

import (
	"errors"
	"net"
	"syscall"
)

// socket is a UDP socket on which a packet that cannot be sent is a packet lost: that
// is what a phone without network is, for a moment. quic-go gives up a connection at
// the first error.
type socket struct{ *net.UDPConn }

// WriteMsgUDP is what quic-go sends by.
func (s socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	if err != nil && isLoss(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

// WriteTo is for callers who know no control messages.
func (s socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := s.UDPConn.WriteTo(b, addr)
	if err != nil && isLoss(err) {
		return len(b), nil
	}
	return n, err
}

func isLoss(err error) bool {
	for _, passing := range []error{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
		syscall.ENOBUFS, syscall.EPERM, syscall.ECONNREFUSED,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// How many datagrams, or as many runs of merged ones, are read at once. Each takes a
// buffer of 64 KiB, for as long as there is the socket: a listener has one socket for
// all connections, and a Dialer one for each.
const (
	listenerBuffers = 8
	dialerBuffers   = 2
)

// forgiving makes a UDP socket such a one, and quick to read where it can be. Others
// it leaves as they are. Where it is quick it keeps to allowances, if there are any.
func forgiving(conn net.PacketConn, buffers int, allowed *allowances) net.PacketConn {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return conn
	}
	if quick, ok := mergeOn(udp, buffers, allowed); ok {
		return quick
	}
	return socket{udp}
}
