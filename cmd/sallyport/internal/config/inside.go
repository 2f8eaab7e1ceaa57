package config

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

const (
	insideKey = "gateway.inside"
	// insideName is the name of the inside door's list in explanations and logs.
	insideName = "inside"
	// The shortest prefixes of a network within: those of 10.0.0.0/8 and fc00::/7,
	// the largest private networks that there are.
	minSource4, minSource6 = 8, 7
)

// InsidePolicy compiles what the inside door opens; nil if there is no door. Of a
// Config that Load gave it cannot fail.
func (c *Config) InsidePolicy() (*policy.Policy, error) {
	if c.Gateway == nil || c.Gateway.Inside == nil {
		return nil, nil
	}
	return policy.Compile(insideName, policy.Spec{Services: c.Gateway.Inside.Services})
}

// Admits tells whether a server may come from the address.
func (i *Inside) Admits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, network := range i.Sources {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// checkInside judges a door that asks nobody for a ticket, so that all of it must be
// said outright: where it is, for whom, and where it leads.
func (r *reader) checkInside(i *Inside) {
	const listen, sources, services = insideKey + ".listen", insideKey + ".sources", insideKey + ".services"
	r.need(listen, i.Listen == netip.AddrPort{}, "an inner address and port such as 10.0.0.5:3128")
	switch at := i.Listen.Addr(); {
	case !at.IsValid() || r.bad(listen):
	case at.IsUnspecified():
		r.say(listen, "is every address of this machine, the outer ones too; name the inner one, such as 10.0.0.5:3128")
	case policy.Classify(at) == policy.Public:
		r.sayAs(Warning, listen, at.String()+" is a public address; this door asks for no ticket, so its place is an inner one")
	}
	r.need(sources, len(i.Sources) == 0, "the networks of the servers that may use it, such as [10.0.0.0/24]; whoever is in them needs no ticket")
	for n, network := range i.Sources {
		if path := item(sources, n); !r.bad(path) {
			r.checkSource(path, network)
		}
	}
	r.need(services, i.Services == "", "what may be reached, such as eu-west-1.mailboxlistener.xm.citrix.com:443")
	if !r.bad(services) {
		r.checkInsideServices(services, i.Services)
	}
}

func (r *reader) checkSource(path string, network netip.Prefix) {
	addr, least := network.Addr(), minSource6
	if addr.Is4() {
		least = minSource4
	}
	switch {
	case addr.Is4In6():
		r.say(path, "is an IPv4 network written as an IPv6 one, which nobody comes from; write it as IPv4")
	case network.Bits() < least:
		r.say(path, network.String()+" is wider than any inner network, and whoever is in it would need no ticket; name the networks of the servers")
	case policy.Classify(addr) == policy.Public:
		r.sayAs(Warning, path, network.String()+" holds public addresses; whoever has one of them and reaches this door needs no ticket")
	}
}

// checkInsideServices wants every host named: below a wildcard anybody may have one.
func (r *reader) checkInsideServices(path, list string) {
	entries, err := policy.ParseServices(list)
	if err != nil {
		r.sayInList(path, list, err)
		return
	}
	texts := strings.Split(list, ",")
	for i, entry := range entries {
		if !entry.Wildcard {
			continue
		}
		before := strings.Join(texts[:i], ",")
		column := utf8.RuneCountInString(before) + 1
		if i > 0 {
			column++ // the comma
		}
		r.sayInList(path, list, &policy.ListError{
			Entry: i + 1, Column: column, Problem: "is a wildcard, which is not taken here; name each host",
		})
		return
	}
}
