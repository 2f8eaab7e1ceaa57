package policy

import (
	"errors"
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	for class, addrs := range map[Class][]string{
		Public: {
			"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
			"192.169.0.0", "169.253.255.255", "169.255.0.0", "168.63.129.15", "168.63.129.17", "198.17.255.255",
			"198.20.0.0", "223.255.255.255", "192.0.1.0", "11.0.0.0", "126.255.255.255", "128.0.0.0",
			"2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "3ffe:ffff::1",
			"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:8.8.8.8",
			"2001:0:808:808::f7f7:f7f7",
		},
		Private: {
			"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255",
			"100.64.0.0", "100.127.255.255", "198.18.0.1", "198.19.255.255",
			"fc00::1", "fd12:3456::1", "fdff:ffff::1", "2001:2::1",
			"::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1",
			"fd12:3456::5efe:8.8.8.8",
			"2001:0:808:808::f5ff:fffe", // Teredo, client 10.0.0.1
			"2001:0:a00:1::f7f7:f7f7",   // Teredo, server 10.0.0.1
		},
		PinnedOnly: {
			"127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.169.254", "168.63.129.16", "100.100.100.200",
			"::1", "fe80::1", "febf::1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe",
			"::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
			"2002:7f00:1::", "2002:a9fe:a9fe::1", "2606:4700::5efe:127.0.0.1", "fe80::5efe:8.8.8.8",
			"fd12:3456::5efe:169.254.169.254", "2002:808:808::5efe:127.0.0.1",
			"2001:0:808:808::80ff:fffe", // Teredo, client 127.0.0.1
		},
		Never: {
			"0.0.0.0", "0.1.2.3", "0.255.255.255", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
			"192.0.0.1", "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
			"::", "ff02::1", "ff0e::1", "fec0::1", "100::1", "5f00::1", "4000::1", "1fff::1", "2001:db8::1", "3fff::1",
			"2001:20::1", "2001:1::1", "2001:10::1", "64:ff9b:1::8.8.8.8", "64:ff9b:1:808:8:800::", "64:ff9a::8.8.8.8",
			"::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0.0.0.0",
			"64:ff9b::0.0.0.0", "64:ff9b::255.255.255.255", "2002::1", "2002:e000:1::1", "2606:4700::5efe:0.0.0.0",
			"fe80::1%eth0", "2606:4700::1111%eth0",
		},
	} {
		for _, s := range addrs {
			if got := Classify(netip.MustParseAddr(s)); got != class {
				t.Errorf("%s: %s, want %s", s, got, class)
			}
		}
	}
	if got := Classify(netip.Addr{}); got != Never {
		t.Errorf("no address: %s", got)
	}
}

func TestClassNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []Class{Never, Own, PinnedOnly, Private, Public} {
		seen[c.String()] = true
	}
	if len(seen) != 5 || Class(99).String() != "never" {
		t.Errorf("the classes are called %v", seen)
	}
}

func testRules() *AddressRules {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	return NewAddressRules(AddressConfig{
		Own: []netip.AddrPort{
			netip.MustParseAddrPort("0.0.0.0:443"),       // the public listener
			netip.MustParseAddrPort("127.0.0.1:9443"),    // admin
			netip.MustParseAddrPort("10.0.0.9:6379"),     // Redis
			netip.MustParseAddrPort("[2a00:1:2::9]:443"), // a peer
		},
		Local: []netip.Addr{addr("127.0.0.1"), addr("::1"), addr("10.0.0.5"), addr("81.2.69.142"), addr("fe80::5%eth0")},
		Pinned: map[string][]netip.Addr{
			"mail.example.com":  {addr("10.0.0.25"), addr("::ffff:10.0.0.26"), addr("127.0.0.1"), addr("10.0.0.5"), addr("10.0.0.9")},
			"nat.example.com":   {addr("64:ff9b::10.9.9.9")},
			"fixed.example.com": {addr("224.0.0.1"), addr("0.0.0.0")},
		},
		Zones: []Zone{
			{"example.com", []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd12::/16"), prefix("127.0.0.0/8"), prefix("0.0.0.0/0")}},
			{"eu.example.com", []netip.Prefix{prefix("172.16.0.0/12"), prefix("64:ff9b:1:64::/96"), prefix("2a00:64::/32")}},
			{"", []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}},
		},
		NAT64: []netip.Prefix{prefix("64:ff9b:1:64::/96"), prefix("2a00:64::/40"), prefix("2a00:65::/33"), prefix("fd64::/96")},
	})
}

func TestCheck(t *testing.T) {
	const pass = Public
	rules := testRules()
	for _, c := range []struct {
		name, to string
		want     Class // Public: it passes
	}{
		// Public addresses are for every listed name, and for listed addresses.
		{"mail.example.com", "8.8.8.8:443", pass},
		{"", "8.8.8.8:443", pass},
		{"mail.example.com", "[::ffff:8.8.8.8]:443", pass},
		{"mail.example.com", "[2606:4700::1111]:443", pass},
		{"mail.example.com", "8.8.8.8:0", Never},

		// Private: by pin, or by the zone of the name.
		{"mail.example.com", "10.0.0.25:443", pass},
		{"mail.example.com", "10.0.0.26:443", pass},
		{"mail.example.com", "[::ffff:10.0.0.25]:443", pass},
		{"other.example.com", "10.7.7.7:443", pass},
		{"example.com", "10.7.7.7:443", pass},
		{"other.example.com", "[fd12::7]:443", pass},
		{"other.example.com", "[fd13::7]:443", Private},
		{"notexample.com", "10.7.7.7:443", Private},
		{"other.example", "10.0.0.25:443", Private},
		{"other.example", "[::ffff:10.0.0.25]:443", Private},
		{"", "10.0.0.25:443", Private},

		// The longest suffix decides alone.
		{"a.eu.example.com", "172.16.0.1:443", pass},
		{"a.eu.example.com", "10.7.7.7:443", Private},
		{"eu.example.com", "172.16.0.1:443", pass},

		// Loopback and its like: by pin only, however wide the zone is.
		{"mail.example.com", "127.0.0.1:8444", pass},
		{"mail.example.com", "127.0.0.2:8444", PinnedOnly},
		{"mail.example.com", "[::1]:8444", PinnedOnly},
		{"other.example.com", "127.0.0.1:8444", PinnedOnly},
		{"other.example.com", "169.254.169.254:80", PinnedOnly},
		{"other.example.com", "[fd00:ec2::254]:80", PinnedOnly},
		{"other.example.com", "100.100.100.200:80", PinnedOnly},
		{"", "127.0.0.1:8444", PinnedOnly},

		// Never: no pin, no zone.
		{"fixed.example.com", "224.0.0.1:443", Never},
		{"fixed.example.com", "0.0.0.0:444", Never},
		{"other.example.com", "255.255.255.255:443", Never},

		// Our own listeners: no pin, no zone, and by every way of writing them.
		{"mail.example.com", "127.0.0.1:9443", Own},
		{"mail.example.com", "[::ffff:127.0.0.1]:9443", Own},
		{"mail.example.com", "[64:ff9b::127.0.0.1]:9443", Own},
		{"mail.example.com", "127.0.0.1:443", Own},
		{"mail.example.com", "127.0.0.77:443", Own},
		{"mail.example.com", "[::1]:443", Own},
		{"mail.example.com", "0.0.0.0:443", Own},
		{"mail.example.com", "10.0.0.5:443", Own},
		{"mail.example.com", "10.0.0.5:8443", pass}, // pinned; the address alone is not ours
		{"mail.example.com", "81.2.69.142:443", Own},
		{"mail.example.com", "81.2.69.142:25", pass},
		{"mail.example.com", "[2002:5102:458e::1]:443", Own}, // 6to4 of 81.2.69.142
		{"mail.example.com", "[fe80::5]:443", Own},
		{"mail.example.com", "10.0.0.9:6379", Own},
		{"mail.example.com", "10.0.0.9:443", pass},
		{"mail.example.com", "[2a00:1:2::9]:443", Own},
		{"mail.example.com", "[2a00:1:2::9]:444", pass},

		// What is carried is judged beside what carries it.
		{"other.example", "[64:ff9b::10.7.7.7]:443", Private},
		{"other.example.com", "[64:ff9b::10.7.7.7]:443", pass},
		{"other.example.com", "[64:ff9b::169.254.169.254]:80", PinnedOnly},
		{"nat.example.com", "[64:ff9b::10.9.9.9]:443", pass}, // by the zone of 10.9.9.9
		{"other.example.com", "[fd13::5efe:10.7.7.7]:443", Private},
		{"other.example.com", "[fd12::5efe:10.7.7.7]:443", pass},
		{"other.example.com", "[fd12::5efe:192.0.2.1]:443", Never},
		{"other.example", "[64:ff9b:1:64::8.8.8.8]:443", pass},
		{"other.example", "[64:ff9b:1:64::10.7.7.7]:443", Private},
		{"other.example", "[64:ff9b:1:65::8.8.8.8]:443", Never},
		{"other.example", "[fd64::8.8.8.8]:443", Private},
		{"other.example", "[2a00:64:8:808:8::]:443", pass}, // /40: 8.8.8 before byte 8, 8 behind it
		{"other.example", "[2a00:64:a:707:7::]:443", Private},
		{"other.example", "[2a00:65::1]:444", Never}, // a prefix of no valid length
		{"other.example.com", "[fe80::1%eth0]:443", Never},
	} {
		err := rules.Check(c.name, netip.MustParseAddrPort(c.to))
		var refused *AddressError
		switch {
		case c.want == pass && err != nil:
			t.Errorf("%q to %s: %v, want a pass", c.name, c.to, err)
		case c.want != pass && (!errors.As(err, &refused) || refused.Class != c.want):
			t.Errorf("%q to %s: %v, want class %s", c.name, c.to, err, c.want)
		}
	}
}

// TestTranslated has the examples of RFC 6052 §2.4.
func TestTranslated(t *testing.T) {
	for bits, s := range map[int]string{
		32: "2001:db8:c000:221::",
		40: "2001:db8:1c0:2:21::",
		48: "2001:db8:122:c000:2:2100::",
		56: "2001:db8:122:3c0:0:221::",
		64: "2001:db8:122:344:c0:2:2100::",
		96: "2001:db8:122:344::192.0.2.33",
	} {
		if got := translated(netip.MustParseAddr(s).As16(), bits); got != netip.MustParseAddr("192.0.2.33") {
			t.Errorf("/%d: %s carries %s", bits, s, got)
		}
	}
}

// A literal pinned in translated form is not a pin of what it carries: outside
// a zone both would have to be pinned.
func TestPinOfCarrierIsNoPinOfCarried(t *testing.T) {
	carrier := netip.MustParseAddr("64:ff9b::127.0.0.1")
	pins := map[string][]netip.Addr{"a.example": {carrier}}
	to := netip.AddrPortFrom(carrier, 443)
	if err := NewAddressRules(AddressConfig{Pinned: pins}).Check("a.example", to); err == nil {
		t.Error("a pin of the carrier opened loopback")
	}
	pins["a.example"] = append(pins["a.example"], netip.MustParseAddr("127.0.0.1"))
	if err := NewAddressRules(AddressConfig{Pinned: pins}).Check("a.example", to); err != nil {
		t.Errorf("both pinned: %v", err)
	}
}

// What passes costs nothing, however many zones there are.
func TestCheckDoesNotAllocate(t *testing.T) {
	config := AddressConfig{
		Pinned: map[string][]netip.Addr{"mail.example.com": {netip.MustParseAddr("10.0.0.25")}},
		NAT64:  []netip.Prefix{netip.MustParsePrefix("2a00:64::/96")},
	}
	for i := range 1000 {
		config.Zones = append(config.Zones, Zone{"z" + itoa(i) + ".example.com", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	}
	rules := NewAddressRules(config)
	for name, to := range map[string]string{
		"a.example":            "8.8.8.8:443",
		"b.example":            "[2606:4700::1111]:443",
		"c.example":            "[2a00:64::8.8.8.8]:443",
		"mail.example.com":     "10.0.0.25:443",
		"a.b.z999.example.com": "10.7.7.7:443",
		"z0.example.com":       "[64:ff9b::10.7.7.7]:443",
	} {
		at := netip.MustParseAddrPort(to)
		var err error
		free(t, to, func() { err = rules.Check(name, at) })
		if err != nil {
			t.Errorf("%s to %s: %v", name, to, err)
		}
	}
}

// The zone with the longest suffix decides, and of two with one suffix the
// first.
func TestZonesOfOneSuffix(t *testing.T) {
	ten, other := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")
	rules := NewAddressRules(AddressConfig{Zones: []Zone{
		{"example.com", []netip.Prefix{ten}}, {"example.com", []netip.Prefix{other}}, {"closed.example.com", nil},
	}})
	for _, c := range []struct {
		name, to string
		pass     bool
	}{
		{"a.example.com", "10.0.0.1:443", true},
		{"a.example.com", "172.16.0.1:443", false},
		{"a.closed.example.com", "10.0.0.1:443", false},
		{"com", "10.0.0.1:443", false},
		{"", "10.0.0.1:443", false},
	} {
		if err := rules.Check(c.name, netip.MustParseAddrPort(c.to)); (err == nil) != c.pass {
			t.Errorf("%q to %s: %v", c.name, c.to, err)
		}
	}
}

func TestRulesKeepNoReference(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}
	rules := NewAddressRules(AddressConfig{Zones: []Zone{{"example.com", allow}}})
	allow[0] = netip.MustParsePrefix("10.0.0.0/8")
	if err := rules.Check("a.example.com", netip.MustParseAddrPort("10.0.0.1:1")); err == nil {
		t.Error("the caller's slice still counts")
	}
}

func TestZeroRulesAllowPublicOnly(t *testing.T) {
	rules := NewAddressRules(AddressConfig{})
	for to, want := range map[string]bool{"8.8.8.8:443": true, "10.0.0.1:443": false, "127.0.0.1:443": false, "[ff02::1]:443": false} {
		if err := rules.Check("a.example", netip.MustParseAddrPort(to)); (err == nil) != want {
			t.Errorf("%s: %v", to, err)
		}
	}
	if err := rules.Check("a.example", netip.AddrPort{}); err == nil {
		t.Error("no address passed")
	}
}

// A tunnel to the gateway's own name would lead back in, whatever address the
// name has.
func TestOwnNames(t *testing.T) {
	rules := NewAddressRules(AddressConfig{
		OwnNames: map[string][]uint16{"gateway.example.com": {443, 8443}},
		Pinned:   map[string][]netip.Addr{"gateway.example.com": {netip.MustParseAddr("10.0.0.1")}},
	})
	for _, c := range []struct {
		name, to string
		own      bool
	}{
		{"gateway.example.com", "8.8.8.8:443", true},
		{"gateway.example.com", "10.0.0.1:8443", true},
		{"gateway.example.com", "8.8.8.8:993", false},
		{"mail.example.com", "8.8.8.8:443", false},
		{"", "8.8.8.8:443", false},
	} {
		var refused *AddressError
		err := rules.Check(c.name, netip.MustParseAddrPort(c.to))
		if own := errors.As(err, &refused) && refused.Class == Own; own != c.own {
			t.Errorf("%s at %s: %v", c.name, c.to, err)
		}
		if port := netip.MustParseAddrPort(c.to).Port(); rules.OwnsName(c.name, port) != c.own {
			t.Errorf("%s on %d is its own: %v", c.name, port, !c.own)
		}
	}
}
