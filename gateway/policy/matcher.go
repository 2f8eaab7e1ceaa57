package policy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// matcher finds the entry of a list that a destination falls under. The listed
// names and all domains above them form a tree, laid flat into one map:
//
//	com                        a domain: something is listed below it
//	example.com                beneath it: 443, from *.example.com:443
//	mail.example.com           itself: 80, 443; above it: *.example.com
//
// An exact name costs one look-up. For another the nearest domain above it is
// looked for, and that one knows the wildcards which stand for the name: mostly
// two look-ups, and never more than the name has labels.
type matcher struct {
	names map[string]domain
	addrs map[netip.Addr]run
	// wildcards are linked from the longer to the shorter; the first is none.
	wildcards []wildcard
	// ports holds each name's, wildcard's and address's ports together, ascending.
	ports []listedPort
	// longest is the length of the longest name, so that a client's many labels
	// cost no look-ups that cannot succeed.
	longest int
}

// domain is a node of the tree.
type domain struct {
	itself  run   // entries for exactly this name
	beneath int32 // the wildcard for every name below it, or 0
	above   int32 // the longest wildcard that stands for it, or 0
}

type wildcard struct {
	ports run
	above int32 // the next shorter one, or 0
}

// run is a part of matcher.ports.
type run struct{ from, to int32 }

type listedPort struct {
	port  uint16
	entry int32 // index of the service
}

// newMatcher indexes the services. Of two equal ones the first stays.
func newMatcher(services []Service) matcher {
	m := matcher{
		names:     make(map[string]domain, len(services)),
		addrs:     make(map[netip.Addr]run),
		wildcards: make([]wildcard, 1),
		ports:     make([]listedPort, 0, len(services)),
	}
	order := make([]int32, len(services))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compareServices(services[a], services[b]) })
	for rest := order; len(rest) > 0; {
		first, n := services[rest[0]], 1
		for n < len(rest) && sameHost(services[rest[n]], first) {
			n++
		}
		m.put(first, m.addPorts(services, rest[:n]))
		rest = rest[n:]
	}
	m.link()
	return m
}

func compareServices(a, b Service) int {
	return cmp.Or(
		a.Addr.Compare(b.Addr), strings.Compare(a.Name, b.Name), compareBools(a.Wildcard, b.Wildcard), cmp.Compare(a.Port, b.Port),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sameHost(a, b Service) bool {
	return a.Name == b.Name && a.Addr == b.Addr && a.Wildcard == b.Wildcard
}

// addPorts adds the ports of one host, whose entries are in ascending order.
func (m *matcher) addPorts(services []Service, entries []int32) run {
	from := len(m.ports)
	for _, i := range entries {
		port := services[i].Port
		if n := len(m.ports); n > from && m.ports[n-1].port == port {
			continue // listed before
		}
		m.ports = append(m.ports, listedPort{port, i})
	}
	return run{int32(from), int32(len(m.ports))}
}

// put plants a host's ports, and for a name all domains above it.
func (m *matcher) put(s Service, ports run) {
	if s.Addr.IsValid() {
		m.addrs[s.Addr] = ports
		return
	}
	node := m.names[s.Name]
	if s.Wildcard {
		node.beneath = int32(len(m.wildcards))
		m.wildcards = append(m.wildcards, wildcard{ports: ports})
	} else {
		node.itself = ports
	}
	m.names[s.Name] = node
	for _, above, ok := strings.Cut(s.Name, "."); ok; _, above, ok = strings.Cut(above, ".") {
		if _, known := m.names[above]; known {
			return // and with it what is above
		}
		m.names[above] = domain{}
	}
}

// link tells every domain and every wildcard what stands above it, from the top
// of the tree downwards.
func (m *matcher) link() {
	names := slices.SortedFunc(maps.Keys(m.names), func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, name := range names {
		m.longest = len(name)
		node := m.names[name]
		if _, parent, ok := strings.Cut(name, "."); ok {
			node.above = m.names[parent].below()
		}
		m.wildcards[node.beneath].above = node.above
		m.names[name] = node
	}
	m.wildcards[0] = wildcard{}
}

// below is the longest wildcard that stands for the names below a domain.
func (d domain) below() int32 {
	if d.beneath != 0 {
		return d.beneath
	}
	return d.above
}

// find returns the index of the entry. A host that is neither a name nor an
// address, or both, is found nowhere.
func (m *matcher) find(host Host, port uint16) (int, bool) {
	if host.Addr.IsValid() {
		if host.Name != "" {
			return 0, false
		}
		return m.inRun(m.addrs[host.Addr.Unmap()], port)
	}
	itself, above := m.lookUp(host.Name)
	if i, ok := m.inRun(itself, port); ok {
		return i, true
	}
	for ; above != 0; above = m.wildcards[above].above {
		if i, ok := m.inRun(m.wildcards[above].ports, port); ok {
			return i, true
		}
	}
	return 0, false
}

// lookUp returns the entries for exactly this name, and the longest wildcard that
// stands for it, or 0.
func (m *matcher) lookUp(name string) (itself run, above int32) {
	if node, ok := m.names[name]; ok {
		return node.itself, node.above
	}
	for _, parent, more := strings.Cut(name, "."); more; _, parent, more = strings.Cut(parent, ".") {
		if len(parent) > m.longest {
			continue
		}
		if node, ok := m.names[parent]; ok {
			return run{}, node.below()
		}
	}
	return run{}, 0
}

func (m *matcher) inRun(r run, port uint16) (int, bool) {
	for r.from < r.to {
		middle := (r.from + r.to) / 2
		switch listed := m.ports[middle]; {
		case listed.port == port:
			return int(listed.entry), true
		case listed.port < port:
			r.from = middle + 1
		default:
			r.to = middle
		}
	}
	return 0, false
}

// earliest returns the index of the first entry that is for exactly this host.
func (m *matcher) earliest(host Host) (int, bool) {
	found := m.addrs[host.Addr]
	if host.Name != "" {
		found = m.names[host.Name].itself
	}
	if found.empty() {
		return 0, false
	}
	byEntry := func(a, b listedPort) int { return cmp.Compare(a.entry, b.entry) }
	return int(slices.MinFunc(m.ports[found.from:found.to], byEntry).entry), true
}

// knows reports whether a host is listed with any port.
func (m *matcher) knows(host Host) bool {
	if host.Addr.IsValid() {
		_, ok := m.addrs[host.Addr.Unmap()]
		return ok && host.Name == ""
	}
	itself, above := m.lookUp(host.Name)
	return !itself.empty() || above != 0
}

// holds reports whether something is listed at or below a domain, or a wildcard
// stands for it.
func (m *matcher) holds(name string) bool {
	if _, ok := m.names[name]; ok {
		return true
	}
	_, above := m.lookUp(name)
	return above != 0
}

// portsOf returns the ports of a host, ascending.
func (m *matcher) portsOf(host Host) []uint16 {
	var ports []uint16
	add := func(r run) {
		for _, listed := range m.ports[r.from:r.to] {
			ports = append(ports, listed.port)
		}
	}
	if host.Addr.IsValid() {
		if host.Name == "" {
			add(m.addrs[host.Addr.Unmap()])
		}
		return ports
	}
	itself, above := m.lookUp(host.Name)
	add(itself)
	for ; above != 0; above = m.wildcards[above].above {
		add(m.wildcards[above].ports)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func (r run) empty() bool { return r.from == r.to }
