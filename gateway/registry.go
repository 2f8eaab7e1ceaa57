package gateway

import (
	"sync"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// Ended is why the gateway itself ended a tunnel.
type Ended string

const (
	// EndedRevoked: the ticket was revoked.
	EndedRevoked Ended = "revoked"
	// EndedExpired: the ticket expired.
	EndedExpired Ended = "expired"
	// EndedShutdown: the gateway was stopped.
	EndedShutdown Ended = "shutdown"
)

// registry holds the live tunnels, by ticket family. A tunnel takes its lock
// when it begins and when it ends, and never between.
type registry struct {
	mu       sync.Mutex
	families map[string]map[*live]struct{}
	count    int
}

// live is a tunnel that somebody else may end.
//
//	enter ──► service known ──join──► both known ──leave──► gone
//	              └──────── end ─────────┘
type live struct {
	family string

	mu      sync.Mutex
	service tunnel.Stream
	client  tunnel.Stream // nil until join
	cause   Ended         // "" until end; the first cause stays
}

// maxPerTicket bounds the live tunnels of one ticket family: enough for any
// device, and for a test that plays many, but not for one stolen ticket to fill
// a gateway.
const maxPerTicket = 10_000

// enter adds a tunnel whose client is still to come.
func (r *registry) enter(claims *ticket.Claims, service tunnel.Stream) (*live, error) {
	l := &live{family: claims.Family, service: service}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.families == nil {
		r.families = make(map[string]map[*live]struct{})
	}
	members := r.families[l.family]
	if len(members) >= maxPerTicket {
		return nil, refuseTooMany()
	}
	if members == nil {
		members = make(map[*live]struct{}, 1)
		r.families[l.family] = members
	}
	members[l] = struct{}{}
	r.count++
	return l, nil
}

// leave takes a tunnel out; a second time does nothing.
func (r *registry) leave(l *live) {
	r.mu.Lock()
	defer r.mu.Unlock()
	members := r.families[l.family]
	if _, there := members[l]; !there {
		return
	}
	delete(members, l)
	if len(members) == 0 {
		delete(r.families, l.family)
	}
	r.count--
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// end ends the tunnels of a family and says how many it was that ended them.
func (r *registry) end(family string, cause Ended) int {
	r.mu.Lock()
	members := make([]*live, 0, len(r.families[family]))
	for l := range r.families[family] {
		members = append(members, l)
	}
	r.mu.Unlock()
	return endEach(members, cause)
}

func (r *registry) endAll(cause Ended) int {
	r.mu.Lock()
	members := make([]*live, 0, r.count)
	for _, family := range r.families {
		for l := range family {
			members = append(members, l)
		}
	}
	r.mu.Unlock()
	return endEach(members, cause)
}

// endEach closes outside the registry's lock: a close may take a moment.
func endEach(members []*live, cause Ended) int {
	n := 0
	for _, l := range members {
		if l.end(cause) {
			n++
		}
	}
	return n
}

// end cuts both sides off, without a goodbye: what the kernel still holds for
// the client is not for it any more, and a client that takes nothing must not
// hold up the next tunnel's end. The relay notices and returns. It tells whether
// it was this call that ended the tunnel.
func (l *live) end(cause Ended) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != "" {
		return false
	}
	l.cause = cause
	tunnel.Abort(l.service)
	if l.client != nil {
		tunnel.Abort(l.client)
	}
	return true
}

// join adds the client's side. If the tunnel was ended meanwhile the client is
// closed at once.
func (l *live) join(client tunnel.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client = client
	if l.cause != "" {
		tunnel.Abort(client)
	}
}

// ended is the cause, or "" for a tunnel that ended by itself.
func (l *live) ended() Ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}
