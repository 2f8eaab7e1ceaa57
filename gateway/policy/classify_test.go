package policy

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"0.0.0.0", "8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "192.0.2.1", "100.64.0.1"} {
		b := netip.MustParseAddr(s).As4()
		f.Add(binary.BigEndian.Uint32(b[:]), uint64(0x2606470000000000), uint64(0))
	}
	f.Add(uint32(0x7f000001), uint64(0x0064ff9b00000000), uint64(0x7f000001))
	f.Add(uint32(0x7f000001), uint64(0xfe80000000000000), uint64(0x5efe7f000001))
	f.Fuzz(func(t *testing.T, v4 uint32, high, low uint64) {
		var b4 [4]byte
		binary.BigEndian.PutUint32(b4[:], v4)
		plain := netip.AddrFrom4(b4)
		class := Classify(plain)

		if mapped := netip.AddrFrom16(plain.As16()); Classify(mapped) != class {
			t.Errorf("%s is %s, but %s is %s", plain, class, mapped, Classify(mapped))
		}
		for _, carrier := range carriers(b4, high, low) {
			if carrier == netip.IPv6Loopback() {
				continue // by the form also 0.0.0.1, which nobody means
			}
			if got := Classify(carrier); got > class {
				t.Errorf("%s is %s, but %s, which carries it, is %s", plain, class, carrier, got)
			}
		}

		var b16 [16]byte
		binary.BigEndian.PutUint64(b16[:8], high)
		binary.BigEndian.PutUint64(b16[8:], low)
		for _, addr := range []netip.Addr{plain, netip.AddrFrom16(b16)} {
			checkAgainstNet(t, addr)
			checkAgainstRules(t, addr)
		}
	})
}

// checkAgainstRules: for a name with neither zone nor pin, the rules let through
// what is public, and name the class of what is not.
func checkAgainstRules(t *testing.T, addr netip.Addr) {
	t.Helper()
	class := Public
	var refused *AddressError
	if err := NewAddressRules(AddressConfig{}).Check("a.example", netip.AddrPortFrom(addr, 443)); errors.As(err, &refused) {
		class = refused.Class
	} else if err != nil {
		t.Errorf("%s: not an *AddressError: %v", addr, err)
	}
	if want := Classify(addr); class != want {
		t.Errorf("%s is %s, and is judged as %s", addr, want, class)
	}
}

// carriers writes the IPv4 address into every form that carries one; the rest
// of the IPv6 address is the fuzzer's.
func carriers(v4 [4]byte, high, low uint64) []netip.Addr {
	var base [16]byte
	binary.BigEndian.PutUint64(base[:8], high)
	binary.BigEndian.PutUint64(base[8:], low)
	put := func(fixed map[int]byte, at int, invert byte) netip.Addr {
		b := base
		for i, v := range fixed {
			b[i] = v
		}
		for i, v := range v4 {
			b[at+i] = v ^ invert
		}
		return netip.AddrFrom16(b)
	}
	zeros := func(fixed map[int]byte, from, to int) map[int]byte {
		for i := from; i < to; i++ {
			fixed[i] = 0
		}
		return fixed
	}
	teredo := map[int]byte{0: 0x20, 1: 1, 2: 0, 3: 0}
	return []netip.Addr{
		put(zeros(map[int]byte{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b}, 4, 12), 12, 0),
		put(map[int]byte{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 4: 0, 5: 1}, 12, 0),
		put(map[int]byte{0: 0x20, 1: 2}, 2, 0),
		put(teredo, 4, 0),
		put(teredo, 12, 0xff),
		put(map[int]byte{8: 0, 9: 0, 10: 0x5e, 11: 0xfe}, 12, 0),
		put(map[int]byte{8: 2, 9: 0, 10: 0x5e, 11: 0xfe}, 12, 0),
		put(zeros(map[int]byte{}, 0, 12), 12, 0),
		put(zeros(map[int]byte{8: 0xff, 9: 0xff, 10: 0, 11: 0}, 0, 8), 12, 0),
	}
}

// checkAgainstNet compares with what net/netip knows by itself.
func checkAgainstNet(t *testing.T, addr netip.Addr) {
	t.Helper()
	class, flat := Classify(addr), addr.Unmap()
	switch {
	case flat.IsUnspecified(), flat.IsMulticast():
		if class != Never {
			t.Errorf("%s is %s", addr, class)
		}
	case flat.IsLoopback(), flat.IsLinkLocalUnicast():
		if class > PinnedOnly {
			t.Errorf("%s is %s", addr, class)
		}
	case flat.IsPrivate(), !flat.IsGlobalUnicast():
		if class > Private {
			t.Errorf("%s is %s", addr, class)
		}
	}
}

// What a zone's allow can open is what has private addresses.
func TestOverlapsPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"10.0.0.0/8": true, "10.1.2.3/32": true, "172.16.0.0/12": true, "192.168.1.0/24": true, "100.64.0.0/10": true,
		"198.18.0.0/15": true, "fc00::/7": true, "fd00::1/128": true, "2001:2::/48": true, "0.0.0.0/0": true, "::/0": true,
		"8.0.0.0/6": true, "2001::/16": true, "100.100.100.0/24": true, "fd00:ec2::/31": true,
		"8.8.8.0/24": false, "127.0.0.0/8": false, "169.254.0.0/16": false, "172.32.0.0/12": false, "224.0.0.0/4": false,
		"100.100.100.200/32": false, "fd00:ec2::/32": false, "fe80::/10": false, "2606:4700::/32": false, "::ffff:0:0/96": false,
	} {
		network := netip.MustParsePrefix(text).Masked()
		if OverlapsPrivate(network) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}
