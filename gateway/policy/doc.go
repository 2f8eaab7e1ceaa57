// Package policy says what a device may reach: the compiled, immutable
// allow-list of a gateway and the rules for the addresses behind its names.
//
// It is pure. It opens no socket, asks no resolver and reads no clock, so a
// decision depends on its arguments alone and can be made again later, by an
// operator who wants to know why. Two questions are asked, in this order, and
// a tunnel needs a yes to both:
//
//	ParseHost             what the client sent, brought into one spelling
//	Policy.Decide         may this *name* be reached? (before any resolution)
//	AddressRules.Check    may this *address*, which the name resolved to, be dialled?
//
// The first is asked before resolution, so that a device cannot make the
// gateway look up names of its choosing. The second is asked afterwards, of
// exactly the address that is about to be dialled, because a listed name says
// nothing about what its DNS will answer tomorrow.
//
// # The list
//
// An entry is a host and a port, "mail.example.com:443". Entries are compared
// in lower case, without trailing dot, after IDNA (RFC 5891, UTS 46). An IPv4
// address may be listed, an IPv6 address may not. "*.example.com:443" is an
// extension of ours: it stands for every name below example.com, at any depth,
// and never for example.com itself. What is not listed is denied.
//
// A ticket may carry a list of its own. It narrows the gateway's list and can
// never widen it: both must say yes.
//
// # Addresses
//
//	never         unspecified, multicast, broadcast, reserved, documentation   no way round it
//	own           a listener of the gateway, its peers or its authority        no way round it
//	pinned_only   loopback, link-local, cloud metadata                         a pin of that name to that address
//	private       RFC 1918, 100.64/10, ULA, benchmarking                       a pin, or the allow of the name's zone
//	public        the rest of what IANA handed out                             any listed name
//
// An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4, Teredo,
// ISATAP) is judged twice, as itself and as what it carries, and must pass
// both times.
package policy
