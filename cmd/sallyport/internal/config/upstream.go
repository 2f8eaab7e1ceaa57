package config

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	// maxSources is as many as a gateway goes through for each connection.
	maxSources = 64
	// minUserTimeout is the least gateway.upstream.user_timeout beside 0. Below it a
	// busy service would pass for one that has gone.
	minUserTimeout = 5 * time.Second
	// oneProbe is when the gateway's keep-alive, of a minute and then every 15 s, has
	// sent one probe and could send the next. The system counts no probes where there
	// is a user timeout.
	oneProbe = 75 * time.Second
)

// checkUpstream judges how services are connected to. Whether this machine has the
// sources is found out where it serves: check may run elsewhere.
func (r *reader) checkUpstream(u *Upstream) {
	const sources = "gateway.upstream.sources"
	if len(u.Sources) > maxSources && !r.bad(sources) {
		r.say(sources, "has "+strconv.Itoa(len(u.Sources))+" addresses; at most "+strconv.Itoa(maxSources)+" can be used")
		return
	}
	for i, addr := range u.Sources {
		path := item(sources, i)
		if r.bad(path) {
			continue
		}
		switch {
		case !canBeSource(addr):
			r.say(path, addr.String()+" is no address that a connection can come from")
		case slices.Index(u.Sources, addr) < i:
			r.say(path, "stands in the list already")
		}
	}
	const timeout = "gateway.upstream.user_timeout"
	switch t := u.UserTimeout; {
	case t == 0 || r.bad(timeout):
	case t < minUserTimeout:
		r.say(timeout, "needs 0s, which leaves it to the system, or a duration from 5s to 1h")
	case t <= oneProbe:
		r.sayAs(Warning, timeout, "ends an idle tunnel for one lost keep-alive probe; more than 75s gives it another")
	}
}

// canBeSource tells whether an address can be a machine's own, and used without
// saying on which interface.
func canBeSource(addr netip.Addr) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() && addr != broadcast &&
		!(addr.Is6() && addr.IsLinkLocalUnicast())
}
