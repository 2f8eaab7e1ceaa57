package gateway

import (
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
	services []policy.Service // what the narrowing lists
	force    *inForce         // for the address rules, which may change meanwhile
	mayAsk   func() bool
}

// view gives that of the ticket. mayAsk counts its look-ups.
func (t *trial) view(mayAsk func() bool) *View {
	v := &View{policy: t.policy, narrow: t.narrow, force: t.on, mayAsk: mayAsk}
	if t.narrow != nil {
		v.services = t.narrow.Services()
	}
	return v
}

// MayAsk tells whether one more look-up may be made for the device now, and counts
// it. The bound is the ticket's, whatever tunnels it asks in.
func (v *View) MayAsk() bool { return v.mayAsk() }

// Knows tells whether the device may reach the name on any port.
func (v *View) Knows(name string) bool { return len(v.ports(name)) > 0 }

// Holds tells whether a name that the device may reach can lie at or below the
// domain. Then services may be asked for there.
func (v *View) Holds(domain string) bool {
	if !isName(domain) || !v.policy.Holds(domain) {
		return false
	}
	return v.narrow == nil || slices.ContainsFunc(v.services, func(s policy.Service) bool {
		switch {
		case !s.Wildcard:
			return isBelow(s.Name, domain) && v.opens(s.Name, s.Port)
		case isBelow(s.Name, domain):
			return v.policy.Holds(s.Name)
		default:
			return isBelow(domain, s.Name)
		}
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
	rules := v.force.address.Load()
	return slices.ContainsFunc(v.ports(name), func(port uint16) bool {
		return rules.Check(name, netip.AddrPortFrom(addr.Unmap(), port)) == nil
	})
}

// Opens tells whether the device may reach the name on the port.
func (v *View) Opens(name string, port uint16) bool {
	return isName(name) && v.opens(name, port)
}

func (v *View) opens(name string, port uint16) bool {
	q := policy.Query{Host: policy.Host{Name: name}, Port: port, Narrow: v.narrow}
	return v.policy.Decide(q).Allow && !v.force.address.Load().OwnsName(name, port)
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
