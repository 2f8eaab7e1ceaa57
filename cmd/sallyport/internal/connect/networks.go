package connect

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// How long TCP is taken at once where QUIC did not come through: doubled from the
// first to the last, each time a tenth more or less, so that not all devices of a
// building come back at the same moment.
const (
	firstAvoidance = time.Minute
	lastAvoidance  = 30 * time.Minute
)

// maxNetworks bounds the memory. A device is rarely in more places in a month.
const maxNetworks = 32

// networks remembers where QUIC does not come through. A network is known by the
// address that this machine has in it; the zero address is an unknown network, of
// which nothing is remembered. There are no timers: the moment to try again comes
// with the first tunnel after it, and a device that is not used stays silent.
type networks struct {
	now func() time.Time

	mu      sync.Mutex // guards the rest
	avoided map[netip.Addr]*avoidance
}

// avoidance is a network where TCP is taken.
type avoidance struct {
	wait  time.Duration // until QUIC is tried the next time, without jitter
	until time.Time
	used  time.Time // when a tunnel was last asked for here
}

func newNetworks(now func() time.Time) *networks {
	return &networks{now: now, avoided: make(map[netip.Addr]*avoidance)}
}

// avoid tells that QUIC does not come through on a network. What is known to be so
// stays as it is.
func (n *networks) avoid(network netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !network.IsValid() || n.avoided[network] != nil {
		return
	}
	if len(n.avoided) >= maxNetworks {
		n.forgetOldest()
	}
	now := n.now()
	n.avoided[network] = &avoidance{wait: firstAvoidance, until: now.Add(jitter(firstAvoidance)), used: now}
}

// forgetOldest is called with the lock.
func (n *networks) forgetOldest() {
	var oldest netip.Addr
	for network, a := range n.avoided {
		if !oldest.IsValid() || a.used.Before(n.avoided[oldest].used) {
			oldest = network
		}
	}
	delete(n.avoided, oldest)
}

// works tells that QUIC comes through.
func (n *networks) works(network netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.avoided, network)
}

// judge says whether a tunnel is to take TCP at once. tryAgain is true for one caller
// each time that the wait is over: it is for him to try QUIC, and the next wait is
// twice as long.
func (n *networks) judge(network netip.Addr) (avoided, tryAgain bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.avoided[network]
	if a == nil {
		return false, false
	}
	a.used = n.now()
	if a.used.Before(a.until) {
		return true, false
	}
	a.wait = min(2*a.wait, lastAvoidance)
	a.until = a.used.Add(jitter(a.wait))
	return true, true
}

// jitter makes a duration up to a tenth shorter or longer.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5)
}
