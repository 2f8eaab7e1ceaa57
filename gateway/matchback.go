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
	// matchAgain is after how long a name that got no answer is asked for again.
	matchAgain = 2 * time.Second
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
	policy *policy.Policy
	port   uint16
}

// matchTable says which names have an address. Whoever finds one waits until it
// is ready, unless the one before tells as much; nothing of it changes from then on
// but until and before, which are matchBack's and under its lock.
type matchTable struct {
	ready   chan struct{}
	until   time.Time   // zero before it is ready
	before  *matchTable // nil from then on
	fresh   time.Time   // until when its answers are good, asked again or not
	answers map[string]matchAnswer
	names   map[netip.Addr][]string
}

// matchAnswer is what the resolver said of a name: maybe that there is no address.
type matchAnswer struct {
	addrs []netip.Addr
	until time.Time
}

// matchBack decides on the address that the client sent by the names that have
// it. The first of them that the ticket allows, and that may have the address,
// is the one that was meant.
func (t *trial) matchBack(ctx context.Context) error {
	table, err := t.on.matchTable(ctx, t.policy, t.ask.Port, t.ask.Host.Addr)
	if err != nil {
		return refuseLookUp(err)
	}
	if table == nil {
		return t.refusePolicy()
	}
	addr := t.ask.Host.Addr
	var refusal error
	for _, name := range table.names[addr] {
		decision := t.policy.Decide(policy.Query{Host: policy.Host{Name: name}, Port: t.ask.Port, Narrow: t.narrow})
		if !decision.Allow {
			if refusal == nil {
				t.decision = decision
				refusal = t.refusePolicy()
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
		refusal = t.refusePolicy()
	}
	return refusal
}

// matchTable gives the addresses of the names that a policy lists with a port, for
// who wants to know whose an address is. It is nil if there are no such names.
//
// A name that gets no answer is asked for every few seconds: that must not hold up
// those who want another.
func (f *inForce) matchTable(ctx context.Context, p *policy.Policy, port uint16, addr netip.Addr) (*matchTable, error) {
	key := matchKey{p, port}
	table, before := f.matches.find(key)
	if table == nil {
		exact, known := p.ExactNames(port), f.inCatalogue(p, port)
		if len(exact) == 0 && len(known) == 0 {
			return nil, nil
		}
		var ours bool
		if table, before, ours = f.matches.begin(key); ours {
			f.uses.Add(1) // beside the one of whoever asks, which may end first
			go f.fill(context.WithoutCancel(ctx), table, before, exact, known)
		}
	}
	if before != nil && before.names[addr] != nil && time.Now().Before(before.fresh) {
		return before, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-table.ready:
		return table, nil
	}
}

// find gives a table that is good, or will be, and in that case the one before it.
func (m *matchBack) find(key matchKey) (table, before *matchTable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if table = m.good(key); table != nil {
		before = table.before
	}
	return table, before
}

func (m *matchBack) good(key matchKey) *matchTable {
	table := m.tables[key]
	if table != nil && !table.until.IsZero() && !time.Now().Before(table.until) {
		return nil
	}
	return table
}

// begin gives a table that the caller has to fill if it is his, and the one before
// it, if there is one.
func (m *matchBack) begin(key matchKey) (table, before *matchTable, ours bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if table := m.good(key); table != nil {
		return table, table.before, false
	}
	before = m.tables[key]
	if m.tables == nil || len(m.tables) >= maxMatchTables {
		m.tables = make(map[matchKey]*matchTable)
	}
	table = &matchTable{
		ready: make(chan struct{}), before: before, answers: make(map[string]matchAnswer), names: make(map[netip.Addr][]string),
	}
	m.tables[key] = table
	return table, before, true
}

// end makes a table ready, and good until a moment.
func (m *matchBack) end(table *matchTable, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	table.until, table.before = until, nil
	close(table.ready)
}

// fill looks up what the table before does not know still. A name that gets no
// answer now has no address now, and is asked for again soon; what was answered is
// remembered, so that a list which is too long for the time is done in parts.
func (f *inForce) fill(ctx context.Context, table, before *matchTable, exact, known []string) {
	defer f.drop()
	until := time.Now() // not good at all, should this not come to its end
	defer func() { f.matches.end(table, until) }()
	defer f.panicked.catch()
	if before != nil {
		for name, answer := range before.answers {
			if until.Before(answer.until) {
				table.answers[name] = answer
			}
		}
	}
	found := f.answersFor(ctx, slices.DeleteFunc(slices.Clone(exact), func(name string) bool {
		_, ok := table.answers[name]
		return ok
	}))
	now := time.Now()
	good := now.Add(matchFor)
	for name, addrs := range found {
		// All until the same moment, or each would have the table made anew.
		table.answers[name] = matchAnswer{addrs, good}
	}
	table.fresh = good
	for _, name := range exact {
		answer, ok := table.answers[name]
		if !ok {
			good = now.Add(matchAgain)
		} else if answer.until.Before(table.fresh) {
			table.fresh = answer.until
		}
		table.add(name, answer.addrs)
	}
	if table.fresh.Before(good) {
		good = table.fresh
	}
	for _, name := range known {
		table.add(name, f.Catalogue[name])
	}
	until = good
}

// answersFor looks names up, some at a time, and gives what was answered in time.
func (f *inForce) answersFor(ctx context.Context, names []string) map[string][]netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, matchTimeout)
	defer cancel()
	var mu sync.Mutex
	answers := make(map[string][]netip.Addr)
	turns := make(chan struct{}, matchTurns)
	var all sync.WaitGroup
	for _, name := range names {
		turns <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-turns }()
			defer f.panicked.catch()
			found, err := f.Resolver.Resolve(ctx, name)
			if err != nil && !isNotFound(err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[name] = found.Addrs
		})
	}
	all.Wait()
	return answers
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
