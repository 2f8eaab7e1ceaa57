// Package policy says what a device may reach: the compiled, immutable
// allow-lists of a gateway and the rules for the addresses behind their names.
//
// It is pure. It opens no socket, asks no resolver and reads no clock, so a
// decision depends on its arguments alone and can be made again later, by an
// operator who wants to know why. Four questions are asked, in this order, and
// a tunnel needs a yes to the last two:
//
//	Set.For               which policy is this ticket under?
//	ParseHost             what the client sent, brought into one spelling
//	Policy.Decide         may this *name* be reached? (before any resolution)
//	AddressRules.Check    may this *address*, which the name resolved to, be dialled?
//
// The name is judged before resolution, so that a device cannot make the gateway
// look up names of its choosing. The address is judged afterwards, exactly the
// one that is about to be dialled, because a listed name says nothing about what
// its DNS will answer tomorrow.
//
// # Which policy
//
// A Set is the default policy and named ones. A ticket that names a policy gets
// that one, and none if there is none of that name. For any other ticket the
// first named policy whose Match fits it counts, and else the default. A policy
// to which those before it leave no ticket is refused when the set is compiled:
// its author meant something by it.
//
// # The list
//
// An entry is a host and a port, "mail.example.com:443". Entries are compared
// in lower case, without trailing dot, after IDNA (RFC 5891, UTS 46). An IPv4
// address may be listed, an IPv6 address may not. "*.example.com:443" is an
// extension of ours: it stands for every name below example.com, at any depth,
// and never for example.com itself. What is not listed is denied. A look-up
// costs the same for ten entries and ten thousand, and allocates nothing.
//
// A ticket may carry a list of its own. It narrows the gateway's list and can
// never widen it: both must say yes.
//
// # Network access
//
//	tunneled       what the list has
//	web_sso        what the list has; and the web domains, on ports 80 and 443
//	unrestricted   nothing: its devices use no gateway, so nothing should arrive
//
// A web domain is a name, or "*.example.com" for those below one, and is judged
// as an entry of the list is, addresses included. There is no "any". Split tunnel
// and split DNS are for devices; they never change a decision, and nor does the
// Console, which is kept in a Spec for those who lint and export it.
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
//
// # Tricks
//
// testdata/tricks.txt has the spellings and addresses that fooled other
// gateways, and testdata/answers.txt what a lying DNS server may answer, each
// with the label of its refusal. The tests of every carrier read them too.
package policy
