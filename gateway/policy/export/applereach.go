package export

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// reach is which names a profile sends to the gateway: all that match and are not
// excluded. Without any match that is everything, which is why one who wants to
// say "nothing" must not write a profile.
//
//	split tunnel   match                         excluded
//	off            –                             the gateway
//	on             what is listed                what a match holds too much
//	reverse        –                             what is listed, and the gateway
type reach struct {
	matchDomains, matchFQDNs, excludedDomains, excludedFQDNs []string
	// says begins a sentence that ends with the gateway's name.
	says  string
	notes []string
}

func (r *reach) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// lists leaves out what is empty: to some readers an empty list is still one.
func (r *reach) lists() (d dict) {
	for _, list := range []struct {
		key   string
		names []string
	}{
		{"MatchDomains", r.matchDomains}, {"MatchFQDNs", r.matchFQDNs},
		{"ExcludedDomains", r.excludedDomains}, {"ExcludedFQDNs", r.excludedFQDNs},
	} {
		if len(list.names) == 0 {
			continue
		}
		var names array
		for _, name := range list.names {
			names = append(names, name)
		}
		d = append(d, pair{list.key, names})
	}
	return d
}

// reachOf maps a policy. Domains says that only whole domains can be said.
func reachOf(s *Settings, gateway string, domains bool) (*reach, error) {
	if s.Spec.NetworkAccess == policy.AccessUnrestricted {
		return nil, &Error{Key: "policy.network_access", Err: errors.New("is unrestricted: devices use no gateway, and need no profile")}
	}
	l, err := listedOf(s)
	if err != nil {
		return nil, err
	}
	r := new(reach)
	switch s.Spec.SplitTunnel {
	case "on":
		err = r.on(l, gateway, domains)
	case "reverse":
		r.reverse(l, gateway, domains)
	default:
		r.off(l, gateway, domains)
	}
	if err != nil {
		return nil, err
	}
	r.noteLimits(l, domains)
	return r, nil
}

// listed is what a policy allows, without ports.
type listed struct {
	exact, below []string // below: every name under one, and not that one
	addresses    []string
}

func listedOf(s *Settings) (*listed, error) {
	services, err := policy.ParseServices(s.Spec.Services)
	if err != nil {
		return nil, &Error{Key: "policy.background_services", Err: err}
	}
	seen := make(map[string]bool)
	add := func(list *[]string, key, name string) {
		if !seen[key] {
			seen[key] = true
			*list = append(*list, name)
		}
	}
	var l listed
	for _, service := range services {
		switch {
		case service.Name == "":
			add(&l.addresses, service.Addr.String(), service.Addr.String())
		case service.Wildcard:
			add(&l.below, "*."+service.Name, service.Name)
		default:
			add(&l.exact, service.Name, service.Name)
		}
	}
	for _, domain := range s.Spec.WebDomains {
		if name, wildcard := strings.CutPrefix(domain, "*."); wildcard {
			add(&l.below, domain, name)
		} else {
			add(&l.exact, domain, name)
		}
	}
	return &l, nil
}

// isUnder reports whether a name lies under a domain, or is it.
func isUnder(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func underAny(name string, domains []string) bool {
	return slices.ContainsFunc(domains, func(domain string) bool { return isUnder(name, domain) })
}

func (r *reach) off(l *listed, gateway string, domains bool) {
	r.says = "Sends everything through"
	r.note("everything goes to the gateway, which refuses what is not listed")
	r.exclude(l, gateway, domains)
}

func (r *reach) on(l *listed, gateway string, domains bool) error {
	r.says = "Sends what the organisation lists through"
	exact := slices.DeleteFunc(slices.Clone(l.exact), func(name string) bool { return name == gateway })
	if len(exact)+len(l.below) == 0 {
		return &Error{Key: "policy.background_services", Err: errors.New("lists no name that a relay could match; without one it would match everything")}
	}
	if domains {
		r.matchDomains = unique(exact, l.below)
		r.note("a name stands for all names below it too, on every system; the gateway refuses those that are not listed")
	} else {
		r.matchDomains, r.matchFQDNs = l.below, exact
		for _, domain := range l.below {
			// "*.example.com" is not example.com, but a domain is.
			strictly := func(above string) bool { return domain != above && isUnder(domain, above) }
			if domain != gateway && !slices.Contains(exact, domain) && !slices.ContainsFunc(l.below, strictly) {
				r.excludedFQDNs = append(r.excludedFQDNs, domain)
			}
		}
	}
	if underAny(gateway, r.matchDomains) {
		r.exclude(l, gateway, domains)
	}
	return nil
}

func (r *reach) reverse(l *listed, gateway string, domains bool) {
	r.says = "Sends everything that the organisation does not list through"
	r.note("what is listed goes past the gateway, and all else to it, which refuses that")
	if domains {
		r.excludedDomains = unique(l.exact, l.below, []string{gateway})
		return
	}
	r.excludedDomains, r.excludedFQDNs = l.below, unique(l.exact, []string{gateway})
	for _, domain := range l.below {
		if !slices.Contains(l.exact, domain) {
			r.note("%s itself goes past the gateway too, although only the names below it are listed", domain)
		}
	}
}

// exclude keeps a device from reaching the gateway through the gateway. Where
// only domains can be said, what is listed below the gateway's name must not be
// lost with it.
func (r *reach) exclude(l *listed, gateway string, domains bool) {
	exact := func(name string) bool { return name != gateway && isUnder(name, gateway) }
	below := func(domain string) bool { return isUnder(domain, gateway) || isUnder(gateway, domain) }
	switch {
	case !domains:
		r.excludedFQDNs = append(r.excludedFQDNs, gateway)
	case slices.ContainsFunc(l.exact, exact) || slices.ContainsFunc(l.below, below):
		r.note("the gateway's own name cannot be excluded without what is listed below it")
	default:
		r.excludedDomains = append(r.excludedDomains, gateway)
	}
}

// noteLimits says what no list of names can.
func (r *reach) noteLimits(l *listed, domains bool) {
	r.note("a relay matches names, whatever the port; the gateway refuses ports that are not listed")
	if len(l.addresses) > 0 {
		r.note("a relay matches no addresses: the profile does not mention %s", few(l.addresses))
	}
	said := unique(r.matchFQDNs, r.matchDomains, r.excludedFQDNs, r.excludedDomains)
	single := slices.DeleteFunc(said, func(name string) bool { return strings.Contains(name, ".") })
	if len(single) > 0 {
		r.note("Apple documents full names only; try on a device what becomes of %s", few(single))
	}
	if domains {
		return
	}
	switch {
	case len(r.matchFQDNs) > 0 && len(r.matchDomains) == 0:
		r.note("systems before iOS 18.4 and macOS 15.4 know no MatchFQDNs and would send everything: give them a profile of whole domains")
	case len(r.matchFQDNs) > 0:
		r.note("systems before iOS 18.4 and macOS 15.4 know no MatchFQDNs and would send only what a wildcard covers: give them a profile of whole domains")
	case len(r.excludedFQDNs) > 0:
		r.note("systems before iOS 18.4 and macOS 15.4 know no ExcludedFQDNs: give them a profile of whole domains")
	}
}

// few names the first of a list, fit for a sentence.
func few(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// unique joins lists, each name once.
func unique(lists ...[]string) (all []string) {
	seen := make(map[string]bool)
	for _, name := range slices.Concat(lists...) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	return all
}
