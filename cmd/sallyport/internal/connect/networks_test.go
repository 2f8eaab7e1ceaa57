package connect

import (
	"net/netip"
	"testing"
	"time"
)

func TestAvoidance(t *testing.T) {
	clock := newFakeClock()
	n := newNetworks(clock.Now)
	office := netip.MustParseAddr("192.0.2.1")
	judge := func(wantAvoided, wantAgain bool) {
		t.Helper()
		if avoided, again := n.judge(office); avoided != wantAvoided || again != wantAgain {
			t.Fatalf("avoided %v, again %v; want %v, %v", avoided, again, wantAvoided, wantAgain)
		}
	}
	judge(false, false)
	n.avoid(office)
	for _, minutes := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
		wait := time.Duration(minutes) * time.Minute
		n.avoid(office) // to know it once more does not begin anew
		clock.advance(wait * 8 / 10)
		judge(true, false)
		clock.advance(wait * 3 / 10)
		judge(true, true)
		judge(true, false) // one of them is enough
	}
	n.works(office)
	judge(false, false)
	n.avoid(office)
	clock.advance(firstAvoidance * 11 / 10)
	judge(true, true)
}

func TestJitter(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := jitter(time.Minute)
		if d < 54*time.Second || d > 66*time.Second {
			t.Fatal(d)
		}
		seen[d] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d different ones of 100", len(seen))
	}
}

// The memory is bounded, and what was used last stays.
func TestNetworksAreForgotten(t *testing.T) {
	clock := newFakeClock()
	n := newNetworks(clock.Now)
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	for i := range maxNetworks {
		n.avoid(at(i))
		clock.advance(time.Second)
	}
	n.judge(at(0))
	clock.advance(time.Second)
	n.avoid(at(maxNetworks))
	n.avoid(netip.Addr{}) // an unknown network
	if len(n.avoided) != maxNetworks {
		t.Errorf("%d networks", len(n.avoided))
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: true, maxNetworks: true} {
		if avoided, _ := n.judge(at(i)); avoided != want {
			t.Errorf("network %d: avoided %v", i, avoided)
		}
	}
}

func TestCarrierNames(t *testing.T) {
	for _, c := range []Carrier{TCP, QUIC, Auto} {
		if got, err := ParseCarrier(c.String()); got != c || err != nil {
			t.Errorf("%v: %v, %v", c, got, err)
		}
	}
	for _, s := range []string{"", "udp", "QUIC", "unknown"} {
		if _, err := ParseCarrier(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
