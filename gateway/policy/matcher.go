package policy

import (
	"net/netip"
	"strings"
)

// matcher finds the entry of a list that a destination falls under. A look-up
// costs one map access for an exact name and one a label for wildcards,
// however long the list is.
type matcher struct {
	exact  map[nameAndPort]int
	below  map[nameAndPort]int // wildcards, by the name under which they lie
	listed map[netip.AddrPort]int
}

type nameAndPort struct {
	name string
	port uint16
}

// newMatcher indexes the services. Of two equal ones the first stays.
func newMatcher(services []Service) matcher {
	m := matcher{
		exact:  make(map[nameAndPort]int),
		below:  make(map[nameAndPort]int),
		listed: make(map[netip.AddrPort]int),
	}
	for i, s := range services {
		key := nameAndPort{s.Name, s.Port}
		switch {
		case s.Addr.IsValid():
			putFirst(m.listed, netip.AddrPortFrom(s.Addr, s.Port), i)
		case s.Wildcard:
			putFirst(m.below, key, i)
		default:
			putFirst(m.exact, key, i)
		}
	}
	return m
}

func putFirst[K comparable](m map[K]int, key K, i int) {
	if _, taken := m[key]; !taken {
		m[key] = i
	}
}

// find returns the index of the entry. A host that is neither a name nor an
// address, or both, is found nowhere.
func (m *matcher) find(host Host, port uint16) (int, bool) {
	if host.Addr.IsValid() {
		if host.Name != "" {
			return 0, false
		}
		i, ok := m.listed[netip.AddrPortFrom(host.Addr.Unmap(), port)]
		return i, ok
	}
	if i, ok := m.exact[nameAndPort{host.Name, port}]; ok {
		return i, true
	}
	if len(m.below) == 0 {
		return 0, false
	}
	for rest := host.Name; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return 0, false
		}
		if i, ok := m.below[nameAndPort{parent, port}]; ok {
			return i, true
		}
		rest = parent
	}
}
