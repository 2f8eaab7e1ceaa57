package lint

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Looked is a listed name and what DNS said about it. The look-ups are the
// caller's.
type Looked struct {
	// Name is an exact name of the list.
	Name string
	// Inside is what the gateway resolves it to, Outside what public DNS does.
	Inside, Outside []netip.Addr
	// InsideErr and OutsideErr are why there are no addresses. A *net.DNSError
	// that says not found tells a name that is not there from a server that is
	// silent.
	InsideErr, OutsideErr error
	// Refused are those of Inside that the gateway's address rules let no tunnel
	// to, and Why is what they say of the first.
	Refused []netip.Addr
	Why     string
}

// CheckNames judges what the names of a list resolved to. A name that only the
// inside knows is as it should be. Findings are in a fixed order.
func CheckNames(names []Looked) []Finding {
	var all []Finding
	for _, l := range names {
		all = append(all, l.check()...)
	}
	sortFindings(all)
	return all
}

func (l Looked) check() []Finding {
	var all []Finding
	say := func(rule string, severity Severity, problem, fix string) {
		all = append(all, Finding{
			Rule: rule, Severity: severity, Field: "background_services", Index: -1,
			Problem: printable(l.Name) + " " + problem, Fix: fix,
		})
	}
	inside, outside := plainSet(l.Inside), plainSet(l.Outside)
	if l.InsideErr != nil || len(inside) == 0 {
		say(ruleUnresolved, Error, "is not resolved by the gateway: "+whyNot(l.InsideErr)+outsideHas(outside),
			"correct the name, pin it under splitdns.hosts, or name DNS servers that know it under splitdns.zones")
	} else if refused := plainSet(l.Refused); len(refused) == len(inside) {
		say(ruleRefused, Error, "leads to "+addresses(refused)+", where no tunnel may: "+printable(l.Why),
			"allow the network in a zone that the name itself is in, pin the name under splitdns.hosts, or mend its DNS")
	} else if l.OutsideErr == nil && len(outside) > 0 && !overlap(inside, outside) {
		say(ruleDiffers, Warning, "is "+addresses(inside)+" inside and "+addresses(outside)+" outside: "+
			"with split DNS remote devices get the first, with local the second, with both the second only when the gateway's DNS gives no answer",
			"see that the right server answers at both; a service with many places may differ so by itself")
	}
	if private := slices.DeleteFunc(slices.Clone(outside), isPublic); len(private) > 0 {
		say(rulePrivateOutside, Warning, "is "+addresses(private)+" in public DNS: no device outside can go there, and everyone can read it",
			"take the address out of public DNS, and name the DNS servers inside under splitdns.zones")
	}
	return all
}

// plainSet sorts addresses, unmapped, each once.
func plainSet(addrs []netip.Addr) []netip.Addr {
	var set []netip.Addr
	for _, addr := range addrs {
		if addr.IsValid() {
			set = append(set, addr.Unmap())
		}
	}
	slices.SortFunc(set, netip.Addr.Compare)
	return slices.Compact(set)
}

func overlap(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(addr netip.Addr) bool { return slices.Contains(b, addr) })
}

func isPublic(addr netip.Addr) bool { return policy.Classify(addr) == policy.Public }

func addresses(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, addr := range addrs {
		text[i] = addr.String()
	}
	return several(text)
}

func outsideHas(outside []netip.Addr) string {
	if len(outside) == 0 {
		return ""
	}
	return " (public DNS says " + addresses(outside) + ")"
}

// whyNot tells a missing name from a failing server, without repeating what
// servers sent.
func whyNot(err error) string {
	var dns *net.DNSError
	switch {
	case err == nil:
		return "it has no address"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such name"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "no DNS server answered in time"
	}
	return "the look-up failed, " + strings.TrimSpace(printable(err.Error()))
}
