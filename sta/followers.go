package sta

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// lease is how long a gateway counts as following after it last asked.
const lease = 10 * time.Second

// maxFollowers bounds the gateways that are remembered.
const maxFollowers = 4096

// maxCuts bounds the counts that are remembered of one gateway: those of the
// entries that somebody may be waiting for.
const maxCuts = 64

// followers knows the gateways that follow this node. Leases are measured, not
// stamped, so they go by time.Now whatever Config.Now says.
type followers struct {
	mu      sync.Mutex // guards all below
	byName  map[string]*follower
	changed chan struct{} // closed, and replaced, when a gateway reports
}

// maxCut is more than any gateway holds, and so few that sums do not overflow.
const maxCut = 1 << 31

type follower struct {
	seen  time.Time // when it last asked or reported
	state followed
}

// followed is what a gateway has said of itself. Nodes tell it one another.
type followed struct {
	Applied ticket.Positions   `json:"applied,omitempty"`
	Cuts    map[ticket.Ref]int `json:"cuts,omitempty"`
	order   []ticket.Ref       // of Cuts, oldest first
}

func (f *followers) init() {
	f.byName = make(map[string]*follower)
	f.changed = make(chan struct{})
}

// news gives a channel that is closed at the next report.
func (f *followers) news() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// follow notes that a gateway asks for what comes after positions. It has applied
// everything up to there.
func (f *followers) follow(name string, after ticket.Positions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.seen(name)
	if err != nil {
		return err
	}
	if maps.Equal(g.state.Applied, after) {
		return nil
	}
	g.state.Applied = after
	f.tell()
	return nil
}

// report notes what a gateway has done.
func (f *followers) report(name string, r ticket.CutReport) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.seen(name)
	if err != nil {
		return err
	}
	g.state.Applied = r.Applied
	for ref, cut := range r.Cuts {
		g.state.note(ref, min(cut, maxCut))
	}
	f.tell()
	return nil
}

func (s *followed) note(ref ticket.Ref, cut int) {
	if s.Cuts == nil {
		s.Cuts = make(map[ticket.Ref]int)
	}
	if _, known := s.Cuts[ref]; !known {
		s.order = append(s.order, ref)
	}
	s.Cuts[ref] = cut
	if len(s.order) > maxCuts {
		delete(s.Cuts, s.order[0])
		s.order = s.order[1:]
	}
}

// tell wakes whoever waits for reports. The caller holds the lock.
func (f *followers) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// seen gives the follower, known or new, with its lease renewed. The caller
// holds the lock.
func (f *followers) seen(name string) (*follower, error) {
	g := f.byName[name]
	if g == nil {
		client, _, _ := strings.Cut(name, "/")
		if f.of(client) >= maxPerClient {
			f.dropLapsed()
		}
		if f.of(client) >= maxPerClient {
			return nil, ticket.Refuse(ticket.Busy, "over %d gateways of one client follow already", maxPerClient)
		}
		if len(f.byName) >= maxFollowers {
			f.dropLapsed()
		}
		if len(f.byName) >= maxFollowers {
			return nil, ticket.Refuse(ticket.Busy, "over %d gateways follow already", maxFollowers)
		}
		g = &follower{}
		f.byName[name] = g
		f.tell()
	}
	g.seen = time.Now()
	return g, nil
}

func (f *followers) dropLapsed() {
	maps.DeleteFunc(f.byName, func(_ string, g *follower) bool { return time.Since(g.seen) > lease })
}

// all gives the gateways with a lease, by name.
func (f *followers) all() map[string]followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLapsed()
	all := make(map[string]followed, len(f.byName))
	for name, g := range f.byName {
		all[name] = followed{Applied: maps.Clone(g.state.Applied), Cuts: maps.Clone(g.state.Cuts)}
	}
	return all
}

// isFollower tells whether a name is one that a door gives to a gateway: the
// client's, or the client's and its own.
func isFollower(name string) bool {
	client, own, two := strings.Cut(name, "/")
	return checkClientName(client) == nil && (!two || checkClientName(own) == nil)
}

// maxPerClient bounds the gateways that one client may be.
const maxPerClient = 64

// of counts the gateways of a client.
func (f *followers) of(client string) (n int) {
	for name := range f.byName {
		if c, _, _ := strings.Cut(name, "/"); c == client {
			n++
		}
	}
	return n
}
