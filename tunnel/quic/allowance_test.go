package quic

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
)

// long is a packet with a long header, of a kind (RFC 9000 section 17.2) and a length.
func long(kind byte, to, from string, length int) []byte {
	p := append([]byte{0xc0 | kind<<4, 0, 0, 0, 1, byte(len(to))}, to...)
	p = append(append(p, byte(len(from))), from...)
	return append(p, make([]byte, length-len(p))...)
}

const (
	initial   = 0
	handshake = 2
	ours      = "8 bytes."
	theirs    = "any"
)

// allowed are the allowances of an address with a handshake, of which one Initial has come.
func allowed(length int) (a *allowances, from *net.UDPAddr) {
	from = net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:7"))
	a = newAllowances()
	a.receive(from, long(initial, "chosen", theirs, length))
	a.enter(addrPort(from), false)
	return a, from
}

func TestAllowance(t *testing.T) {
	a, from := allowed(1252)
	flight := long(initial, theirs, ours, 1200)
	for i := range 3 {
		if !a.send(from, flight, nil) {
			t.Fatalf("packet %d is not sent", i)
		}
	}
	fourth := long(handshake, theirs, ours, 1200)
	if a.send(from, fourth, []byte("control")) {
		t.Error("3.8 times what came")
	}
	if a.send(from, long(handshake, theirs, ours, 157), nil) {
		t.Error("a byte beyond three times what came")
	}
	if !a.send(from, long(handshake, theirs, ours, 156), nil) {
		t.Error("three times what came is too much")
	}
	if due := a.receive(from, long(initial, "chosen", theirs, 399)); due.packet != nil {
		t.Error("the packet is sent too early")
	}
	due := a.receive(from, long(initial, "chosen", theirs, 20))
	if !bytes.Equal(due.packet, fourth) || string(due.control) != "control" {
		t.Errorf("due is %+v", due)
	}
	if a.send(from, long(initial, theirs, ours, 58), nil) {
		t.Error("what was sent late is not counted")
	}
}

// An address that knows our connection ID has had a packet of ours.
func TestAllowanceProven(t *testing.T) {
	a, from := allowed(1200)
	if !a.send(from, long(handshake, theirs, ours, 3600), nil) || a.send(from, long(handshake, theirs, ours, 1000), nil) {
		t.Fatal("not as much as is right")
	}
	if due := a.receive(from, long(handshake, ours, theirs, 40)); len(due.packet) != 1000 {
		t.Errorf("%d bytes are due", len(due.packet))
	}
	for range 10 {
		if !a.send(from, long(handshake, theirs, ours, 1200), nil) {
			t.Error("an address that is proven is bounded")
		}
	}
}

// A refusal repeats an ID that the client has chosen: knowing it proves nothing.
func TestAllowanceKeepsToOurIDs(t *testing.T) {
	a, from := allowed(1200)
	if !a.send(from, long(initial, theirs, "chosen.8", 50), nil) {
		t.Fatal("a refusal is not sent")
	}
	a.receive(from, long(initial, "chosen.8", theirs, 1200))
	if a.send(from, long(handshake, theirs, ours, 7200), nil) {
		t.Error("who repeats his own ID is believed")
	}
	negotiation := long(handshake, theirs, "chosen.8", 50) // its first byte is anything
	copy(negotiation[1:5], "\x00\x00\x00\x00")
	a.send(from, negotiation, nil)
	a.receive(from, long(initial, "chosen.8", theirs, 20))
	if a.of[addrPort(from)].proven {
		t.Error("who has negotiated a version by his own ID is believed")
	}
	for i := range 5 { // of connections there is one
		a.send(from, long(handshake, theirs, string(rune('a'+i))+ours[1:], 100), nil)
	}
	if n := len(a.of[addrPort(from)].ids); n > 1 {
		t.Errorf("%d IDs are remembered", n)
	}
}

// What is said after the handshake is nobody's to hold up.
func TestAllowanceShortHeaders(t *testing.T) {
	a, from := allowed(1200)
	short := append([]byte{0x40}, make([]byte, 1199)...)
	for range 10 {
		if !a.send(from, short, nil) {
			t.Fatal("a connection's packet is held up")
		}
	}
	a.receive(from, short)
	if a.send(from, long(initial, theirs, ours, 30), nil) {
		t.Error("a connection's packets pay for handshakes, or are not counted")
	}
}

// Addresses that have come and gone are not remembered, and strangers not for long.
func TestAllowanceForgets(t *testing.T) {
	a, from := allowed(1200)
	a.enter(addrPort(from), false)
	a.leave(addrPort(from))
	if len(a.of) != 1 {
		t.Error("a handshake is under way, and forgotten")
	}
	a.leave(addrPort(from))
	a.leave(addrPort(from)) // gone already
	for i := range 3 * maxHeard {
		a.receive(net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrPort(from).Addr(), uint16(i))), long(initial, theirs, theirs, 1200))
	}
	if len(a.of) != 0 || len(a.heard) != maxHeard {
		t.Errorf("%d allowances, %d addresses heard of", len(a.of), len(a.heard))
	}
	forgotten := netip.MustParseAddrPort("192.0.2.9:9")
	a.enter(forgotten, false)
	if a.of[forgotten].left != amplification*initialPacketSize {
		t.Errorf("%d bytes for one that was forgotten", a.of[forgotten].left)
	}
	// A ClientHello of two packets counts twice, and what was answered not again.
	two := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.8:8"))
	for range 2 {
		a.receive(two, long(initial, theirs, theirs, 1200))
	}
	a.send(two, long(initial, theirs, theirs, 200), nil)
	a.enter(addrPort(two), false)
	if left := a.of[addrPort(two)].left; left != 7000 {
		t.Errorf("%d bytes for two packets of 1,200, of which 200 were used", left)
	}
}

// A proof of an address is one for all that comes from it.
func TestAllowanceProvenByToken(t *testing.T) {
	a, from := allowed(1200)
	flight := long(handshake, theirs, ours, 3601)[:1400]
	for range 2 {
		a.send(from, flight, nil)
	}
	if a.send(from, flight, nil) {
		t.Fatal("more than three times what came")
	}
	a.enter(addrPort(from), true)
	if due := a.receive(from, long(initial, "chosen", theirs, 1200)); len(due.packet) != len(flight) {
		t.Errorf("%d bytes are due", len(due.packet))
	}
	for range 10 {
		if !a.send(from, flight, nil) {
			t.Error("an address that is proven is bounded")
		}
	}
}

// Answers to packets of no handshake are bounded as well: a connection that is over
// repeats its last words to whoever says something to it.
func TestAllowanceOfAnswers(t *testing.T) {
	a := newAllowances()
	from := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:7"))
	a.receive(from, long(handshake, ours, theirs, 21))
	sent := 0
	for range 10 {
		if a.send(from, long(handshake, theirs, ours, 49), nil) {
			sent += 49
		}
	}
	if sent != 49 {
		t.Errorf("%d bytes for 21", sent)
	}
}

// An address that comes again is known by the new connection's ID.
func TestAllowanceOfASecondHandshake(t *testing.T) {
	a, from := allowed(1200)
	a.send(from, long(handshake, theirs, ours, 100), nil)
	a.enter(addrPort(from), false)
	a.leave(addrPort(from))
	a.send(from, long(handshake, theirs, "another.", 100), nil)
	a.receive(from, long(handshake, "another.", theirs, 40))
	if !a.of[addrPort(from)].proven {
		t.Error("the second one's ID is not known")
	}
}

func FuzzAllowance(f *testing.F) {
	f.Add(long(handshake, ours, theirs, 100), long(initial, theirs, ours, 1200))
	f.Add(long(initial, ours, theirs, 100), append([]byte{0xe0, 0, 0, 0, 0, 3}, "any\x08"+ours...))
	f.Add([]byte{0x80}, []byte{0x80, 0, 0, 0, 0, 255})
	f.Add([]byte{}, []byte{0xff})
	f.Fuzz(func(t *testing.T, came, goes []byte) {
		a, from := allowed(1200)
		sent := 0
		for range 4 {
			if a.send(from, goes, nil) && isLong(goes) {
				sent += len(goes)
			}
			sent += len(a.receive(from, came).packet)
		}
		known := isLong(goes) && len(goes) > 4 && isHandshake(goes) // and nobody is there to know its ID
		if got := 1200 + 4*len(came); !known && sent > amplification*got {
			t.Errorf("%d bytes for %d", sent, got)
		}
	})
}
