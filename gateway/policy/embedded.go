package policy

import "net/netip"

// manyFaces is room for those of any address, where one NAT64 prefix at most
// holds it; more prefixes cost an allocation and nothing else.
const manyFaces = 8

// Prefixes with a meaning for what they carry.
var (
	nat64Known = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380
)

// faces returns every address that a packet to addr may end up at: addr itself,
// unmapped, and the IPv4 addresses that it carries for some translator or
// tunnel on the way. All of them must be allowed, for nobody here knows whether
// such a device stands on the path. nat64 holds the translation prefixes of
// this network.
//
//	::ffff:a.b.c.d                mapped                the IPv4 address alone
//	64:ff9b::a.b.c.d              NAT64                 bytes 12–15
//	nat64                         NAT64, configured     by the prefix's length
//	2002:aabb:ccdd::              6to4                  bytes 2–5
//	2001:0:aabb:ccdd:…:xxxx:xxxx  Teredo                server in 4–7, client in 12–15, inverted
//	…:[02]00:5efe:a.b.c.d         ISATAP, RFC 5214      bytes 12–15
//
// The remaining forms, IPv4-compatible (::a.b.c.d) and IPv4-translated
// (::ffff:0:a.b.c.d), lie outside the space that may be dialled at all.
//
// They are appended to all, which is empty, so that the caller can give room.
func faces(all []netip.Addr, addr netip.Addr, nat64 []netip.Prefix) []netip.Addr {
	addr = addr.Unmap()
	all = append(all, addr)
	if addr.Is4() {
		return all
	}
	b := addr.As16()
	carry := func(b0, b1, b2, b3 byte) {
		all = append(all, netip.AddrFrom4([4]byte{b0, b1, b2, b3}))
	}
	if sixToFour.Contains(addr) {
		carry(b[2], b[3], b[4], b[5])
	}
	if teredo.Contains(addr) {
		carry(b[4], b[5], b[6], b[7])
		carry(^b[12], ^b[13], ^b[14], ^b[15])
	}
	// The two low bits of the first byte say "universal" and "group": either
	// way it is ISATAP's mark.
	if b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		carry(b[12], b[13], b[14], b[15])
	}
	if nat64Known.Contains(addr) {
		carry(b[12], b[13], b[14], b[15])
	}
	for _, prefix := range nat64 {
		if prefix.Contains(addr) {
			all = append(all, translated(b, prefix.Bits()))
		}
	}
	return all
}

// translated takes the IPv4 address out of a NAT64 address with a prefix of
// the given length, by the table of RFC 6052 §2.2: byte 8 is always skipped. A
// length that the table lacks gives 0.0.0.0, which is Never.
func translated(b [16]byte, bits int) netip.Addr {
	switch bits {
	case 32:
		return netip.AddrFrom4([4]byte{b[4], b[5], b[6], b[7]})
	case 40:
		return netip.AddrFrom4([4]byte{b[5], b[6], b[7], b[9]})
	case 48:
		return netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})
	case 56:
		return netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]})
	case 64:
		return netip.AddrFrom4([4]byte{b[9], b[10], b[11], b[12]})
	case 96:
		return netip.AddrFrom4([4]byte{b[12], b[13], b[14], b[15]})
	}
	return netip.IPv4Unspecified()
}
