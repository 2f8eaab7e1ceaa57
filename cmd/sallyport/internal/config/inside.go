package config

import (
	"errors"
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
	r.need(sources, len(i.Sources) == 0, "the servers that may use it, such as [10.0.0.25]; whoever is in them needs no ticket")
	for n, network := range i.Sources {
		if path := item(sources, n); !r.bad(path) {
			r.checkSource(path, network, i.Listen.Addr())
		}
	}
	r.need(services, i.Services == "", "what may be reached, such as eu-west-1.mailboxlistener.xm.citrix.com:443")
	if !r.bad(services) {
		r.checkInsideServices(services, i.Services)
	}
}

func (r *reader) checkSource(path string, network netip.Prefix, door netip.Addr) {
	addr, least := network.Addr(), minSource6
	if addr.Is4() {
		least = minSource4
	}
	switch {
	case addr.Is4In6():
		r.say(path, "is an IPv4 network written as an IPv6 one, which nobody comes from; write it as IPv4")
	case network.Bits() < least:
		r.say(path, network.String()+" is wider than any inner network, and whoever is in it would need no ticket; name the servers, such as 10.0.0.25")
	case policy.Classify(addr) == policy.Public:
		r.sayAs(Warning, path, network.String()+" holds public addresses; whoever has one of them and reaches this door needs no ticket")
	case network.Contains(door) && !door.IsLoopback(): // there the door and all of its servers may be one machine
		what := network.String() + " holds " + door.String()
		if network.IsSingleIP() {
			what = "is " + door.String()
		}
		r.sayAs(Warning, path, what+", the door's own address, from where devices' tunnels come; name the servers alone")
	}
}

// checkInsideServices wants every host named: below a wildcard anybody may have one.
func (r *reader) checkInsideServices(path, list string) {
	entries, err := policy.ParseServices(list)
	if err != nil {
		r.sayInList(path, list, err)
		return
	}
	column, texts := 1, strings.Split(list, ",")
	for i, entry := range entries {
		at := &policy.ListError{Entry: i + 1, Column: column}
		column += utf8.RuneCountInString(texts[i]) + 1 // and the comma
		if entry.Wildcard {
			at.Problem = "is a wildcard, which is not taken here; name each host"
			r.sayInList(path, list, at)
			return
		}
		r.warnOfService(path, list, at, entry)
	}
}

// warnOfService tells of what can be listed and never be reached.
func (r *reader) warnOfService(path, list string, at *policy.ListError, s policy.Service) {
	const misspelt, spelt = ".xml.citrix.com", ".xm.citrix.com"
	d := Diagnostic{Severity: Warning}
	var refused *policy.AddressError
	switch front, ok := strings.CutSuffix(s.Name, misspelt); {
	case ok:
		right := s
		right.Name = front + spelt
		at.Problem = s.String() + " is spelt as in one manual, and there is no such host"
		d.Fix, d.Rule = "write "+right.String(), "xml-spelling"
	case !s.Addr.IsValid():
		return
	case errors.As(policy.NewAddressRules(policy.AddressConfig{}).Check("", netip.AddrPortFrom(s.Addr, s.Port)), &refused):
		at.Problem = s.String() + " would be refused as address_" + refused.Class.String() + ": no such address is dialled by itself"
		d.Fix, d.Rule = "list a name in its place, and pin the name to "+s.Addr.String()+" under splitdns.hosts", "address-not-public"
		if refused.Class == policy.Never {
			d.Fix = "leave it out"
		}
	default:
		return
	}
	r.sayOfEntry(path, list, at, d)
}
