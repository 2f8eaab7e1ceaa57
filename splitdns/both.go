package splitdns

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// For how long one family of addresses waits for the other once it has some
// (RFC 8305 §3). The dialler is told everything at once, and never hears of what
// comes later: so IPv6 addresses, which may lead nowhere, wait for the IPv4 ones
// as long as a dialler would before it tried the next address (RFC 8305 §5).
const (
	waitForAAAA = 50 * time.Millisecond
	waitForA    = 250 * time.Millisecond
)

// both asks for the addresses of both families together. A family without
// addresses, for whatever reason, waits for the other as long as the look-up may
// take: some servers say "no such name" of a name that only has no AAAA records
// (RFC 4074 §4.2).
func (r *Resolver) both(ctx context.Context, name string) (a, aaaa outcome) {
	ctx, stop := context.WithTimeoutCause(ctx, r.timeout, errEnough)
	defer stop()
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	landedA, landedAAAA := make(chan outcome, 1), make(chan outcome, 1)
	go func() { landedA <- r.walk(ctx, key{name, dns.TypeA}) }()
	go func() { landedAAAA <- r.walk(ctx, key{name, dns.TypeAAAA}) }()

	// other is the family that is not there yet.
	other, into, wait := landedAAAA, &aaaa, waitForAAAA
	var first *outcome
	select {
	case a = <-landedA:
		first = &a
	case aaaa = <-landedAAAA:
		first = &aaaa
		other, into, wait = landedA, &a, waitForA
	}
	if len(first.addrs) > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case *into = <-other:
			return a, aaaa
		case <-timer.C:
			enough(errEnough) // its walk ends now, what it asked lands in the cache
		}
	}
	*into = <-other
	return a, aaaa
}
