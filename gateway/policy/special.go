package policy

import "net/netip"

// classRange gives a class to a range of addresses.
type classRange struct {
	prefix netip.Prefix
	class  Class
}

func in(prefix string, class Class) classRange {
	return classRange{netip.MustParsePrefix(prefix), class}
}

// specialIPv4 is the special part of IPv4, the narrower range before the wider
// one; every other address is Public. It is a constant: nobody writes to it.
var specialIPv4 = []classRange{
	in("168.63.129.16/32", PinnedOnly),   // Azure's host services, in the middle of public space
	in("100.100.100.200/32", PinnedOnly), // Alibaba's metadata, in the middle of 100.64/10

	in("0.0.0.0/8", Never),           // this network, RFC 791 §3.2; Linux takes 0.0.0.0 for itself
	in("10.0.0.0/8", Private),        // RFC 1918
	in("100.64.0.0/10", Private),     // shared by carriers, RFC 6598
	in("127.0.0.0/8", PinnedOnly),    // loopback, RFC 1122 §3.2.1.3
	in("169.254.0.0/16", PinnedOnly), // link-local, RFC 3927, and most metadata services
	in("172.16.0.0/12", Private),     // RFC 1918
	in("192.0.0.0/24", Never),        // protocol assignments, RFC 6890 §2.1: transition tricks, Oracle's metadata, no server
	in("192.0.2.0/24", Never),        // documentation, RFC 5737
	in("192.88.99.0/24", Never),      // 6to4 relays, withdrawn by RFC 7526
	in("192.168.0.0/16", Private),    // RFC 1918
	in("198.18.0.0/15", Private),     // benchmarking, RFC 2544: forwarded in laboratories
	in("198.51.100.0/24", Never),     // documentation, RFC 5737
	in("203.0.113.0/24", Never),      // documentation, RFC 5737
	in("224.0.0.0/4", Never),         // multicast, RFC 5771
	in("240.0.0.0/4", Never),         // reserved, RFC 1112 §4, with the broadcast address
}

// specialIPv6 is IPv6, the narrower range before the wider one; every other
// address is Never. It is a constant: nobody writes to it.
var specialIPv6 = []classRange{
	in("::1/128", PinnedOnly),                // loopback, RFC 4291 §2.5.3
	in("fe80::/10", PinnedOnly),              // link-local, RFC 4291 §2.5.6
	in("fd00:ec2::/32", PinnedOnly),          // Amazon's metadata, DNS and time
	in("fd20:ce::254/128", PinnedOnly),       // Google's metadata
	in("fd00:c1::a9fe:a9fe/128", PinnedOnly), // Oracle's metadata
	in("fd00:42::42/128", PinnedOnly),        // Scaleway's metadata
	in("fc00::/7", Private),                  // unique local, RFC 4193
	in("64:ff9b::/96", Public),               // NAT64, RFC 6052 §2.1: what it carries decides

	in("2001::/32", Public),    // Teredo, RFC 4380: what it carries decides
	in("2001:2::/48", Private), // benchmarking, RFC 5180
	in("2001::/23", Never),     // the other protocol assignments, RFC 2928
	in("2001:db8::/32", Never), // documentation, RFC 3849
	in("3fff::/20", Never),     // documentation, RFC 9637
	in("2000::/3", Public),     // global unicast, RFC 4291 §2.4; with 6to4, where what it carries decides
}
