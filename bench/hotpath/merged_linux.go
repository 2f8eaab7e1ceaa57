package main

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// merged is a client's socket that takes packets as the kernel gathers them (UDP_GRO),
// as TCP's clients do. On loopback the sender's processor time would else have the
// work of taking apart what it has sent at once, which elsewhere is a network card's.
type merged struct {
	*net.UDPConn
	batches *ipv4.PacketConn
	message [1]ipv4.Message
	data    []byte // what is left in message
	size    int    // of each packet in data but the last
}

// takeMerged leaves socket as it is where the kernel does not know how.
func takeMerged(socket *net.UDPConn) net.PacketConn {
	raw, err := socket.SyscallConn()
	if err != nil {
		return socket
	}
	var unknown error
	err = raw.Control(func(fd uintptr) {
		unknown = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	if err != nil || unknown != nil {
		return socket
	}
	m := &merged{UDPConn: socket, batches: ipv4.NewPacketConn(socket)}
	m.message[0].Buffers, m.message[0].OOB = [][]byte{make([]byte, 64<<10)}, make([]byte, 128)
	return m
}

// ReadBatch is what quic-go receives by.
func (m *merged) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	from := &m.message[0]
	if len(m.data) == 0 {
		if _, err := m.batches.ReadBatch(m.message[:], flags); err != nil {
			return 0, err
		}
		m.data = from.Buffers[0][:from.N]
		m.size = max(1, segmentSize(from.OOB[:from.NN], from.N))
	}
	given := 0
	for given < len(messages) {
		to, packet := &messages[given], m.data[:min(m.size, len(m.data))]
		to.N, to.NN, to.Addr = copy(to.Buffers[0], packet), copy(to.OOB, from.OOB[:from.NN]), from.Addr
		m.data = m.data[len(packet):]
		if given++; len(m.data) == 0 {
			break
		}
	}
	return given, nil
}

// segmentSize is how long each packet is: all, if the kernel does not say.
func segmentSize(control []byte, all int) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return all
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	return all
}
