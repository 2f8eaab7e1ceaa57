package gateway

import (
	"context"
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/sta/ticket"
)

// maxSources bounds the sources whose failures are remembered. Whoever commands
// more addresses than that is slowed by the bound on cold redeems.
const maxSources = 65_536

// maxSuspects bounds the redeems in flight for sources with too many failures,
// all of them together.
const maxSuspects = 4

// failures counts refused tickets by source. Sources with too many share a few
// places to redeem at, so they cannot use up those of others. It shuts nobody
// out: thousands of devices may share a carrier's address with one that guesses,
// and tickets known here never come this way.
type failures struct {
	perMinute int
	suspects  chan struct{}
	now       func() time.Time
	sources   *otter.Cache[netip.Prefix, *rate.Limiter]
}

func newFailures(perMinute int, now func() time.Time) (*failures, error) {
	sources, err := otter.New(&otter.Options[netip.Prefix, *rate.Limiter]{MaximumSize: maxSources})
	return &failures{
		perMinute: perMinute, suspects: make(chan struct{}, maxSuspects), now: now, sources: sources,
	}, err
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

// count notes a refused ticket, unless the refusal says nothing against whoever
// showed it: that the authority cannot be asked, or that a good ticket's turn is
// still to come.
func (f *failures) count(source netip.Prefix, why ticket.Reason) {
	switch why {
	case ticket.Unavailable, ticket.Busy, ticket.Held:
		return
	}
	limiter, _ := f.sources.ComputeIfAbsent(source, func() (*rate.Limiter, bool) {
		every := rate.Every(time.Minute / time.Duration(f.perMinute))
		return rate.NewLimiter(every, f.perMinute), false
	})
	limiter.AllowN(f.now(), 1)
}

// queue waits for a place to redeem at. The function it returns gives the place
// back.
func (f *failures) queue(ctx context.Context, source netip.Prefix) (leave func(), err error) {
	limiter, ok := f.sources.GetIfPresent(source)
	if !ok || limiter.TokensAt(f.now()) >= 1 {
		return func() {}, nil
	}
	select {
	case f.suspects <- struct{}{}:
		return func() { <-f.suspects }, nil
	case <-ctx.Done():
		return nil, ticket.Refuse(ticket.Busy, "too many refused tickets from this source")
	}
}
