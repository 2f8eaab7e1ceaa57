package gateway

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
)

const (
	// matchFor is how long the addresses of the listed names are remembered: a
	// client that resolved for itself may hold an answer for about as long.
	matchFor = 30 * time.Second
	// matchTimeout bounds the look-ups of all listed names together: one whose
	// server is silent must not use up a client's 10 s.
	matchTimeout = 2 * time.Second
	// matchTurns is how many of them are made at a time.
	matchTurns = 16
	// maxMatchTables bounds the tables that are remembered.
	maxMatchTables = 256
)

// matchBack finds the listed names that an address belongs to, for clients that
// resolve for themselves. Only the gateway's own answers for exact names count,
// and where that is switched on a catalogue's, so a client cannot make an address
// belong to a name.
type matchBack struct {
	mu     sync.Mutex
	tables map[matchKey]*matchTable // only listed ports get one
}

type matchKey struct {
	policy string
	port   uint16
}

// matchTable says which names have an address. Whoever finds one waits until it
// is ready; names does not change from then on.
type matchTable struct {
	ready chan struct{}
	until time.Time // matchBack's, under its lock; zero before it is ready
	names map[netip.Addr][]string
}

// matchBack decides on the address that the client sent by the names that have
// it. The first of them that the ticket allows, and that may have the address,
// is the one that was meant.
func (t *trial) matchBack(ctx context.Context) error {
	table, err := t.on.matchTable(ctx, t.policy, t.ask.Port)
	if err != nil {
		return refuseLookUp(err)
	}
	if table == nil {
		return refusePolicy(t.decision)
	}
	addr := t.ask.Host.Addr
	var refusal error
	for _, name := range table.names[addr] {
		decision := t.policy.Decide(policy.Query{Host: policy.Host{Name: name}, Port: t.ask.Port, Narrow: t.narrow})
		if !decision.Allow {
			if refusal == nil {
				t.decision, refusal = decision, refusePolicy(decision)
			}
			continue
		}
		t.decision, t.matched = decision, name
		t.found = Resolution{Addrs: []netip.Addr{addr}}
		if refusal = t.checkAddresses(); refusal == nil {
			return nil
		}
	}
	if refusal == nil {
		refusal = refusePolicy(t.decision)
	}
	return refusal
}

// matchTable gives the addresses of the names that a policy lists with a port. It
// is nil if there are no such names.
func (f *inForce) matchTable(ctx context.Context, p *policy.Policy, port uint16) (*matchTable, error) {
	key := matchKey{p.Name(), port}
	table := f.matches.find(key)
	if table == nil {
		exact, known := p.ExactNames(port), f.inCatalogue(p, port)
		if len(exact) == 0 && len(known) == 0 {
			return nil, nil
		}
		var ours bool
		if table, ours = f.matches.begin(key); ours {
			f.uses.Add(1) // beside the one of whoever asks, which may end first
			go f.fill(context.WithoutCancel(ctx), table, exact, known)
		}
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-table.ready:
		return table, nil
	}
}

// find gives a table that is good, or will be.
func (m *matchBack) find(key matchKey) *matchTable {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.good(key)
}

func (m *matchBack) good(key matchKey) *matchTable {
	table := m.tables[key]
	if table != nil && !table.until.IsZero() && !time.Now().Before(table.until) {
		return nil
	}
	return table
}

// begin gives a table that the caller has to fill if it is his.
func (m *matchBack) begin(key matchKey) (table *matchTable, ours bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if table := m.good(key); table != nil {
		return table, false
	}
	if m.tables == nil || len(m.tables) >= maxMatchTables {
		m.tables = make(map[matchKey]*matchTable)
	}
	table = &matchTable{ready: make(chan struct{}), names: make(map[netip.Addr][]string)}
	m.tables[key] = table
	return table, true
}

// fill looks the names up, some at a time. A name that cannot be looked up now has
// no address now.
func (f *inForce) fill(ctx context.Context, table *matchTable, exact, known []string) {
	defer f.drop()
	ctx, cancel := context.WithTimeout(ctx, matchTimeout)
	defer cancel()
	answers := make([][]netip.Addr, len(exact))
	turns := make(chan struct{}, matchTurns)
	var all sync.WaitGroup
	for i, name := range exact {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if found, err := f.Resolver.Resolve(ctx, name); err == nil {
				answers[i] = found.Addrs
			}
		})
	}
	all.Wait()
	for i, name := range exact {
		table.add(name, answers[i])
	}
	for _, name := range known {
		table.add(name, f.Catalogue[name])
	}
	f.matches.mu.Lock()
	defer f.matches.mu.Unlock()
	table.until = time.Now().Add(matchFor)
	close(table.ready)
}

// inCatalogue gives the names of the catalogue that a policy lists with a port,
// wildcards included.
func (f *inForce) inCatalogue(p *policy.Policy, port uint16) []string {
	names := slices.Sorted(maps.Keys(f.Catalogue))
	return slices.DeleteFunc(names, func(name string) bool {
		return !p.Decide(policy.Query{Host: policy.Host{Name: name}, Port: port}).Allow
	})
}

func (t *matchTable) add(name string, addrs []netip.Addr) {
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !slices.Contains(t.names[addr], name) {
			t.names[addr] = append(t.names[addr], name)
		}
	}
}
