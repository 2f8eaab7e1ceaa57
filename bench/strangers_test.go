package bench

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

// Who comes again and again keeps out himself: a slow one from elsewhere stays, whatever
// comes from one address, or from one IPv6 host's network.
func TestStrangersOfOneSource(t *testing.T) {
	for name, flooder := range map[string]string{"IPv4": "10.0.0.66", "IPv6": "2001:db8:0:1::66"} {
		t.Run(name, func(t *testing.T) {
			s := newStrangers()
			come := func(from string) (proving context.Context, leave func()) {
				proving, leave, err := s.admit(t.Context(), sourceOf(&net.TCPAddr{IP: net.ParseIP(from), Port: 1}))
				if err != nil {
					t.Fatal(err)
				}
				return proving, leave
			}
			honest, leave := come("10.0.0.7")
			defer leave()
			addr := netip.MustParseAddr(flooder)
			for range 50 * maxStrangers {
				if addr.Is6() {
					addr = addr.Next() // of the same network
				}
				proving, leave := come(addr.String())
				context.AfterFunc(proving, leave) // as its session does
			}
			if honest.Err() != nil {
				t.Error("the one who was there first had to go")
			}
		})
	}
}

// Of many sources one has to go, for there is no more room.
func TestStrangersOfManySources(t *testing.T) {
	s := newStrangers()
	gone := 0
	var all []context.Context
	for i := range 2 * maxStrangers {
		proving, leave, err := s.admit(t.Context(), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
		if err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(proving, leave)
		all = append(all, proving)
	}
	for _, proving := range all {
		if proving.Err() != nil {
			gone++
			if !errors.Is(context.Cause(proving), errCrowd) {
				t.Error(context.Cause(proving))
			}
		}
	}
	if gone != maxStrangers {
		t.Errorf("%d had to go", gone)
	}
}
