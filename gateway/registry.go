package gateway

import (
	"iter"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// registry holds the live tunnels, and finds them by whatever a revocation may
// name. A tunnel takes its lock when it begins and when it ends, and never
// between.
//
//	id, family, user, device ──► held ◄──► held ◄──► held     tickets that bear the name
//	                               └─► live ◄──► live         the ticket's tunnels
//
// Tunnels may be hundreds of thousands, most of them one or two to a ticket. So
// tickets are indexed and not tunnels, and every list is chained through its own
// members: sets would take more memory than what is in them.
type registry struct {
	mu    sync.Mutex
	named [names]map[string]*held // the first of each list
	count int                     // of tunnels
	// inside has the tunnels that came by the inside door, where nobody shows a
	// ticket. It is in no list, so that no revocation finds it.
	inside held
}

// name is what tickets are found by.
type name int

const (
	byTicket name = iota // every ticket has an id, and a family
	byFamily
	byUser // users and devices may be ""; nobody asks for that
	byDevice
	names
)

// held is a ticket with live tunnels. All of it is the registry's, under its
// lock, but for the claims, which nobody changes.
type held struct {
	claims  *ticket.Claims
	tunnels *live   // the first
	family  *family // shared by its tickets
	near    [names]neighbours
}

// family counts the live tunnels of a ticket and its renewals.
type family struct {
	tunnels int
	dns     int // those of them that lead to the gateway's DNS
}

type neighbours struct{ before, after *held }

// maxPerTicket bounds the live tunnels of one ticket family: enough for any
// device, and for a test that plays many, but not for one stolen ticket to fill
// a gateway.
const maxPerTicket = 10_000

// maxDNSPerTicket bounds those of them that lead to the gateway's DNS. A device
// needs one, and some more while a lost one is still to be found out.
const maxDNSPerTicket = 16

// enter adds a tunnel whose client is still to come. Without claims it is one that
// came by the inside door, where the door's own bound holds and no other.
func (r *registry) enter(claims *ticket.Claims, service tunnel.Stream) (*live, error) {
	l := &live{service: service, dns: dnsBehind(service)}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.inside
	if claims != nil {
		var err error
		if h, err = r.room(claims, l.dns != nil); err != nil {
			return nil, err
		}
		h.family.tunnels++
		if l.dns != nil {
			h.family.dns++
		}
	}
	l.ticket, l.after = h, h.tunnels
	if l.after != nil {
		l.after.before = l
	}
	h.tunnels = l
	r.count++
	return l, nil
}

// room gives the ticket with these claims, unless it has as many tunnels as it may
// have.
func (r *registry) room(claims *ticket.Claims, dns bool) (*held, error) {
	if kin := r.kin(claims); kin != nil {
		switch {
		case kin.family.tunnels >= maxPerTicket:
			return nil, refuseTooMany()
		case dns && kin.family.dns >= maxDNSPerTicket:
			return nil, refuseTooMuchDNS()
		}
	}
	if h := r.find(claims); h != nil {
		return h, nil
	}
	return r.add(claims), nil
}

// leave takes a tunnel out; a second time does nothing.
func (r *registry) leave(l *live) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := l.ticket
	if h == nil {
		return
	}
	if l.after != nil {
		l.after.before = l.before
	}
	if l.before != nil {
		l.before.after = l.after
	} else {
		h.tunnels = l.after
	}
	l.ticket, l.before, l.after = nil, nil, nil
	r.count--
	if h == &r.inside {
		return
	}
	h.family.tunnels--
	if l.dns != nil {
		h.family.dns--
	}
	if h.tunnels == nil {
		r.drop(h)
	}
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// find gives the ticket that has all that tunnels are ended by in common with
// these claims, or nil. An id alone would not do: authorities draw them without
// asking one another, and a statement may have been signed twice.
func (r *registry) find(claims *ticket.Claims) *held {
	for h := range r.list(byTicket, claims.ID) {
		if h.claims == claims || endsWith(h.claims, claims) {
			return h
		}
	}
	return nil
}

// kin gives a ticket of the same family, or nil. What another authority calls by
// the same name is no kin: it must not use up the room of ours.
func (r *registry) kin(claims *ticket.Claims) *held {
	for h := range r.list(byFamily, claims.Family) {
		if h.claims.Authority == claims.Authority {
			return h
		}
	}
	return nil
}

// endsWith tells whether whatever ends a tunnel of one ends those of the other.
func endsWith(a, b *ticket.Claims) bool {
	return namesOf(a) == namesOf(b) && a.Issued.Equal(b.Issued) &&
		a.Authority == b.Authority && a.KeyID == b.KeyID
}

func namesOf(c *ticket.Claims) [names]string {
	return [names]string{byTicket: c.ID, byFamily: c.Family, byUser: c.User, byDevice: c.Device}
}

// add puts a ticket at the head of the lists of its names.
func (r *registry) add(claims *ticket.Claims) *held {
	h := &held{claims: claims}
	if kin := r.kin(claims); kin != nil {
		h.family = kin.family
	} else {
		h.family = new(family)
	}
	for by, text := range namesOf(claims) {
		if r.named[by] == nil {
			r.named[by] = make(map[string]*held)
		}
		if next := r.named[by][text]; next != nil {
			h.near[by].after, next.near[by].before = next, h
		}
		r.named[by][text] = h
	}
	return h
}

// drop takes a ticket out of the lists of its names.
func (r *registry) drop(h *held) {
	for by, text := range namesOf(h.claims) {
		before, after := h.near[by].before, h.near[by].after
		if after != nil {
			after.near[by].before = before
		}
		switch {
		case before != nil:
			before.near[by].after = after
		case after != nil:
			r.named[by][text] = after
		default:
			delete(r.named[by], text)
		}
	}
}

// list gives the tickets that bear a name.
func (r *registry) list(by name, text string) iter.Seq[*held] {
	return func(yield func(*held) bool) {
		for h := r.named[by][text]; h != nil; h = h.near[by].after {
			if !yield(h) {
				return
			}
		}
	}
}

// all gives every ticket.
func (r *registry) all() iter.Seq[*held] {
	return func(yield func(*held) bool) {
		for id := range r.named[byTicket] {
			for h := range r.list(byTicket, id) {
				if !yield(h) {
					return
				}
			}
		}
	}
}

// among gives tickets of which some may be covered by a revocation, and besides
// which none is. Whether one is, [ticket.Revocation.Covers] says and nobody else.
func (r *registry) among(v *ticket.Revocation) iter.Seq[*held] {
	switch {
	case v.Ticket != "":
		return r.list(byTicket, v.Ticket)
	case v.Family != "":
		return r.list(byFamily, v.Family)
	case v.User != "" && v.Device != "":
		return r.shorter(v.User, v.Device)
	case v.User != "":
		return r.list(byUser, v.User)
	case v.Device != "":
		return r.list(byDevice, v.Device)
	}
	return r.all()
}

// shorter gives the tickets of a user or those of a device, whichever are fewer:
// an account may be on a thousand devices, and a name be that of a hundred
// thousand. It finds out by going along both until one ends.
func (r *registry) shorter(user, device string) iter.Seq[*held] {
	u, d := r.named[byUser][user], r.named[byDevice][device]
	for u != nil && d != nil {
		u, d = u.near[byUser].after, d.near[byDevice].after
	}
	if u == nil {
		return r.list(byUser, user)
	}
	return r.list(byDevice, device)
}

// end ends the tunnels of an authority's tickets that its revocation covers at a
// moment, and says how many it was that ended them.
func (r *registry) end(authority string, v *ticket.Revocation, now time.Time) int {
	r.mu.Lock()
	found := tunnelsOf(r.among(v), coveredBy(authority, v, now))
	r.mu.Unlock()
	return endEach(found, EndedRevoked)
}

func coveredBy(authority string, v *ticket.Revocation, now time.Time) func(*ticket.Claims) bool {
	return func(c *ticket.Claims) bool {
		subject := c.Subject()
		return c.Authority == authority && v.Covers(&subject, now)
	}
}

// endKeys ends the tunnels of an authority's tickets that none of its keys
// signed. It looks at all tickets: keys are replaced a few times a year.
func (r *registry) endKeys(set *ticket.KeySet) int {
	r.mu.Lock()
	found := tunnelsOf(r.all(), func(c *ticket.Claims) bool {
		return c.Authority == set.Authority && !set.Names(c.KeyID)
	})
	r.mu.Unlock()
	return endEach(found, EndedKey)
}

func (r *registry) endAll(cause Ended) int {
	r.mu.Lock()
	found := r.inside.appendTo(tunnelsOf(r.all(), func(*ticket.Claims) bool { return true }))
	r.mu.Unlock()
	return endEach(found, cause)
}

// tunnelsOf gives the tunnels of those tickets.
func tunnelsOf(among iter.Seq[*held], those func(*ticket.Claims) bool) []*live {
	var found []*live
	for h := range among {
		if those(h.claims) {
			found = h.appendTo(found)
		}
	}
	return found
}

// appendTo adds the ticket's tunnels.
func (h *held) appendTo(found []*live) []*live {
	for l := h.tunnels; l != nil; l = l.after {
		found = append(found, l)
	}
	return found
}
