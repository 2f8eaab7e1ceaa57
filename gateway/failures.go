package gateway

import (
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// maxSources bounds the sources whose failures are remembered. Whoever commands
// more addresses than that is slowed by the bound on cold redeems.
const maxSources = 65_536

// failures counts refused tickets by source. It holds nobody up whose ticket is
// known here: thousands of devices may share a carrier's address with one that
// guesses.
type failures struct {
	perMinute int
	now       func() time.Time
	sources   *otter.Cache[netip.Prefix, *rate.Limiter]
}

func newFailures(perMinute int, now func() time.Time) (*failures, error) {
	sources, err := otter.New(&otter.Options[netip.Prefix, *rate.Limiter]{MaximumSize: maxSources})
	return &failures{perMinute, now, sources}, err
}

// sourceOf is the IPv4 address or the IPv6 /64 that a peer comes from.
func sourceOf(remote netip.AddrPort) netip.Prefix {
	addr := remote.Addr().Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: a carrier without one counts as one source
	}
	return prefix
}

func (f *failures) count(source netip.Prefix) {
	limiter, _ := f.sources.ComputeIfAbsent(source, func() (*rate.Limiter, bool) {
		every := rate.Every(time.Minute / time.Duration(f.perMinute))
		return rate.NewLimiter(every, f.perMinute), false
	})
	limiter.AllowN(f.now(), 1)
}

func (f *failures) tooMany(source netip.Prefix) bool {
	limiter, ok := f.sources.GetIfPresent(source)
	return ok && limiter.TokensAt(f.now()) < 1
}
