package connect

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

func TestWay(t *testing.T) {
	name := func(host string, port uint16) tunnel.Destination { return tunnel.Destination{Host: host, Port: port} }
	addr := func(a string, port uint16) tunnel.Destination {
		return tunnel.Destination{Addr: netip.MustParseAddr(a), Port: port}
	}
	tests := []struct {
		wanted tunnel.Destination
		listed bool
	}{
		{name("mail.example.com", 443), true},
		{name("MAIL.Example.COM.", 443), true},
		{name("mail.example.com", 80), false},
		{name("www.example.com", 443), false},
		{name("a.internal.example.com", 443), true},
		{name("a.b.internal.example.com", 443), true},
		{name("internal.example.com", 443), false},
		{name("192.0.2.7", 443), true},
		{addr("192.0.2.7", 443), true},
		{addr("::ffff:192.0.2.7", 443), true},
		{addr("192.0.2.8", 443), false},
		{addr("2001:db8::1", 443), false},
	}
	for _, tt := range tests {
		for mode, want := range map[Mode]Via{
			Off:     Gateway,
			On:      map[bool]Via{true: Gateway, false: Direct}[tt.listed],
			Reverse: map[bool]Via{true: Direct, false: Gateway}[tt.listed],
		} {
			s, err := newSplit(mode, listed())
			if err != nil {
				t.Fatal(err)
			}
			via, isListed, _, known := s.way(tt.wanted)
			if via != want || isListed != tt.listed || !known {
				t.Errorf("%v, split tunnel %v: %v, listed %t, known %t", tt.wanted, mode, via, isListed, known)
			}
		}
	}
}

// What is no host stays away from this machine's resolver.
func TestNoHostNeverGoesStraightOut(t *testing.T) {
	for _, mode := range []Mode{On, Reverse} {
		c := startGateway(t).config(mode)
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{";40;STA01;" + goodTicket, "127.1", "0x7f000001", "a b", "fe80::1%eth0", "[::1]"} {
			_, via, _, err := p.connect(t.Context(), tunnel.Destination{Host: host, Port: 443})
			if via == Direct && !errors.Is(err, errNoHost) {
				t.Errorf("%q, %v: %v", host, mode, err)
			}
			if (mode == On) != (via == Direct) {
				t.Errorf("%q, %v: %v", host, mode, via)
			}
		}
	}
}

func TestTunnelPrintsNoCredential(t *testing.T) {
	for _, tn := range []Tunnel{
		{Destination: tunnel.Destination{Host: ";40;STA01;" + goodTicket, Port: 443}},
		{Destination: tunnel.Destination{Host: goodTicket, Port: 443}, Via: Direct, Err: errors.New("lookup " + goodTicket)},
	} {
		if line := tn.String(); strings.Contains(line, goodTicket) {
			t.Errorf("printed %q", line)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, m := range []Mode{Off, On, Reverse} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%v read as %v, %v", m, got, err)
		}
	}
	for _, s := range []string{"", "ON", "unknown", "on "} {
		if _, err := ParseMode(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// FuzzWay holds the split against the rules said plainly: with Off everything
// goes to the gateway, On and Reverse disagree about everything, and only a
// host that parses goes straight out by a name of its own spelling.
func FuzzWay(f *testing.F) {
	f.Add("mail.example.com", uint16(443))
	f.Add("x.internal.example.com", uint16(443))
	f.Add(";40;STA01;X", uint16(0))
	f.Add("192.0.2.7", uint16(443))
	f.Add("１２７．０．０．１", uint16(443))
	splits := map[Mode]split{}
	for _, mode := range []Mode{Off, On, Reverse} {
		s, err := newSplit(mode, listed())
		if err != nil {
			f.Fatal(err)
		}
		splits[mode] = s
	}
	f.Fuzz(func(t *testing.T, host string, port uint16) {
		wanted := tunnel.Destination{Host: host, Port: port}
		off, _, _, _ := splits[Off].way(wanted)
		on, listed, parsed, known := splits[On].way(wanted)
		reverse, _, _, _ := splits[Reverse].way(wanted)
		if off != Gateway || on == reverse || listed != (on == Gateway) {
			t.Fatalf("off %v, on %v, reverse %v, listed %t", off, on, reverse, listed)
		}
		if !known && listed {
			t.Fatal("listed, and no host")
		}
		if known {
			again, err := policy.ParseHost(parsed.String())
			if err != nil || again != parsed {
				t.Fatalf("%v is read again as %v, %v", parsed, again, err)
			}
		}
	})
}
