package node

import (
	"errors"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/httpconnect"
)

const (
	// refusalsEvery is how often a group of refusals is told of, at most.
	refusalsEvery = time.Minute
	// maxRefusalGroups bounds the groups between two times.
	maxRefusalGroups = 500
	// maxRefusedDevices is up to where a group's devices are counted.
	maxRefusedDevices = 10_000
	// maxRefusedHashes bounds the devices of all groups together, where one counts
	// in each that it is in.
	maxRefusedHashes = 100_000
)

// refusals sums up what devices with a good ticket were refused, and servers at the
// inside door, so that a mistake in a list shows as one line a minute and not as
// thousands:
//
//	note ──► groups, and a timer with the first ──► tell ──► one line a group ──► nothing
type refusals struct {
	log  zerolog.Logger
	seed maphash.Seed

	mu     sync.Mutex // guards the rest
	groups map[refusalKind]*refusalGroup
	rest   refusalGroup // all beyond maxRefusalGroups
	hashes int          // of devices, in all groups
	timer  *time.Timer  // nil while there is nothing to tell
	closed bool

	telling sync.Mutex // one at a time, and close waits for it
}

// refusalKind is what refusals have in common.
type refusalKind struct {
	inside bool
	host   string
	port   uint16
	reason string
}

// refusalGroup is what became of one kind since the last time.
type refusalGroup struct {
	tunnels     int
	devices     map[uint64]struct{} // hashes of whom; nobody but us can make two collide
	more        bool                // there were more than are counted
	first, last time.Time
	fix         string
}

func newRefusals(log zerolog.Logger) *refusals {
	return &refusals{log: log, seed: maphash.MakeSeed()}
}

// note counts the refusal of a stream that had a good ticket, or needed none.
func (r *refusals) note(a *gateway.Attempt, j *gateway.Judgement) {
	if a.Claims == nil && !a.Inside || j == nil || j.Allow {
		return
	}
	device := r.identify(a)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	kind := refusalKind{a.Inside, j.To.Host, j.To.Port, j.Reason}
	group := r.groups[kind]
	switch {
	case group != nil:
	case len(r.groups) >= maxRefusalGroups:
		group = &r.rest
	default:
		if r.groups == nil {
			r.groups = make(map[refusalKind]*refusalGroup)
		}
		group = &refusalGroup{fix: j.Fix}
		r.groups[kind] = group
	}
	if group.add(device, now, r.hashes < maxRefusedHashes) {
		r.hashes++
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(refusalsEvery, r.tell)
	}
}

// identify gives a number for who holds the ticket. Many devices may go by one
// name, so the user counts too; a ticket that names neither is a device. A server
// within is its address.
func (r *refusals) identify(a *gateway.Attempt) uint64 {
	if a.Inside {
		return maphash.String(r.seed, a.Peer.Remote.Addr().Unmap().String())
	}
	c := a.Claims
	who := c.Authority + "\x00" + c.User + "\x00" + c.Device
	if c.User == "" && c.Device == "" {
		who = c.Authority + "\x01" + c.Family
	}
	return maphash.String(r.seed, who)
}

// add counts a refusal, and tells whether it is of a device that was not counted
// before. Without room no further one is.
func (g *refusalGroup) add(device uint64, now time.Time, room bool) (counted bool) {
	if g.tunnels == 0 {
		g.first, g.devices = now, make(map[uint64]struct{})
	}
	g.tunnels++
	g.last = now
	if _, known := g.devices[device]; known {
		return false
	}
	if !room || len(g.devices) >= maxRefusedDevices {
		g.more = true
		return false
	}
	g.devices[device] = struct{}{}
	return true
}

// tell writes what there is, and begins anew.
func (r *refusals) tell() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	groups, rest := r.groups, r.rest
	r.groups, r.rest, r.hashes, r.timer = nil, refusalGroup{}, 0, nil
	r.mu.Unlock()
	for kind, group := range groups {
		wanted := gateway.Destination{Host: kind.host, Port: kind.port}.String()
		e := r.log.Warn().Str("event", "refusals")
		if kind.host != "" {
			e.Str("to", kind.host).Uint16("port", kind.port)
		} else {
			wanted = "a destination that is none"
		}
		group.write(e.Str("reason", kind.reason), kind.inside, wanted+", "+strings.ReplaceAll(kind.reason, "_", " "))
	}
	if rest.tunnels > 0 {
		rest.write(r.log.Warn().Str("event", "refusals"), false, "other destinations, more of them than are told one by one")
	}
}

func (g *refusalGroup) write(e *zerolog.Event, inside bool, wanted string) {
	one, many := "device", "devices"
	if inside {
		one, many = "server", "servers"
	}
	e.Int(many, len(g.devices)).Int("tunnels", g.tunnels).Time("first", g.first.UTC()).Time("last", g.last.UTC())
	if g.fix != "" {
		e.Str("fix", g.fix)
	}
	who := strconv.Itoa(len(g.devices)) + " " + many + " want "
	switch {
	case g.more:
		e.Bool("more", true)
		who = "more than " + who
	case len(g.devices) == 1:
		who = "1 " + one + " wants "
	}
	e.Msg(who + wanted)
}

// close tells what has not been told. Whatever is noted afterwards is not told.
func (r *refusals) close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.tell()
}

// refused writes the line about a stream that became no tunnel.
func (n *Node) refused(a *gateway.Attempt, r *tunnel.Refusal) {
	if a.Claims == nil && !n.aboutStranger() {
		if a.Inside {
			n.refusals.note(a, a.Judgement()) // it is counted all the same
		}
		return
	}
	j := a.Judgement()
	e := n.attempt(n.log.Info(), "tunnel_refused", a)
	early := flawOf(r)
	switch { // from a ticket that was shown until there are claims, every client is answered alike
	case a.Inside, (a.Claims != nil || early != nil) && overHTTP(a.Peer.Carrier):
		e.Int("status", r.Status)
	case a.Claims != nil:
		e.Uint8("reply", uint8(r.Reply))
	}
	if j != nil {
		for _, part := range []struct{ key, text string }{
			{"policy", j.Policy}, {"snapshot", j.Snapshot}, {"rule", j.Rule}, {"why", j.Why}, {"fix", j.Fix},
		} {
			if part.text != "" {
				e.Str(part.key, part.text)
			}
		}
	}
	if j == nil && early != nil {
		e.Str("why", early.Why).Str("fix", early.Fix)
	}
	e.Str("reason", r.Label).Msg(r.Text)
	n.refusals.note(a, j)
}

// flawOf is what was wrong with a request before a ticket was shown; nil if nothing
// was, or if it is no request that can be mended.
func flawOf(r *tunnel.Refusal) *httpconnect.Flaw {
	var flaw *httpconnect.Flaw
	switch {
	case errors.As(r, &flaw):
		return flaw
	case r.Label == tunnel.LabelNoCredential: // SOCKS5, whose package knows no fixes
		return &httpconnect.Flaw{Why: r.Text, Fix: "have the client show a ticket: as the password of its SOCKS5 proxy, whatever the user name"}
	}
	return nil
}
