package node

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func always() bool { return true }

// A server that tries again and again is one line a while, which counts what had none;
// of any number of addresses a bounded one is remembered.
func TestKnocks(t *testing.T) {
	var k knocks
	now := time.Now()
	a, b := netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("10.0.0.9")
	want := func(addr netip.Addr, held int, ok bool) {
		t.Helper()
		if gotHeld, gotOK := k.due(addr, now, always); gotHeld != held || gotOK != ok {
			t.Errorf("%s: %d, %t", addr, gotHeld, gotOK)
		}
	}
	want(a, 0, true)
	want(a, 0, false)
	want(b, 0, true)
	now = now.Add(knocksEvery - 1)
	want(a, 0, false)
	now = now.Add(1)
	want(a, 2, true)
	want(a, 0, false)
	now = now.Add(knocksEvery)
	if _, ok := k.due(b, now, func() bool { return false }); ok {
		t.Error("a line beyond the bound")
	}
	want(b, 0, true) // since it had none

	var addr [4]byte
	for i := range 3 * maxKnocks {
		binary.BigEndian.PutUint32(addr[:], uint32(11<<24+i))
		want(netip.AddrFrom4(addr), 0, true)
		if len(k.from) > maxKnocks {
			t.Fatalf("%d addresses are remembered", len(k.from))
		}
	}
	now = now.Add(knocksEvery)
	want(netip.AddrFrom4(addr), 0, true)
	want(netip.AddrFrom4(addr), 0, false) // there is room again
}

// Nobody is told to let the gateway's own address in.
func TestTurnedAway(t *testing.T) {
	log := &told{}
	n := &Node{log: zerolog.New(log)}
	tell := n.turnedAwayFrom(netip.MustParseAddr("::ffff:10.0.0.5"))
	for _, from := range []string{"10.0.0.99", "10.0.0.99", "10.0.0.5"} {
		tell(netip.MustParseAddr(from))
	}
	lines := log.lines(t)
	if len(lines) != 2 || lines[0]["fix"] != "if this is a server within, add 10.0.0.99 to gateway.inside.sources" ||
		lines[1]["fix"] != "none is needed: it is an address of the gateway itself, from where devices' tunnels come" {
		t.Errorf("%v", lines)
	}
}
