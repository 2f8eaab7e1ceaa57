package quic

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	quicgo "github.com/quic-go/quic-go"
)

const (
	// amplification is how many times the bytes that came from an address may go to it
	// before it is proven (RFC 9000 section 8.1).
	amplification = 3
	// longestKept is the longest packet that waits for its allowance; handshakes have
	// none that is longer.
	longestKept = 1500
	// maxHeard bounds the addresses that are remembered without a connection, and
	// maxIDs what is remembered of one with handshakes.
	maxHeard, maxIDs = 256, 16
)

// allowances holds what goes to an address to three times what has come from it, for
// as long as nobody has shown to be there (RFC 9000 section 8.1). quic-go counts as
// well, but begins another packet whenever it is below the limit: one for each 1,201
// bytes that an attacker sends in a victim's name would make four.
//
//	a packet ─► heard ─► a connection's ─► allowance ─► a packet with our connection ID,
//	            before it is admitted                   or the handshake complete: no limit
//
// Only long headers pay, and only they are held up: so nothing that is said after the
// handshake has to wait for what somebody else sends in a client's name.
type allowances struct {
	some  atomic.Int32 // len(of), for who need not look
	mu    sync.Mutex
	of    map[netip.AddrPort]*allowance // unproven addresses that handshakes are under way with
	heard map[netip.AddrPort]int        // bytes that others may be sent
}

// allowance is one address's.
type allowance struct {
	handshakes int // under way
	begun      int // of them and others
	left       int // bytes; less than none after short headers
	proven     bool
	ids        [][]byte // ours, of packets that went there
	kept       datagram // the first that was too much; it goes out when more has come
}

// datagram is what WriteMsgUDP takes.
type datagram struct{ packet, control []byte }

func newAllowances() *allowances {
	return &allowances{of: make(map[netip.AddrPort]*allowance), heard: make(map[netip.AddrPort]int)}
}

// enter is told of a handshake that an address has begun, and whether it is proven.
func (a *allowances) enter(from netip.AddrPort, proven bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.of[from]
	if own == nil {
		left, known := a.heard[from]
		delete(a.heard, from)
		if !known { // forgotten among too many
			left = amplification * initialPacketSize
		}
		own = &allowance{left: left}
		a.of[from] = own
		a.some.Store(int32(len(a.of)))
	}
	own.handshakes++
	own.begun++
	own.proven = own.proven || proven
}

// leave is told that it is complete, or has failed.
func (a *allowances) leave(from netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if own := a.of[from]; own != nil {
		if own.handshakes--; own.handshakes == 0 {
			delete(a.of, from)
			a.some.Store(int32(len(a.of)))
		}
	}
}

// receive is told of each packet that has come. What it gives is to be sent back now.
func (a *allowances) receive(from net.Addr, packet []byte) (due datagram) {
	if !isLong(packet) {
		return datagram{}
	}
	addr := addrPort(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.of[addr]
	if own == nil {
		a.remember(addr, amplification*len(packet))
		return datagram{}
	}
	if !own.proven {
		to, _, _ := connectionIDs(packet)
		// Whoever knows an ID of 64 random bits has seen a packet that went to the address.
		own.proven = slices.ContainsFunc(own.ids, func(id []byte) bool { return bytes.Equal(id, to) })
		own.left += amplification * len(packet)
	}
	if own.proven || len(own.kept.packet) <= own.left {
		due, own.kept = own.kept, datagram{}
		own.left -= len(due.packet)
	}
	return due
}

// remember counts for an address without a connection. Called with mu held.
func (a *allowances) remember(addr netip.AddrPort, more int) {
	if _, known := a.heard[addr]; !known && len(a.heard) >= maxHeard {
		for another := range a.heard { // whichever it is
			delete(a.heard, another)
			break
		}
	}
	a.heard[addr] += more
}

// send tells whether a packet may be sent now. If not, it is kept, or lost if there is
// one already.
func (a *allowances) send(to *net.UDPAddr, packet, control []byte) bool {
	long := isLong(packet)
	if !long && a.some.Load() == 0 {
		return true
	}
	addr := addrPort(to)
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.of[addr]
	switch {
	case own == nil && long:
		return a.answer(addr, packet)
	case own == nil || own.proven:
		return true
	case !long: // said before the handshake is complete, or by another connection
		own.left -= len(packet)
		return true
	}
	own.learn(packet)
	switch {
	case len(packet) <= own.left:
		own.left -= len(packet)
		return true
	case own.kept.packet == nil && len(packet) <= longestKept:
		own.kept = datagram{bytes.Clone(packet), bytes.Clone(control)}
	}
	return false
}

// answer tells whether a packet without a handshake may be sent: a refusal, a Retry, the
// last words of a connection that is over. Called with mu held.
func (a *allowances) answer(to netip.AddrPort, packet []byte) bool {
	left, known := a.heard[to]
	if !known { // forgotten among too many
		return true
	}
	if len(packet) > left {
		return false
	}
	a.heard[to] = left - len(packet)
	return true
}

// learn finds our connection ID in a packet of ours. Only connections send Handshake
// packets: a refusal is an Initial, and repeats an ID that the client has chosen; so
// does version negotiation, whose first byte is anything.
func (own *allowance) learn(packet []byte) {
	_, id, ok := connectionIDs(packet)
	if !ok || !isHandshake(packet) || len(id) != connectionIDSize || len(own.ids) >= min(own.begun, maxIDs) {
		return
	}
	if !slices.ContainsFunc(own.ids, func(known []byte) bool { return bytes.Equal(known, id) }) {
		own.ids = append(own.ids, bytes.Clone(id))
	}
}

// isLong tells packets of handshakes from those of connections (RFC 8999 section 5).
func isLong(packet []byte) bool { return len(packet) > 0 && packet[0]&0x80 != 0 }

// isHandshake is for packets with a long header, which each version numbers as it likes
// (RFC 9000 section 17.2, RFC 9369 section 3.2).
func isHandshake(packet []byte) bool {
	kind := packet[0] >> 4 & 3
	switch quicgo.Version(binary.BigEndian.Uint32(packet[1:])) {
	case quicgo.Version1:
		return kind == 2
	case quicgo.Version2:
		return kind == 3
	}
	return false
}

// connectionIDs are those in a long header (RFC 8999 section 5.1).
func connectionIDs(packet []byte) (to, from []byte, ok bool) {
	const before = 5 // a byte of flags and the version
	if len(packet) <= before {
		return nil, nil, false
	}
	to, rest, ok := prefixed(packet[before:])
	if !ok {
		return nil, nil, false
	}
	from, _, ok = prefixed(rest)
	return to, from, ok
}

// prefixed takes bytes behind their length.
func prefixed(b []byte) (taken, rest []byte, ok bool) {
	if len(b) == 0 || len(b) <= int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+b[0]], b[1+b[0]:], true
}
