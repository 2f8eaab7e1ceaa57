package node

import (
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel/httpconnect"
)

// labelNoSource is the reason of who may not come to the inside door.
const labelNoSource = "not_a_source"

const (
	// knocksEvery is how often a line about one address is written, at most: a server
	// that is not let in tries again and again.
	knocksEvery = time.Minute
	// maxKnocks bounds the addresses that are remembered.
	maxKnocks = 1000
)

// knocks keeps to one line an address and while. The zero one is ready.
type knocks struct {
	mu   sync.Mutex // guards from
	from map[netip.Addr]knock
}

// knock is what is remembered of an address.
type knock struct {
	told time.Time
	held int // further connections since then
}

// due tells whether a line about the address may be written now, and how many of its
// connections had none since the last. may is asked before: where it does not let a
// line through, the next connection is due.
func (k *knocks) due(addr netip.Addr, now time.Time, may func() bool) (held int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last, known := k.from[addr]
	if known && now.Sub(last.told) < knocksEvery {
		last.held++
		k.from[addr] = last
		return 0, false
	}
	if !may() {
		return 0, false
	}
	if !known && !k.room(now) {
		return 0, true // more addresses than are told apart have may's bound alone
	}
	k.from[addr] = knock{told: now}
	return last.held, true
}

// room makes it where it can, out of addresses whose time is over.
func (k *knocks) room(now time.Time) bool {
	if k.from == nil {
		k.from = make(map[netip.Addr]knock)
	}
	if len(k.from) < maxKnocks {
		return true
	}
	for addr, last := range k.from {
		if now.Sub(last.told) >= knocksEvery {
			delete(k.from, addr)
		}
	}
	return len(k.from) < maxKnocks
}

// turnedAwayFrom tells of servers that the inside door at this address closed, since
// they are none of its sources. What comes from the gateway's own address are devices'
// tunnels, so that one is not to be let in.
func (n *Node) turnedAwayFrom(door netip.Addr) func(from netip.Addr) {
	var told knocks
	return func(from netip.Addr) {
		held, ok := told.due(from, time.Now(), n.aboutStranger)
		if !ok {
			return
		}
		fix := "if this is a server within, add " + from.String() + " to gateway.inside.sources"
		if from == door.Unmap() {
			fix = "none is needed: it is an address of the gateway itself, from where devices' tunnels come"
		}
		e := n.log.Info().Str("event", "connection_refused").Str("carrier", httpconnect.CarrierInside).Stringer("client", from)
		if held > 0 {
			e.Int("held_back", held)
		}
		e.Str("reason", labelNoSource).Str("why", from.String()+" is in none of gateway.inside.sources").Str("fix", fix).
			Msg("whoever comes to the inside door needs no ticket, and this address is none of its sources")
	}
}
