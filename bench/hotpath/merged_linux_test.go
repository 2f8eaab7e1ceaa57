package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// control is one message about a datagram.
func control(level, kind int32, body []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(body)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(body)))
	copy(b[unix.CmsgLen(0):], body)
	return b
}

func TestMergedPacketsComeApart(t *testing.T) {
	const size, count, last = 1252, 11, 40
	var ends [2]*net.UDPConn
	for i := range ends {
		var err error
		if ends[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		defer ends[i].Close()
		_ = ends[i].SetDeadline(time.Now().Add(patience))
	}
	to, ok := takeMerged(ends[0]).(*merged)
	if !ok {
		t.Fatal("this kernel does not merge packets; Linux does since 5.0")
	}
	sent := make([]byte, size*count+last)
	for i := range sent {
		sent[i] = byte(i ^ i>>8)
	}
	cut := control(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, size))
	if _, _, err := ends[1].WriteMsgUDP(sent, cut, ends[0].LocalAddr().(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
	messages := make([]ipv4.Message, 8)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 1452)}
	}
	var got []byte
	for len(got) < len(sent) {
		n, err := to.ReadBatch(messages, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages[:n] {
			if want := min(size, len(sent)-len(got)); m.N != want {
				t.Fatalf("the packet at byte %d has %d bytes, want %d", len(got), m.N, want)
			}
			got = append(got, m.Buffers[0][:m.N]...)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatal("the bytes are not those that were sent")
	}
}

func FuzzSegmentSize(f *testing.F) {
	f.Add(control(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1200)))
	f.Add(control(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{1}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, about []byte) {
		const all = 77
		size := segmentSize(about, all)
		said := binary.NativeEndian.AppendUint32(nil, uint32(size))
		if size != all && !bytes.Contains(about, said) {
			t.Fatalf("%d is said nowhere in %x", size, about)
		}
	})
}
