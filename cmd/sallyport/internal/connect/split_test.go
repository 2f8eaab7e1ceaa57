package connect

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns/stub"
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
			s, err := newSplit(Config{SplitTunnel: mode, Services: listed()})
			if err != nil {
				t.Fatal(err)
			}
			r := s.way(tt.wanted)
			if r.via != want || r.listed != tt.listed || !r.known {
				t.Errorf("%v, split tunnel %v: %+v", tt.wanted, mode, r)
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
			_, way, err := p.connect(t.Context(), tunnel.Destination{Host: host, Port: 443})
			if way.via == Direct && !errors.Is(err, errNoHost) {
				t.Errorf("%q, %v: %v", host, mode, err)
			}
			if (mode == On) != (way.via == Direct) {
				t.Errorf("%q, %v: %v", host, mode, way.via)
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

func TestJoinedErrorsAreOneLine(t *testing.T) {
	joined := errors.Join(errors.New("this"), errors.New("that\x1b"))
	for _, line := range []string{Tunnel{Err: joined}.String(), Lookup{Err: joined}.String()} {
		if !strings.HasSuffix(line, `: this; that\u{001b}`) {
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

func TestParseDNSMode(t *testing.T) {
	for _, m := range []DNSMode{Remote, Local, Both} {
		if got, err := ParseDNSMode(m.String()); err != nil || got != m {
			t.Errorf("%v read as %v, %v", m, got, err)
		}
	}
	for _, s := range []string{"", "Both", "unknown", "on"} {
		if _, err := ParseDNSMode(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// FuzzWay holds the split against the rules said plainly: with Off everything
// goes to the gateway, On and Reverse disagree about everything but the names
// that always go one way, only a host that parses goes straight out by a name of
// its own spelling, and no single label is asked outside.
func FuzzWay(f *testing.F) {
	f.Add("mail.example.com", uint16(443))
	f.Add("x.internal.example.com", uint16(443))
	f.Add(";40;STA01;X", uint16(0))
	f.Add("192.0.2.7", uint16(443))
	f.Add("１２７．０．０．１", uint16(443))
	f.Add("intranet。", uint16(80))
	f.Add("GATEWAY3.example.com.", uint16(80))
	f.Add("localhost", uint16(80))
	splits := map[Mode]split{}
	for _, mode := range []Mode{Off, On, Reverse} {
		s, err := newSplit(Config{Gateway: "192.0.2.1:443", ServerName: gatewayName, SplitTunnel: mode, SplitDNS: Both, Services: listed()})
		if err != nil {
			f.Fatal(err)
		}
		splits[mode] = s
	}
	f.Fuzz(func(t *testing.T, name string, port uint16) {
		wanted := tunnel.Destination{Host: name, Port: port}
		off, on, reverse := splits[Off].way(wanted), splits[On].way(wanted), splits[Reverse].way(wanted)
		parsed := on.host
		label := on.known && parsed.Name != "" && parsed.Name != localhost && !strings.Contains(parsed.Name, ".")
		switch {
		case parsed.Name == gatewayName:
			if off.via != Direct || on.via != Direct || reverse.via != Direct {
				t.Fatal("the gateway's own name goes through it")
			}
		case label, parsed.Name == stub.DeviceDNS:
			if off.via != Gateway || on.via != Gateway || reverse.via != Gateway {
				t.Fatalf("%q goes straight out", parsed.Name)
			}
		case off.via != Gateway || on.via == reverse.via || on.listed != (on.via == Gateway):
			t.Fatalf("off %v, on %v, reverse %v, listed %t", off.via, on.via, reverse.via, on.listed)
		}
		if !on.known && on.listed {
			t.Fatal("listed, and no host")
		}
		if on.known {
			again, err := policy.ParseHost(parsed.String())
			if parsed.Name != "" && (err != nil || again != parsed) {
				t.Fatalf("%v is read again as %v, %v", parsed, again, err)
			}
		}
		if asks := splits[On].asks(parsed.Name); label && asks != askGateway {
			t.Fatalf("%q is asked %v", parsed.Name, asks)
		}
	})
}

// The whole matrix of decisions: split tunnel, split DNS, kind of destination.
func TestMatrix(t *testing.T) {
	const pushreg = "eu-west-1.pushreg.xm.citrix.com"
	type ways [3]Via    // by split tunnel: off, on, reverse
	type askss [3]asked // by split DNS: remote, local, both
	var (
		listedWay   = ways{Gateway, Gateway, Direct}
		unlistedWay = ways{Gateway, Direct, Gateway}
		gatewayWay  = ways{Gateway, Gateway, Gateway}
		directWay   = ways{Direct, Direct, Direct}
		zone        = askss{askGateway, askLocal, askBoth}
		elsewhere   = askss{askLocal, askLocal, askLocal}
		inside      = askss{askGateway, askGateway, askGateway}
		itself      = askss{askItself, askItself, askItself}
		nobody      = askss{askNobody, askNobody, askNobody}
	)
	tests := []struct {
		kind, host string
		port       uint16
		ways       ways
		asks       askss
	}{
		{"listed, in a zone", "mail.example.com", 443, listedWay, zone},
		{"listed, in no zone", "mail.partner.example", 443, listedWay, elsewhere},
		{"listed, other port", "mail.example.com", 25, unlistedWay, zone},
		{"listed by wildcard", "a.internal.example.com", 443, listedWay, zone},
		{"unlisted, in a zone", "wiki.example.com", 443, unlistedWay, zone},
		{"the zone itself", "example.com", 443, unlistedWay, zone},
		{"beside the zone", "badexample.com", 443, unlistedWay, elsewhere},
		{"unlisted", "www.example.org", 443, unlistedWay, elsewhere},
		{"push registration, listed", pushreg, 443, listedWay, elsewhere},
		{"push registration, unlisted", "us-east-1.pushreg.xm.citrix.com", 443, unlistedWay, elsewhere},
		{"web domain", "portal.example.net", 80, listedWay, elsewhere},
		{"web domain, TLS", "portal.example.net", 443, listedWay, elsewhere},
		{"web domain, other port", "portal.example.net", 8080, unlistedWay, elsewhere},
		{"below a web domain", "a.b.web.example.net", 443, listedWay, elsewhere},
		{"the gateway's own name", gatewayName, 443, directWay, elsewhere},
		{"the gateway's own name, any port", "Gateway3.Example.COM.", 25, directWay, elsewhere},
		{"the name it is dialled by", "vip.example.com", 443, directWay, elsewhere},
		{"below the gateway's own name", "a.gateway3.example.com", 443, unlistedWay, zone},
		{"single label, unlisted", "intranet", 80, gatewayWay, inside},
		{"single label, listed", "files", 443, gatewayWay, inside},
		{"single label that is a zone", "corp", 80, gatewayWay, inside},
		{"in the zone of a single label", "wiki.corp", 80, unlistedWay, zone},
		{"single label with a dot", "intranet.", 80, gatewayWay, inside},
		{"this machine", "localhost", 80, unlistedWay, itself},
		{"this machine, a name below", "a.localhost", 80, unlistedWay, itself},
		{"the device's DNS", stub.DeviceDNS, 53, gatewayWay, nobody},
		{"IPv4, listed", "192.0.2.7", 443, listedWay, nobody},
		{"IPv4, unlisted", "192.0.2.8", 443, unlistedWay, nobody},
		{"IPv6", "2001:db8::1", 443, unlistedWay, nobody},
		{"IPv4 in IPv6, listed", "::ffff:192.0.2.7", 443, listedWay, nobody},
		{"the gateway's address", "192.0.2.1", 443, unlistedWay, nobody},
		{"no host", "a b", 443, unlistedWay, nobody},
	}
	for tunnels := Off; tunnels <= Reverse; tunnels++ {
		for dns := Remote; dns <= Both; dns++ {
			c := matrixConfig(t, tunnels, dns)
			s, err := newSplit(c)
			if err != nil {
				t.Fatal(err)
			}
			c.NetworkAccess, c.WebDomains = policy.AccessUnrestricted, nil
			open, err := newSplit(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, tt := range tests {
				d := tunnel.Destination{Host: tt.host, Port: tt.port}
				if addr, err := netip.ParseAddr(tt.host); err == nil && addr.Is6() {
					d = tunnel.Destination{Addr: addr, Port: tt.port}
				}
				r := s.way(d)
				if r.via != tt.ways[tunnels] {
					t.Errorf("%s: split tunnel %v, split DNS %v: %v", tt.kind, tunnels, dns, r.via)
				}
				if got := s.asks(r.host.Name); got != tt.asks[dns] {
					t.Errorf("%s: split tunnel %v, split DNS %v: asked %v", tt.kind, tunnels, dns, got)
				}
				// Unrestricted is as if there were no gateway.
				if r := open.way(d); r.via != Direct {
					t.Errorf("%s: unrestricted: %v", tt.kind, r.via)
				}
				want := askLocal
				if tt.asks == itself || tt.asks == nobody {
					want = tt.asks[dns]
				}
				if got := open.asks(r.host.Name); got != want {
					t.Errorf("%s: unrestricted: asked %v", tt.kind, got)
				}
			}
		}
	}
}

func matrixConfig(t *testing.T, tunnels Mode, dns DNSMode) Config {
	t.Helper()
	services, err := policy.ParseServices("mail.example.com:443,mail.partner.example:443,*.internal.example.com:443,192.0.2.7:443,files:443,eu-west-1.pushreg.xm.citrix.com:443")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Gateway: "vip.example.com:443", ServerName: gatewayName, NetworkAccess: policy.AccessWebSSO, Services: services,
		WebDomains: []string{"portal.example.net", "*.web.example.net"}, SplitTunnel: tunnels, SplitDNS: dns,
		Suffixes: []string{"Example.com.", "corp"},
	}
}

func TestSplitMistakes(t *testing.T) {
	for name, c := range map[string]Config{
		"an address for a suffix":    {Suffixes: []string{"192.0.2.1"}},
		"a wildcard for a suffix":    {Suffixes: []string{"*.example.com"}},
		"no suffix":                  {Suffixes: []string{""}},
		"split DNS":                  {SplitDNS: Both + 1},
		"network access":             {NetworkAccess: "open"},
		"web domains when tunnelled": {WebDomains: []string{"portal.example.net"}},
	} {
		if _, err := newSplit(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
