package quic

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// mergedSize is the largest datagram, and as much as the kernel merges.
	mergedSize = 64 << 10
	// controlSize is for what quic-go asks the kernel to tell of a packet, of which
	// it takes 128 bytes itself, and for the size of merged ones.
	controlSize = 128 + 24
)

// merged is a socket for which the kernel gathers packets that follow one another
// (UDP_GRO, udp(7)): one call hands over up to 64 of a sender's, which it has also
// carried through its network stack as one. What is gathered has the same addresses
// and ECN bits, and, but for the last one, the same size.
//
//	kernel ─► incoming[0]  packet packet packet … last     one sender
//	      └─► incoming[1]  packet                          another
//	             │
//	             └─► ReadBatch copies packets out, one a message
type merged struct {
	socket
	batches  *ipv4.PacketConn
	incoming []ipv4.Message // with buffers of mergedSize; they are the socket's, not connections'
	filled   []ipv4.Message // those of incoming that packets are left in; data is what is left in the first
	data     []byte
	size     int    // of each packet in data but the last, which may be shorter
	control  []byte // of each packet in data

	allowances *allowances // nil for none
	raw        syscall.RawConn
	ipv4       bool // its addresses are, to the kernel
}

// mergeOn makes udp such a socket, which is read into so many buffers; false if this
// kernel does not know how.
func mergeOn(udp *net.UDPConn, buffers int, allowed *allowances) (net.PacketConn, bool) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, false
	}
	var unknown error
	var family int
	err = raw.Control(func(fd uintptr) {
		if unknown = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1); unknown == nil {
			family, unknown = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		}
	})
	if err != nil || unknown != nil {
		return nil, false
	}
	// As quic-go does it: only the name says that it is for IPv4.
	m := &merged{socket: socket{udp}, batches: ipv4.NewPacketConn(udp), incoming: make([]ipv4.Message, buffers),
		allowances: allowed, raw: raw, ipv4: family == unix.AF_INET}
	for i := range m.incoming {
		m.incoming[i].Buffers = [][]byte{make([]byte, mergedSize)}
		m.incoming[i].OOB = make([]byte, controlSize)
	}
	return m, true
}

// errNoMessages is for a caller that has no room for any packet.
var errNoMessages = errors.New("quic: a batch of no messages")

// ReadBatch is what quic-go receives by, on one goroutine. It gives one packet a
// message, as without merging, and waits only for the first. Packets longer than a
// message's buffer are cut off, which the kernel does too.
func (m *merged) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	if len(messages) == 0 {
		return 0, errNoMessages
	}
	if len(m.filled) == 0 {
		n, err := m.batches.ReadBatch(m.incoming, flags)
		if err != nil || n == 0 {
			return 0, err
		}
		m.filled = m.incoming[:n]
		m.begin()
	}
	for i := range messages {
		if len(m.filled) == 0 {
			return i, nil
		}
		m.give(&messages[i])
	}
	return len(messages), nil
}

// WriteMsgUDP is what quic-go sends by. What may not be sent yet, or at all, it takes
// for sent: packets are lost elsewhere too.
func (m *merged) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if m.allowances != nil && !m.allowances.send(addr, b, oob) {
		return len(b), len(oob), nil
	}
	return m.socket.WriteMsgUDP(b, oob, addr)
}

// sendNow sends a packet if there is room for it, and else it is lost: who reads the
// socket waits for nobody who writes to it.
func (m *merged) sendNow(d datagram, to netip.AddrPort) {
	var addr unix.Sockaddr
	if m.ipv4 {
		addr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		addr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	_ = m.raw.Control(func(fd uintptr) {
		_, _ = unix.SendmsgN(int(fd), d.packet, d.control, addr, unix.MSG_DONTWAIT)
	})
}

// begin looks at the first of filled.
func (m *merged) begin() {
	first := &m.filled[0]
	m.data = first.Buffers[0][:first.N]
	m.size, m.control = takeSegmentSize(first.OOB[:first.NN])
	if m.size <= 0 {
		m.size = len(m.data)
	}
}

// give moves one packet, which may be empty, and goes on to the next.
func (m *merged) give(to *ipv4.Message) {
	packet := m.data[:min(m.size, len(m.data))]
	to.N, to.NN = copy(to.Buffers[0], packet), copy(to.OOB, m.control)
	to.Addr, to.Flags = m.filled[0].Addr, m.filled[0].Flags
	if m.allowances != nil {
		if due := m.allowances.receive(to.Addr, packet); due.packet != nil {
			m.sendNow(due, addrPort(to.Addr))
		}
	}
	m.data = m.data[len(packet):]
	if len(m.data) > 0 {
		return
	}
	m.filled[0].Addr = nil
	if m.filled = m.filled[1:]; len(m.filled) > 0 {
		m.begin()
	}
}

// takeSegmentSize finds out how long merged packets are, and takes that out of what
// the kernel told of them. Zero: they are but one. What cannot be read is left out, with
// all behind it: quic-go gives up the whole socket over it.
func takeSegmentSize(control []byte) (size int, rest []byte) {
	at := 0
	for len(control)-at >= unix.SizeofCmsghdr { // the parser does not look
		head, body, behind, err := unix.ParseOneSocketControlMessage(control[at:])
		if err != nil {
			break
		}
		end := len(control) - len(behind)
		if head.Level != unix.IPPROTO_UDP || head.Type != unix.UDP_GRO {
			at = end
			continue
		}
		if len(body) >= 4 {
			size = int(int32(binary.NativeEndian.Uint32(body)))
		}
		control = slices.Delete(control, at, end)
	}
	return size, control[:at]
}
