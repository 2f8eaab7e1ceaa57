package gateway

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// maxPortUses bounds what Ports tells.
	maxPortUses = 100
	// A pair is nearly full with so many tenths of its ports in use, and is told of
	// again after it had fewer than so many.
	fullTenths, calmTenths = 9, 8
)

// PortUse is how many of a source's ports are in use towards one service. The
// kernel tells connections apart by source, service and port, so each such pair
// has all the ports to itself.
type PortUse struct {
	From netip.Addr
	To   netip.AddrPort
	// Live counts the connections of this gateway's tunnels, and those that are
	// being made. Not in it are ports that others use or have bound, and those that
	// the kernel holds back for a minute after it was us that closed first
	// (TIME-WAIT, RFC 9293 §3.6.1).
	Live int
	// Ports is how many there are: the kernel's range for that purpose, less what
	// is reserved in it. 0 means that it is not known.
	Ports int
}

// pair is a source and a service.
type pair struct {
	from netip.Addr
	to   netip.AddrPort
}

// ports counts the connections of each pair that has any. Its lock is taken when a
// connection begins and when it has ended, and never between.
type ports struct {
	mu   sync.Mutex
	size int // of the range; 0: not known
	used map[pair]portCount
}

type portCount struct {
	live int
	// told says that the pair was found nearly full, and has not calmed since.
	told bool
}

// sourceSet is a set of sources, by number.
type sourceSet uint64

func (s *sourceSet) add(n int)     { *s |= 1 << n }
func (s sourceSet) has(n int) bool { return s&(1<<n) != 0 }

// enterFewest counts one more connection to a service, from the source of its
// family that has the fewest and was not tried. n is -1 if there is none.
func (p *ports) enterFewest(sources []netip.Addr, tried sourceSet, to netip.AddrPort) (n int, nearlyFull bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = -1
	fewest := 0
	for i, source := range sources {
		if tried.has(i) || source.Is4() != to.Addr().Is4() {
			continue
		}
		if live := p.used[pair{source, to}].live; n < 0 || live < fewest {
			n, fewest = i, live
		}
	}
	if n < 0 {
		return n, false
	}
	return n, p.add(pair{sources[n], to})
}

// enter counts one more connection.
func (p *ports) enter(at pair) (nearlyFull bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.add(at)
}

// add counts one more, and tells whether it is the one that makes the pair nearly
// full. The lock is held.
func (p *ports) add(at pair) (nearlyFull bool) {
	if p.used == nil {
		p.used = make(map[pair]portCount)
	}
	c := p.used[at]
	c.live++
	nearlyFull = !c.told && p.isFull(c.live)
	c.told = c.told || nearlyFull
	p.used[at] = c
	return nearlyFull
}

func (p *ports) isFull(live int) bool { return p.size > 0 && live*10 >= p.size*fullTenths }

// leave counts one less. A pair that has none is left alone.
func (p *ports) leave(at pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.used[at]
	if !ok {
		return
	}
	c.live--
	if c.live == 0 {
		delete(p.used, at)
		return
	}
	c.told = c.told && c.live*10 >= p.size*calmTenths
	p.used[at] = c
}

// resize notes how many ports there are, which an operator may change meanwhile.
func (p *ports) resize(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = size
}

// look tells of one pair, and whether it is nearly full; if not, it is to be told
// of when it is.
func (p *ports) look(at pair) (use PortUse, nearlyFull bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.used[at]
	nearlyFull = p.isFull(c.live)
	if ok && !nearlyFull {
		c.told = false
		p.used[at] = c
	}
	return PortUse{at.from, at.to, c.live, p.size}, nearlyFull
}

// fullest gives the pairs with the most connections, those first.
func (p *ports) fullest() []PortUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	var uses []PortUse
	for at, c := range p.used {
		uses = append(uses, PortUse{at.from, at.to, c.live, p.size})
		if len(uses) == 2*maxPortUses { // there may be a hundred thousand
			uses = fullestOf(uses)
		}
	}
	return fullestOf(uses)
}

func fullestOf(uses []PortUse) []PortUse {
	slices.SortFunc(uses, func(a, b PortUse) int {
		return cmp.Or(cmp.Compare(b.Live, a.Live), a.To.Compare(b.To), a.From.Compare(b.From))
	})
	return uses[:min(len(uses), maxPortUses)]
}

// countPorts gives the number of ports in a range such as "32768\t60999" that a
// list such as "8080,9000-9010" does not reserve; 0 if the range cannot be read.
// What cannot be read in the list reserves nothing.
func countPorts(within, reserved string) int {
	bounds := strings.Fields(within)
	if len(bounds) != 2 {
		return 0
	}
	low, high, ok := portsOf(bounds[0], bounds[1])
	if !ok {
		return 0
	}
	taken := make([]bool, 1<<16)
	for part := range strings.SplitSeq(reserved, ",") {
		first, last, found := strings.Cut(strings.TrimSpace(part), "-")
		if !found {
			last = first
		}
		if from, to, ok := portsOf(first, last); ok {
			for port := from; port <= to; port++ {
				taken[port] = true
			}
		}
	}
	free := 0
	for port := low; port <= high; port++ {
		if !taken[port] {
			free++
		}
	}
	return free
}

// portsOf reads the two ends of a range.
func portsOf(first, last string) (low, high int, ok bool) {
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	return int(from), int(to), err1 == nil && err2 == nil && from <= to
}
