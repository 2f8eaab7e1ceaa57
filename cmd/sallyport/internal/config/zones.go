package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// checkZones judges the DNS servers, and what the zones may lead to.
func (r *reader) checkZones(c *Config) {
	if r.bad("splitdns") {
		return
	}
	r.checkServers("splitdns.public", c.SplitDNS.Public)
	seen := make(map[string]bool)
	for i, zone := range c.SplitDNS.Zones {
		at := item("splitdns.zones", i)
		if r.bad("splitdns.zones") || r.bad(at) {
			continue
		}
		r.need(at+".suffix", zone.Suffix == "", "the zone's name, such as corp.example.com")
		if zone.Suffix != "" && seen[zone.Suffix] {
			r.say(at+".suffix", "another zone has this suffix already")
		}
		seen[zone.Suffix] = true
		r.checkServers(at+".servers", zone.Servers)
		if len(zone.Servers) == 0 && len(zone.Allow) == 0 {
			r.say(at, "has neither servers nor allow, and so no effect; add one of them")
		}
		if slices.ContainsFunc(zone.Servers, isInside) && len(zone.Allow) == 0 && !r.bad(at+".allow") {
			r.sayAs(Warning, at, "has servers inside and no allow, so its names may lead to public addresses only; if they are private, add their networks, such as allow: [10.0.0.0/8]")
		}
		for j, network := range zone.Allow {
			r.checkAllow(item(at+".allow", j), network)
		}
	}
	for i, prefix := range c.SplitDNS.NAT64 {
		if path := item("splitdns.nat64", i); !r.bad(path) && prefix.IsValid() &&
			(!prefix.Addr().Is6() || !slices.Contains([]int{32, 40, 48, 56, 64, 96}, prefix.Bits())) {
			r.say(path, "needs an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits (RFC 6052)")
		}
	}
}

// isInside tells whether a server has a private address.
func isInside(text string) bool {
	server, err := upstream.ParseServer(text)
	return err == nil && policy.Classify(server.Addr.Addr()) == policy.Private
}

func (r *reader) checkServers(path string, servers []string) {
	for i, text := range servers {
		if at := item(path, i); !r.bad(at) {
			if _, err := upstream.ParseServer(text); err != nil {
				r.say(at, err.Error())
			}
		}
	}
}

func (r *reader) checkAllow(path string, network netip.Prefix) {
	switch {
	case r.bad(path) || !network.IsValid():
		return
	case network.Bits() == 0:
		r.sayAs(Warning, path, "opens every private address there is to the names of the zone; name the networks that they are in")
		return
	}
	if !policy.OverlapsPrivate(network) {
		r.sayAs(Warning, path, fmt.Sprintf("%s holds no private address, so it opens nothing: public ones are open, and loopback and link-local ones need splitdns.hosts", network))
	}
}
