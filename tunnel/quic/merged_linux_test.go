package quic

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// controlMessage is one as the kernel writes it, padding included.
func controlMessage(level, kind int32, body []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(body)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(body)))
	copy(b[unix.CmsgLen(0):], body)
	return b
}

func segments(size int32) []byte {
	return controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, uint32(size)))
}

func ecnBits(bits byte) []byte {
	return controlMessage(unix.IPPROTO_IP, unix.IP_TOS, []byte{bits})
}

// messages are what quic-go hands to ReadBatch: 8, of 1,452 bytes and 128 for control.
func messages() []ipv4.Message {
	ms := make([]ipv4.Message, 8)
	for i := range ms {
		ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
	}
	return ms
}

// mergedPair are a socket that merges and one that sends to it.
func mergedPair(t *testing.T, listen net.IP) (to *merged, from *net.UDPConn, at *net.UDPAddr) {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: listen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	if err := udp.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// What quic-go asks for.
	if err := raw.Control(func(fd uintptr) {
		for _, option := range []int{unix.IP_RECVTOS, unix.IP_PKTINFO} {
			if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, option, 1); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	to, ok := forgiving(udp, 2, nil).(*merged)
	if !ok {
		t.Fatal("this kernel does not merge packets; Linux does since 5.0")
	}
	if from, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	return to, from, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: udp.LocalAddr().(*net.UDPAddr).Port}
}

// sendSegments sends b as packets of size, with one call.
func sendSegments(t *testing.T, from *net.UDPConn, to *net.UDPAddr, b []byte, size uint16, control ...byte) {
	t.Helper()
	control = append(control, controlMessage(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, size))...)
	if _, _, err := from.WriteMsgUDP(b, control, to); err != nil {
		t.Fatal(err)
	}
}

// pattern is n bytes, no two packets of which are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>13)
	}
	return b
}

func TestMergedPacketsComeApart(t *testing.T) {
	const size, count, last = 1200, 20, 333
	to, from, at := mergedPair(t, nil)
	sent := pattern(size*count + last)
	sendSegments(t, from, at, sent, size, ecnBits(2)...)

	var got []byte
	var calls int
	ms := messages()
	for len(got) < len(sent) {
		n, err := to.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		if calls++; calls == 1 && (n != len(ms) || len(to.data) != len(sent)-size*n) {
			t.Fatalf("%d packets were read and %d bytes are left: the kernel has not merged them", n, len(to.data))
		}
		for _, m := range ms[:n] {
			if want := min(size, len(sent)-len(got)); m.N != want {
				t.Fatalf("packet at byte %d has %d bytes, want %d", len(got), m.N, want)
			}
			if m.Addr.String() != from.LocalAddr().String() {
				t.Fatalf("packet at byte %d is from %v, want %v", len(got), m.Addr, from.LocalAddr())
			}
			checkControl(t, m.OOB[:m.NN], 2)
			got = append(got, m.Buffers[0][:m.N]...)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatal("the bytes are not those that were sent")
	}
}

// checkControl wants the ECN bits and the local address, once each, and nothing else.
func checkControl(t *testing.T, control []byte, ecn byte) {
	t.Helper()
	found, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(found) != 2 {
		t.Fatalf("control messages %v, %v; want two", found, err)
	}
	for _, m := range found {
		switch {
		case m.Header.Level != unix.IPPROTO_IP:
			t.Fatalf("a control message of level %d", m.Header.Level)
		case m.Header.Type == unix.IP_TOS && (len(m.Data) != 1 || m.Data[0] != ecn):
			t.Fatalf("ECN bits %v, want %d", m.Data, ecn)
		case m.Header.Type == unix.IP_PKTINFO && !bytes.Equal(m.Data[8:12], []byte{127, 0, 0, 1}):
			t.Fatalf("local address %v", m.Data[8:12])
		}
	}
}

// Packets that were not merged, an empty one among them, come as they would without.
func TestSinglePacketsOfSeveralSenders(t *testing.T) {
	to, one, at := mergedPair(t, net.IPv4(127, 0, 0, 1))
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	sent := []struct {
		from  *net.UDPConn
		bytes string
	}{{one, "a"}, {other, "bcd"}, {one, ""}, {other, "e"}, {one, "fg"}}
	for _, s := range sent {
		if _, err := s.from.WriteToUDP([]byte(s.bytes), at); err != nil {
			t.Fatal(err)
		}
	}
	ms := messages()
	for len(sent) > 0 {
		n, err := to.ReadBatch(ms, 0)
		if err != nil || n == 0 || n > len(sent) {
			t.Fatalf("ReadBatch gave %d, %v with %d to come", n, err, len(sent))
		}
		for i, m := range ms[:n] {
			if got := string(m.Buffers[0][:m.N]); got != sent[i].bytes || m.Addr.String() != sent[i].from.LocalAddr().String() {
				t.Fatalf("got %q of %v, want %q of %v", got, m.Addr, sent[i].bytes, sent[i].from.LocalAddr())
			}
		}
		sent = sent[n:]
	}
}

// A sender can have packets merged that are longer than anything QUIC reads. They are
// cut off, each by itself.
func TestMergedPacketsThatAreTooLong(t *testing.T) {
	const size, count = 3000, 5
	to, from, at := mergedPair(t, net.IPv4(127, 0, 0, 1))
	sent := pattern(size * count)
	sendSegments(t, from, at, sent, size)
	ms := messages()
	for i := 0; i < count; {
		n, err := to.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			if want := sent[i*size:][:len(m.Buffers[0])]; !bytes.Equal(m.Buffers[0][:m.N], want) {
				t.Fatalf("packet %d is not the beginning of what was sent", i)
			}
			i++
		}
	}
}

func TestReadBatchEndsWithTheSocket(t *testing.T) {
	to, _, _ := mergedPair(t, net.IPv4(127, 0, 0, 1))
	ended := make(chan error, 1)
	go func() {
		_, err := to.ReadBatch(messages(), 0)
		ended <- err
	}()
	_ = to.Close()
	if err := <-ended; err == nil {
		t.Fatal("no error")
	}
	if _, err := to.ReadBatch(nil, 0); err != errNoMessages {
		t.Fatalf("without messages the error is %v", err)
	}
}

// Where the kernel refuses, the socket is read as quic-go does.
func TestNoMergingIsNoHarm(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = udp.Close() // it takes no option now
	if conn, ok := forgiving(udp, 1, nil).(socket); !ok {
		t.Fatalf("it is a %T", conn)
	}
}

func TestTakeSegmentSize(t *testing.T) {
	tos, gro := ecnBits(1), segments(1200)
	for name, c := range map[string]struct {
		control, rest []byte
		size          int
	}{
		"nothing":             {nil, nil, 0},
		"no size":             {tos, tos, 0},
		"size alone":          {gro, nil, 1200},
		"size first":          {slices.Concat(gro, tos), tos, 1200},
		"size last":           {slices.Concat(tos, gro), tos, 1200},
		"size in the middle":  {slices.Concat(tos, gro, tos), slices.Concat(tos, tos), 1200},
		"negative":            {segments(-1), nil, -1},
		"too short a size":    {controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{1, 2}), nil, 0},
		"cut off":             {slices.Concat(tos, gro[:18]), tos, 0},
		"less than a header":  {slices.Concat(gro, tos[:7]), nil, 1200},
		"no padding":          {slices.Concat(tos, gro[:20]), tos, 1200},
		"longer than it says": {slices.Concat(tos, tos[:len(tos)-1]), slices.Concat(tos, tos[:len(tos)-1]), 0},
	} {
		t.Run(name, func(t *testing.T) {
			size, rest := takeSegmentSize(slices.Clone(c.control))
			if size != c.size || !bytes.Equal(rest, c.rest) {
				t.Errorf("size %d, rest %x; want %d, %x", size, rest, c.size, c.rest)
			}
		})
	}
}

// Whatever the control bytes are, packets give the datagram back when put together,
// and what is left of the control bytes can be read and tells no size.
func FuzzMerged(f *testing.F) {
	f.Add([]byte("abcdefghij"), segments(3))
	f.Add([]byte("abcdef"), slices.Concat(ecnBits(3), segments(3)))
	f.Add([]byte("abc"), segments(-1))
	f.Add([]byte("abc"), segments(1<<30))
	f.Add([]byte{}, segments(7))
	f.Add([]byte("abc"), []byte{1, 2, 3})
	f.Add([]byte("abc"), slices.Concat(segments(2)[:20], ecnBits(1)))
	f.Fuzz(func(t *testing.T, datagram, control []byte) {
		if len(datagram) > mergedSize || len(control) > controlSize {
			return
		}
		m := &merged{filled: []ipv4.Message{{
			Buffers: [][]byte{datagram}, OOB: slices.Clone(control), N: len(datagram), NN: len(control),
		}}}
		m.begin()
		if rest, err := unix.ParseSocketControlMessage(m.control); err != nil {
			t.Fatalf("quic-go would give up the socket: %v", err)
		} else if slices.ContainsFunc(rest, func(c unix.SocketControlMessage) bool {
			return c.Header.Level == unix.IPPROTO_UDP && c.Header.Type == unix.UDP_GRO
		}) {
			t.Fatal("a size is left")
		}
		size := m.size
		to := ipv4.Message{Buffers: [][]byte{make([]byte, mergedSize)}, OOB: make([]byte, controlSize)}
		var all []byte
		for len(m.filled) > 0 {
			m.give(&to)
			if to.N != size && len(m.filled) > 0 || to.N > size {
				t.Fatalf("a packet of %d bytes, where all but the last have %d", to.N, size)
			}
			all = append(all, to.Buffers[0][:to.N]...)
		}
		if !bytes.Equal(all, datagram) {
			t.Fatalf("%x became %x", datagram, all)
		}
	})
}
