package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// View is what one device may know of names: what its policy and its ticket let
// it reach, and nothing else. Names are given normalised, lower case and without
// trailing dot; one in another form is not known.
type View struct {
	policy   *policy.Policy
	narrow   *policy.Narrowing
	services []string // what narrow was made of
	address  *policy.AddressRules
	ownNames map[string][]uint16
}

func (t *trial) view() *View {
	return &View{
		policy: t.policy, narrow: t.narrow, services: t.ask.Services,
		address: t.on.Address, ownNames: t.on.OwnNames,
	}
}

// Knows tells whether the device may reach the name on any port.
func (v *View) Knows(name string) bool { return len(v.ports(name)) > 0 }

// Holds tells whether a name that the device may reach can lie at or below the
// domain. Then services may be asked for there.
func (v *View) Holds(domain string) bool {
	if !isName(domain) || !v.policy.Holds(domain) {
		return false
	}
	return v.services == nil || slices.ContainsFunc(v.services, func(service string) bool {
		host, _, err := net.SplitHostPort(service)
		if err != nil {
			return false
		}
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		base, wildcard := strings.CutPrefix(host, "*.")
		return isBelow(base, domain) || wildcard && isBelow(domain, base)
	})
}

// isBelow tells whether a name is the domain, or below it.
func isBelow(name, domain string) bool {
	above, ok := strings.CutSuffix(name, domain)
	return ok && (above == "" || strings.HasSuffix(above, "."))
}

// Reaches tells whether the device may reach that address under that name, on any
// port.
func (v *View) Reaches(name string, addr netip.Addr) bool {
	return slices.ContainsFunc(v.ports(name), func(port uint16) bool {
		return v.address.Check(name, netip.AddrPortFrom(addr.Unmap(), port)) == nil
	})
}

// Opens tells whether the device may reach the name on the port.
func (v *View) Opens(name string, port uint16) bool {
	return isName(name) && v.opens(name, port)
}

func (v *View) opens(name string, port uint16) bool {
	q := policy.Query{Host: policy.Host{Name: name}, Port: port, Narrow: v.narrow}
	return v.policy.Decide(q).Allow && !slices.Contains(v.ownNames[name], port)
}

// ports are those on which the device may reach the name.
func (v *View) ports(name string) []uint16 {
	if !isName(name) {
		return nil
	}
	var open []uint16
	for _, port := range v.policy.PortsOf(policy.Host{Name: name}) {
		if v.opens(name, port) {
			open = append(open, port)
		}
	}
	return open
}

// isName tells whether a text is a name in its one spelling.
func isName(text string) bool {
	host, err := policy.ParseHost(text)
	return err == nil && host.Name == text
}
