package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sallyport/sallyport/gateway/policy"
)

const (
	// matchFor is how long the addresses of the listed names are remembered: a
	// client that resolved for itself may hold an answer for about as long.
	matchFor = 30 * time.Second
	// matchTimeout bounds the look-ups of all listed names together: one whose
	// server is silent must not use up a client's 10 s.
	matchTimeout = 2 * time.Second
)

// matchBack finds the listed name that an address belongs to, for clients that
// resolve for themselves. Only the gateway's own answers for exact names count,
// so a client cannot make an address belong to a name.
type matchBack struct {
	flights singleflight.Group
	mu      sync.Mutex
	tables  map[uint16]*matchTable // by port; only listed ports get one
}

// matchTable says which names have an address, for one port and one snapshot.
type matchTable struct {
	snapshot *Snapshot
	until    time.Time
	names    map[netip.Addr][]string
}

// matchBack decides on the address of q by the names that have it. On success
// a.Matched is that name.
func (g *Gateway) matchBack(ctx context.Context, s *Snapshot, a *Attempt, q policy.Query) error {
	candidates := s.Policy.ExactNames(q.Port)
	if len(candidates) == 0 {
		return refusePolicy(a.Decision)
	}
	table, err := g.matchTable(ctx, s, q.Port, candidates)
	if err != nil {
		return refuseLookUp(err)
	}
	for _, name := range table.names[q.Host.Addr] {
		decision := s.Policy.Decide(policy.Query{Host: policy.Host{Name: name}, Port: q.Port, Narrow: q.Narrow})
		if decision.Allow {
			a.Decision, a.Matched = decision, name
			return nil
		}
		a.Decision = decision
	}
	return refusePolicy(a.Decision)
}

func (g *Gateway) matchTable(ctx context.Context, s *Snapshot, port uint16, names []string) (*matchTable, error) {
	m := &g.matches
	m.mu.Lock()
	table := m.tables[port]
	m.mu.Unlock()
	if table != nil && table.snapshot == s && time.Now().Before(table.until) {
		return table, nil
	}
	built := m.flights.DoChan(fmt.Sprintf("%d by %p", port, s), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), matchTimeout)
		defer cancel()
		table := &matchTable{snapshot: s, names: addresses(ctx, s.Resolver, names)}
		table.until = time.Now().Add(matchFor)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.tables == nil || len(m.tables) > maxMatchTables {
			m.tables = make(map[uint16]*matchTable)
		}
		m.tables[port] = table
		return table, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-built:
		return r.Val.(*matchTable), r.Err
	}
}

// maxMatchTables bounds the ports remembered over reloads of the policy.
const maxMatchTables = 256

// addresses looks the names up, some at a time. A name that cannot be looked up
// now has no address now.
func addresses(ctx context.Context, r Resolver, names []string) map[netip.Addr][]string {
	answers := make([][]netip.Addr, len(names))
	turns := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i, name := range names {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if addrs, err := r.LookupNetIP(ctx, "ip", name); err == nil {
				answers[i] = addrs
			}
		})
	}
	all.Wait()
	table := make(map[netip.Addr][]string)
	for i, name := range names {
		for _, addr := range answers[i] {
			addr = addr.Unmap()
			if !slices.Contains(table[addr], name) {
				table[addr] = append(table[addr], name)
			}
		}
	}
	return table
}
