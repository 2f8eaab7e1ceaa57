package policy

import "net/netip"

// Class says how freely an address may be dialled. The lower, the stricter;
// the zero Class is Never.
type Class uint8

// The classes of an address.
const (
	// Never: nobody may dial it, and nothing changes that.
	Never Class = iota
	// Own: a listener of the gateway, its peers or its authority. It depends
	// on the port, so only AddressRules.Check gives it, never Classify.
	Own
	// PinnedOnly: loopback, link-local and cloud metadata. Only for a name
	// that is pinned to exactly this address.
	PinnedOnly
	// Private: for a name that is pinned to it, or whose zone allows it.
	Private
	// Public: for any listed name.
	Public
)

// String returns the class as a metric label: never, own, pinned_only, private
// or public.
func (c Class) String() string {
	switch c {
	case Own:
		return "own"
	case PinnedOnly:
		return "pinned_only"
	case Private:
		return "private"
	case Public:
		return "public"
	}
	return "never"
}

// Classify returns the class of an address by the special-purpose address
// registries of IANA (RFC 6890 and its successors), read as follows.
//
//	valid destination, forwarded, globally reachable   Public
//	forwarded within limits (private, benchmarking)    Private
//	not forwarded (loopback, link-local)               PinnedOnly
//	no valid destination (documentation, reserved)     Never
//
// IPv6 is public only within 2000::/3, the part that is handed out, and in the
// well-known NAT64 prefix. The metadata services of clouds are PinnedOnly,
// wherever they lie. An address that carries an IPv4 address gets the stricter
// of both classes. An invalid address and one with a zone are Never.
func Classify(addr netip.Addr) Class {
	if !addr.IsValid() || addr.Zone() != "" {
		return Never
	}
	class := Public
	var room [manyFaces]netip.Addr
	for _, face := range faces(room[:0], addr, nil) {
		class = min(class, classifyFace(face))
	}
	return class
}

// classifyFace classifies an unmapped address by itself.
func classifyFace(addr netip.Addr) Class {
	if addr.Is4() {
		return lookUp(specialIPv4, addr, Public)
	}
	return lookUp(specialIPv6, addr, Never)
}

// OverlapsPrivate reports whether a network has private addresses: what a zone can
// allow, and nothing else can.
func OverlapsPrivate(network netip.Prefix) bool {
	ranges := specialIPv6
	if network.Addr().Is4() {
		ranges = specialIPv4
	}
	for _, r := range ranges {
		if !r.prefix.Overlaps(network) {
			continue
		}
		if r.class == Private {
			return true
		}
		if r.prefix.Bits() <= network.Bits() {
			return false // the whole network is of this class
		}
	}
	return false
}

// lookUp returns the class of the first range that holds the address.
func lookUp(ranges []classRange, addr netip.Addr, otherwise Class) Class {
	for _, r := range ranges {
		if r.prefix.Contains(addr) {
			return r.class
		}
	}
	return otherwise
}
