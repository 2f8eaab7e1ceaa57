package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The generators draw from few labels, ports and addresses, so that lists and
// questions meet often.
var (
	anyLabel = rapid.SampledFrom([]string{"a", "b", "ab", "example"})
	anyPort  = rapid.SampledFrom([]uint16{1, 80, 443})
	anyName  = rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(anyLabel, 1, 5).Draw(t, "labels"), ".")
	})
	anyAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(0, 3).Draw(t, "last")})
	})
	anyService = rapid.Custom(func(t *rapid.T) Service {
		s := Service{Port: anyPort.Draw(t, "port")}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			s.Addr = anyAddr.Draw(t, "addr")
		case 1, 2:
			s.Wildcard = true
			s.Name = "example." + anyName.Draw(t, "below")
		default:
			s.Name = anyName.Draw(t, "name")
		}
		return s
	})
	anyHost = rapid.Custom(func(t *rapid.T) Host {
		switch rapid.IntRange(0, 6).Draw(t, "host kind") {
		case 0:
			return Host{Addr: anyAddr.Draw(t, "host addr")}
		case 1, 2, 3:
			return Host{Name: anyName.Draw(t, "above") + ".example." + anyName.Draw(t, "host below")}
		default:
			return Host{Name: anyName.Draw(t, "host")}
		}
	})
)

// score says how well an entry matches: less than 0 not at all.
func score(s Service, h Host, port uint16) int {
	switch {
	case s.Port != port || s.Addr != h.Addr:
	case h.Addr.IsValid():
		return 0
	case s.Wildcard:
		if strings.HasSuffix(h.Name, "."+s.Name) {
			return len(s.Name)
		}
	case s.Name == h.Name:
		return 1 << 20
	}
	return -1
}

// naiveFind returns the first of the best entries that match, or -1.
func naiveFind(services []Service, h Host, port uint16) int {
	best, bestScore := -1, -1
	for i, s := range services {
		if n := score(s, h, port); n > bestScore {
			best, bestScore = i, n
		}
	}
	return best
}

func naivePorts(services []Service, h Host) (ports []uint16) {
	for _, s := range services {
		if score(s, h, s.Port) >= 0 {
			ports = append(ports, s.Port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func naiveHolds(services []Service, domain string) bool {
	return slices.ContainsFunc(services, func(s Service) bool {
		within := s.Name == domain || strings.HasSuffix(s.Name, "."+domain)
		return s.Name != "" && (within || s.Wildcard && strings.HasSuffix(domain, "."+s.Name))
	})
}

// TestMatcherAgainstNaive compares with a reading of the rules that tries every
// entry.
func TestMatcherAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := rapid.SliceOfN(anyService, 0, 12).Draw(t, "services")
		h, port := anyHost.Draw(t, "host"), anyPort.Draw(t, "port")
		m := newMatcher(services)
		i, ok := m.find(h, port)
		if want := naiveFind(services, h, port); ok != (want >= 0) || (ok && i != want) {
			t.Fatalf("%v:%d: %d, %v; naive says %d", h, port, i, ok, want)
		}
		ports := m.portsOf(h)
		if want := naivePorts(services, h); !slices.Equal(ports, want) {
			t.Fatalf("%v: ports %v; naive says %v", h, ports, want)
		}
		if m.knows(h) != (len(ports) > 0) {
			t.Fatalf("%v: known %v, with ports %v", h, m.knows(h), ports)
		}
		if want := naiveHolds(services, h.Name); m.holds(h.Name) != want {
			t.Fatalf("%q: holds %v; naive says %v", h.Name, !want, want)
		}
		first := slices.IndexFunc(services, func(s Service) bool { return !s.Wildcard && s.Name == h.Name && s.Addr == h.Addr })
		if i, ok := m.earliest(h); ok != (first >= 0) || (ok && i != first) {
			t.Fatalf("%v: first is %d, %v; naive says %d", h, i, ok, first)
		}
	})
}

// TestPolicyAgainstNaive does the same for whole policies: modes, web domains,
// rule IDs, and a ticket's own list.
func TestPolicyAgainstNaive(t *testing.T) {
	webDomain := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "*.example."}).Draw(t, "wild") + anyName.Draw(t, "domain")
	})
	same := func(s Service) string { return s.String() }
	rapid.Check(t, func(t *rapid.T) {
		services := rapid.SliceOfNDistinct(anyService, 0, 8, same).Draw(t, "services")
		spec := Spec{NetworkAccess: rapid.SampledFrom([]string{AccessTunneled, AccessWebSSO, AccessUnrestricted}).Draw(t, "access"), Services: joinServices(services)}
		everything := services
		if spec.NetworkAccess == AccessWebSSO {
			spec.WebDomains = rapid.SliceOfNDistinct(webDomain, 0, 4, rapid.ID).Draw(t, "web domains")
		}
		for _, text := range spec.WebDomains {
			name, wildcard := strings.CutPrefix(text, "*.")
			everything = append(everything, Service{Name: name, Wildcard: wildcard, Port: 80}, Service{Name: name, Wildcard: wildcard, Port: 443})
		}
		narrowing := rapid.SliceOfN(anyService, 0, 4).Draw(t, "narrowing")
		var narrow *Narrowing
		narrows := rapid.Bool().Draw(t, "narrows")
		if narrows {
			narrow = mustNarrow(t, narrowing)
		}
		p, err := Compile("p", spec)
		if err != nil {
			t.Fatal(err)
		}
		h, port := anyHost.Draw(t, "host"), anyPort.Draw(t, "port")

		want := naiveDecide(spec.NetworkAccess, len(services), everything, h, port)
		if p.Opens(h, port) != want.Allow {
			t.Fatalf("%v:%d opens: %v", h, port, p.Opens(h, port))
		}
		if want.Allow && narrows && naiveFind(narrowing, h, port) < 0 {
			want = Decision{Rule: "p/narrowed", Reason: Narrowed}
		}
		if d := p.Decide(Query{Host: h, Port: port, Narrow: narrow}); d != want {
			t.Fatalf("%v:%d: %+v; naive says %+v", h, port, d, want)
		}
		if narrows && !slices.Equal(narrow.Services(), narrowing) {
			t.Fatalf("narrowed to %v, and says %v", narrowing, narrow.Services())
		}
		if spec.NetworkAccess == AccessUnrestricted {
			everything = nil
		}
		if ports := p.PortsOf(h); !slices.Equal(ports, naivePorts(everything, h)) || p.Knows(h) != (len(ports) > 0) {
			t.Fatalf("%v: ports %v, known %v", h, ports, p.Knows(h))
		}
		if p.Holds(h.Name) != naiveHolds(everything, h.Name) {
			t.Fatalf("%q holds: %v", h.Name, p.Holds(h.Name))
		}
	})
}

func naiveDecide(access string, listed int, entries []Service, h Host, port uint16) Decision {
	i := naiveFind(entries, h, port)
	switch {
	case access == AccessUnrestricted:
		return Decision{Rule: "p/unrestricted", Reason: Unrestricted}
	case i < 0 && h.Addr.IsValid():
		return Decision{Rule: "p/deny", Reason: AddressNotListed}
	case i < 0:
		return Decision{Rule: "p/deny", Reason: NotListed}
	case i < listed:
		return Decision{Allow: true, Rule: "p/services[" + itoa(i+1) + "]", List: "services", Entry: i + 1, Service: entries[i], Reason: Listed}
	}
	n := (i-listed)/2 + 1
	return Decision{Allow: true, Rule: "p/web_domains[" + itoa(n) + "]", List: "web_domains", Entry: n, Service: entries[i], Reason: Listed}
}

func mustNarrow(t interface{ Fatal(...any) }, services []Service) *Narrowing {
	texts := make([]string, 0, len(services))
	for _, s := range services {
		texts = append(texts, s.String())
	}
	narrow, err := CompileNarrowing(texts)
	if err != nil {
		t.Fatal(err)
	}
	return narrow
}
