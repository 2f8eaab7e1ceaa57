package lint

import (
	"cmp"
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
	// Name is an exact name of the list or of the web domains, normalised.
	Name string
	// Inside is what the gateway resolves it to, Outside what public DNS does.
	Inside, Outside []netip.Addr
	// Pinned says that Inside stands in the file, so that no server was asked.
	Pinned bool
	// InsideErr and OutsideErr are why there are no addresses. A *net.DNSError
	// tells a name that is not there (IsNotFound) from servers that are silent
	// (IsTimeout) or give no answer for another reason (IsTemporary); its Err is
	// the cause alone, which is shown.
	InsideErr, OutsideErr error
	// Refused are those of Inside that the gateway's address rules let no tunnel
	// to, and Why is what they say of the first.
	Refused []netip.Addr
	Why     string
}

// maxCause bounds what a resolver or the address rules say, in bytes.
const maxCause = 400

// CheckNames judges what the names of a policy resolved to. A name that only the
// inside knows is as it should be. Where no server answered for any name, one
// finding says so in place of one for each. Findings are in a fixed order.
func CheckNames(s policy.Spec, looked []Looked) []Finding {
	if mute := muteInside(looked); mute != nil {
		return []Finding{{
			Rule: ruleUnresolved, Severity: Error, Index: -1,
			Problem: "no name can be resolved: " + whyNot(mute),
			Fix:     "see that this machine can reach its DNS servers, and that they serve it",
		}}
	}
	var all []Finding
	if mute := muteOutside(looked); mute != nil {
		all = append(all, Finding{
			Rule: ruleNotCompared, Severity: Warning, Index: -1,
			Problem: "inside and outside are not compared, for public DNS gave no answer: " + whyNot(mute),
			Fix:     "try it where public DNS can be reached",
		})
	}
	places := placesOf(s)
	for _, l := range looked {
		at, listed := places[l.Name]
		if !listed {
			at = target{field: "background_services", index: -1}
		}
		all = append(all, l.check(at)...)
	}
	sortFindings(all)
	return all
}

// placesOf says where each exact name is listed first.
func placesOf(s policy.Spec) map[string]target {
	places := make(map[string]target)
	for _, t := range slices.Concat(services(s.Services), webDomains(s.WebDomains)) {
		if _, seen := places[t.Name]; !seen && !t.Wildcard && t.Name != "" {
			places[t.Name] = t
		}
	}
	return places
}

// muteInside is the failure of the gateway's DNS servers, if they were asked for
// names and had an answer for none; else nil.
func muteInside(looked []Looked) error {
	var first error
	for _, l := range looked {
		switch {
		case l.Pinned:
		case !noAnswer(l.InsideErr):
			return nil
		case first == nil:
			first = l.InsideErr
		}
	}
	return first
}

// muteOutside is muteInside for public DNS.
func muteOutside(looked []Looked) error {
	for _, l := range looked {
		if !noAnswer(l.OutsideErr) {
			return nil
		}
	}
	if len(looked) == 0 {
		return nil
	}
	return looked[0].OutsideErr
}

// noAnswer tells servers that are silent or at a loss from those that answer, be
// it with nonsense.
func noAnswer(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && (dns.IsTimeout || dns.IsTemporary)
}

func (l Looked) check(at target) []Finding {
	var all []Finding
	say := func(rule string, severity Severity, problem, fix string) {
		all = append(all, Finding{
			Rule: rule, Severity: severity, Field: at.field, Index: at.index, Entry: at.entry, Column: at.column,
			Problem: printable(l.Name) + " " + problem, Fix: fix,
		})
	}
	inside, outside := plainSet(l.Inside), plainSet(l.Outside)
	if l.InsideErr != nil || len(inside) == 0 {
		say(ruleUnresolved, Error, "is not resolved by the gateway: "+whyNot(l.InsideErr)+outsideHas(outside),
			"correct the name, pin it under splitdns.hosts, or name DNS servers that know it under splitdns.zones")
	} else if refused := plainSet(l.Refused); len(refused) == len(inside) {
		say(ruleRefused, Error, "leads to "+addresses(refused)+", where no tunnel may: "+printableTo(l.Why, maxCause),
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

// whyNot tells a missing name from a failing server, by the cause alone: the name
// stands before it.
func whyNot(err error) string {
	var dns *net.DNSError
	switch {
	case err == nil:
		return "it has no address"
	case !errors.As(err, &dns):
		return strings.TrimSpace(printableTo(err.Error(), maxCause))
	}
	cause := strings.TrimSpace(printableTo(dns.Err, maxCause))
	switch {
	case dns.IsNotFound:
		return cmp.Or(cause, "no such name")
	case dns.IsTimeout:
		return "no DNS server answered in time (" + cause + ")"
	case dns.IsTemporary:
		return "no DNS server gave an answer (" + cause + ")"
	}
	return cause
}
