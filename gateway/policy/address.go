package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// AddressConfig is what the address rules of a gateway are made of. The zero
// config lets every listed name go to public addresses, and nowhere else.
type AddressConfig struct {
	// Own are the listeners that no tunnel may lead to: the gateway's own and
	// its peers', admin, health, authority and Redis, with the public
	// addresses under which any of them is known. An unspecified address means
	// its port on every loopback address and on every address in Local.
	Own []netip.AddrPort
	// Local are the addresses of this machine's interfaces.
	Local []netip.Addr
	// OwnNames are the names, normalised, under which devices know the gateway
	// and its peers, with the ports they know: a tunnel to one of them would
	// lead back in, whatever address it goes by.
	OwnNames map[string][]uint16
	// Pinned are the static hosts: by normalised name, the addresses that it
	// may have. They open private and pinned-only addresses to that name.
	Pinned map[string][]netip.Addr
	// Zones open private ranges to the names below a suffix.
	Zones []Zone
	// NAT64 are the translation prefixes of this network, beside the
	// well-known 64:ff9b::/96; 32, 40, 48, 56, 64 or 96 bits long (RFC 6052
	// §2.2). A prefix of another length closes its addresses. Addresses in
	// 64:ff9b:1::/48 (RFC 8215) can be dialled only within a prefix listed
	// here, since nothing else tells where in them the IPv4 address stands. An
	// address in another prefix is judged as itself too: a unique local prefix
	// needs a zone that allows it.
	NAT64 []netip.Prefix
}

// Zone is a part of the name space with private addresses.
type Zone struct {
	// Suffix is a normalised name; the zone holds it and all names below it. Of
	// two zones with one suffix the first counts.
	Suffix string
	// Allow are the private ranges that the zone's names may have.
	Allow []netip.Prefix
}

// AddressRules judges resolved addresses. It is immutable.
type AddressRules struct {
	own        map[netip.AddrPort]bool
	everywhere map[uint16]bool // ports on which something of ours listens on all addresses
	local      map[netip.Addr]bool
	ownNames   map[string][]uint16
	pinned     map[pin]bool
	zones      map[string][]netip.Prefix // by suffix
	nat64      []netip.Prefix
}

type pin struct {
	name string
	addr netip.Addr
}

// NewAddressRules compiles a config, and keeps no reference to it. Addresses
// are unmapped, and zones of addresses ignored.
func NewAddressRules(c AddressConfig) *AddressRules {
	r := &AddressRules{
		own:        make(map[netip.AddrPort]bool),
		everywhere: make(map[uint16]bool),
		local:      make(map[netip.Addr]bool),
		ownNames:   make(map[string][]uint16),
		pinned:     make(map[pin]bool),
		zones:      make(map[string][]netip.Prefix),
	}
	for _, own := range c.Own {
		addr := plain(own.Addr())
		if addr.IsUnspecified() {
			r.everywhere[own.Port()] = true
		}
		r.own[netip.AddrPortFrom(addr, own.Port())] = true
	}
	for name, ports := range c.OwnNames {
		r.ownNames[name] = slices.Clone(ports)
	}
	for _, addr := range c.Local {
		r.local[plain(addr)] = true
	}
	for name, addrs := range c.Pinned {
		for _, addr := range addrs {
			r.pinned[pin{name, plain(addr)}] = true
		}
	}
	for _, zone := range c.Zones {
		if _, taken := r.zones[zone.Suffix]; !taken && zone.Suffix != "" {
			r.zones[zone.Suffix] = slices.Clone(zone.Allow)
		}
	}
	for _, prefix := range c.NAT64 {
		r.nat64 = append(r.nat64, prefix.Masked())
	}
	return r
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// AddressError says why an address may not be dialled for a name.
type AddressError struct {
	// Class decided: Never, Own, PinnedOnly or Private.
	Class Class
	// Addr is the address as resolved.
	Addr netip.Addr
	// Reason is a sentence for the log.
	Reason string
}

// Error names the address and the reason.
func (e *AddressError) Error() string {
	return "address " + e.Addr.String() + " refused: " + e.Reason
}

// Check tells whether the address and port may be dialled for a listed name:
// nil, or an *AddressError. The name is the one that the policy allowed, as
// the client sent it and ParseHost made it; not the end of a CNAME chain, for
// a name that points into a zone inherits nothing from it. It is "" for a
// listed IPv4 address, which no zone and no pin can hold, so that only a public
// one can be dialled: to reach a private one, list a name and pin it.
//
// An address that carries others (see Classify) must pass with each of them; the
// error is about the strictest.
func (r *AddressRules) Check(name string, to netip.AddrPort) error {
	addr := to.Addr()
	if !addr.IsValid() || addr.Zone() != "" || to.Port() == 0 {
		return &AddressError{Never, addr, "it is no address that can be dialled"}
	}
	if r.OwnsName(name, to.Port()) {
		return &AddressError{Own, addr, "the name is the gateway's own"}
	}
	var room [manyFaces]netip.Addr
	all := faces(room[:0], addr, r.nat64)
	for _, face := range all {
		if r.isOwn(face, to.Port()) {
			return &AddressError{Own, addr, "a listener of the gateway or its authority"}
		}
	}
	worst, strictest, why := addr, Public, ""
	for _, face := range all {
		class := r.classOf(face)
		if class >= strictest {
			continue
		}
		if reason := r.refuse(name, face, class); reason != "" {
			worst, strictest, why = face, class, reason
		}
	}
	if why == "" {
		return nil
	}
	if worst != addr.Unmap() {
		why = "it carries " + worst.String() + ", " + why
	}
	return &AddressError{strictest, addr, why}
}

// OwnsName reports whether a name, on a port, is the gateway's own, or of what
// stands behind it, whatever it resolves to. Port 0 asks about any.
func (r *AddressRules) OwnsName(name string, port uint16) bool {
	ports := r.ownNames[name]
	return slices.Contains(ports, port) || port == 0 && len(ports) > 0
}

// isOwn compares address and port. What listens on all addresses is also
// reached by every loopback address, assigned to an interface or not.
func (r *AddressRules) isOwn(addr netip.Addr, port uint16) bool {
	if r.own[netip.AddrPortFrom(addr, port)] {
		return true
	}
	return r.everywhere[port] && (r.local[addr] || addr.IsLoopback())
}

// classOf is classifyFace, but that a configured prefix within the local-use
// range of NAT64 is open: what the address carries is judged beside it.
func (r *AddressRules) classOf(face netip.Addr) Class {
	if nat64Local.Contains(face) {
		for _, prefix := range r.nat64 {
			if prefix.Contains(face) {
				return Public
			}
		}
	}
	return classifyFace(face)
}

// refuse returns why a name may not go to an address of the class, or "".
func (r *AddressRules) refuse(name string, addr netip.Addr, class Class) string {
	switch class {
	case Public:
		return ""
	case Private:
		if r.isPinned(name, addr) || r.inZone(name, addr) {
			return ""
		}
		return "a private address, outside what the name's zone allows and not pinned to the name"
	case PinnedOnly:
		if r.isPinned(name, addr) {
			return ""
		}
		return "a loopback, link-local or metadata address, not pinned to the name"
	}
	return "an address that is never dialled"
}

func (r *AddressRules) isPinned(name string, addr netip.Addr) bool {
	return name != "" && r.pinned[pin{name, addr}]
}

// inZone asks the zone with the longest suffix, and no other: a narrower zone
// that allows less is not widened by the one around it.
func (r *AddressRules) inZone(name string, addr netip.Addr) bool {
	for suffix, more := name, true; more; _, suffix, more = strings.Cut(suffix, ".") {
		if allow, ok := r.zones[suffix]; ok {
			return slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(addr) })
		}
	}
	return false
}
