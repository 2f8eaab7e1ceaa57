package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// The kinds of failure, to be told apart by errors.Is. Their texts name the
// name, its zone and the server, as far as there is one.
var (
	// ErrNotFound: the name does not exist, or has no address.
	ErrNotFound = errors.New("no such name")
	// ErrTimeout: no answer in time, by the resolver's limit or the caller's.
	ErrTimeout = errors.New("the look-up timed out")
	// ErrFailed: everything else, among it a caller that gave up, for whom
	// context.Canceled is in the chain too.
	ErrFailed = errors.New("the look-up failed")
)

// Asker puts a question to a group of DNS servers; *upstream.Pool does. It must
// honour the context, retry as it sees fit, and return only replies to the
// question asked. Errors that are upstream.ErrTimeout or
// context.DeadlineExceeded are timeouts. The resolver never changes a reply.
type Asker interface {
	Ask(context.Context, upstream.Question) (*upstream.Reply, error)
}

// Config is what a Resolver is made of.
type Config struct {
	// Hosts are the pinned addresses by normalised name: lower case, A-labels,
	// no trailing dot. A name may not come without addresses. A pinned name is
	// never asked of a server, for no type.
	Hosts map[string][]netip.Addr
	// Zones say who is asked for which names; their order is of no matter.
	Zones []Zone
	// Public is asked for the names in no zone; required. Whoever made it closes
	// it, after the Resolver.
	Public Asker
	// Timeout bounds one look-up, with all its aliases; 0 is 5 s, half of what a
	// device woken by push has for everything.
	Timeout time.Duration
	// Cache bounds what is remembered.
	Cache Cache
	// Now is the clock that entries of the cache age by; nil is time.Now.
	Now func() time.Time
	// Panicked is told of a defect that ended one look-up, or one answer to a
	// device; nil: a defect ends the process.
	Panicked func(value any, stack []byte)
}

// Cache says how much is remembered, and for how long.
type Cache struct {
	// Entries bounds the questions whose outcome is kept, the ones used last; 0
	// is 10,000, less than 0 none. Bytes are bounded too, to 1 KiB an entry on
	// the average.
	Entries int
	// MaxTTL caps the TTLs of servers; 0 is 24 h, less than 0 keeps no answer.
	MaxTTL time.Duration
	// Stale is for how long after its end an answer may still be served when the
	// servers fail (RFC 8767); 0 is 1 h, less than 0 never.
	Stale time.Duration
}

// Resolver answers by its Config. It is safe for concurrent use.
type Resolver struct {
	hosts   map[string][]netip.Addr
	zones   zones
	timeout time.Duration
	maxTTL  time.Duration // 0: no answer is kept
	stale   time.Duration // 0: never
	now     func() time.Time
	told    func(value any, stack []byte) // of a defect; may be nil
	cache   *cache
	flights *flights[key, *segment]
}

// New checks a config and keeps no reference to its maps. An error names the
// host or the zone at fault. The Resolver starts with an empty cache: one that
// takes the place of another after a reload may have other zones, for which
// what the old one knew need not be true.
func New(c Config) (*Resolver, error) {
	if c.Public == nil {
		return nil, errors.New("splitdns: nobody is there to be asked for the names in no zone")
	}
	zones, err := newZones(c.Zones, c.Public)
	if err != nil {
		return nil, err
	}
	r := &Resolver{
		hosts:   make(map[string][]netip.Addr, len(c.Hosts)),
		zones:   zones,
		timeout: orDefault(c.Timeout, 5*time.Second),
		now:     c.Now,
		told:    c.Panicked,
		flights: newFlights[key, *segment](),
	}
	if c.Cache.MaxTTL >= 0 {
		r.maxTTL = orDefault(c.Cache.MaxTTL, 24*time.Hour)
	}
	if c.Cache.Stale >= 0 {
		r.stale = orDefault(c.Cache.Stale, time.Hour)
	}
	if c.Cache.Entries >= 0 {
		r.cache = newCache(orDefault(c.Cache.Entries, 10_000))
	}
	if r.now == nil {
		r.now = time.Now
	}
	for name, addrs := range c.Hosts {
		if !isNormalised(name) {
			return nil, fmt.Errorf("splitdns: host %q is not written as a name: lower case, no blanks, no trailing dot", name)
		}
		usable := tidy(nil, addrs)
		if len(usable) == 0 {
			return nil, fmt.Errorf("splitdns: host %s has no usable address", name)
		}
		r.hosts[name] = usable
	}
	return r, nil
}

func orDefault[N int | time.Duration](n, fallback N) N {
	if n <= 0 {
		return fallback
	}
	return n
}

// Close ends the look-ups under way and waits for them. Afterwards only what is
// pinned or cached is answered. It leaves the Askers to whoever made them.
func (r *Resolver) Close() { r.flights.close() }

// Where an answer came from; "zone example.com" is what a zone's names have.
const (
	SourceHosts   = "hosts"
	SourcePublic  = "public"
	sourceSpecial = "special-use"
)

// maxAddrs bounds the addresses of an Answer. The first ones stay, and neither
// family pushes out the other.
const maxAddrs = 32

// hostsTTL is what pinned addresses are passed on with.
const hostsTTL = time.Minute

// Answer is what a name resolved to.
type Answer struct {
	// Addrs holds 1 to 32 addresses, unmapped, without zones and without
	// repeats: the IPv4 ones in the order of the server, then the IPv6 ones. It
	// belongs to the caller.
	Addrs []netip.Addr
	// Source is where the name asked was looked for: SourceHosts, "zone" and the
	// zone's suffix, or SourcePublic. Its aliases may lead elsewhere.
	Source string
	// Server is the one that answered for the name asked, as upstream writes it;
	// empty for SourceHosts.
	Server string
	// Chain holds the aliases followed, in order. It belongs to the caller.
	Chain []string
	// TTL is for how long the whole is true still; 0 is for this once.
	TTL time.Duration
	// Stale tells that a part of it has expired, and that servers fail.
	Stale bool
	// Cached tells that no server was asked for it.
	Cached bool
}

// Resolve returns the addresses of a normalised name. A name in another form
// and an address in the guise of a name are ErrNotFound, without a look-up.
func (r *Resolver) Resolve(ctx context.Context, name string) (Answer, error) {
	if addrs, ok := r.hosts[name]; ok {
		return Answer{Addrs: slices.Clone(addrs), Source: SourceHosts, TTL: hostsTTL}, nil
	}
	if !isNormalised(name) {
		return Answer{}, fmt.Errorf("splitdns: what was asked for is no name: %w", ErrNotFound)
	}
	var a, aaaa outcome
	if !r.recall(key{name, dns.TypeA}, &a) || !r.recall(key{name, dns.TypeAAAA}, &aaaa) {
		a, aaaa = r.both(ctx, name)
	}
	answer, err := merge(&a, &aaaa)
	if err != nil {
		return Answer{}, &aboutName{name, err}
	}
	return answer, nil
}

// merge makes an answer of what was found in the two families. One of them will
// do.
func merge(a, aaaa *outcome) (Answer, error) {
	first, second := a, aaaa
	if len(first.addrs) == 0 {
		first, second = aaaa, a
	}
	if len(first.addrs) == 0 {
		return Answer{}, nothing(a, aaaa)
	}
	answer := Answer{
		Source: first.source, Server: first.server, Chain: first.chain,
		TTL: first.ttl, Stale: first.stale, Cached: first.cached,
	}
	four, six := a.addrs, aaaa.addrs
	// The IPv6 addresses may have half of the room, and what the IPv4 ones leave.
	four = four[:min(len(four), max(maxAddrs-len(six), maxAddrs-maxAddrs/2))]
	answer.Addrs = make([]netip.Addr, 0, min(len(four)+len(six), maxAddrs))
	answer.Addrs = tidy(tidy(answer.Addrs, four), six)
	if len(answer.Addrs) == 0 {
		return Answer{}, fmt.Errorf("%w: none of its addresses is usable", ErrNotFound)
	}
	if len(second.addrs) > 0 {
		answer.TTL = min(answer.TTL, second.ttl)
		answer.Stale = answer.Stale || second.stale
		answer.Cached = answer.Cached && second.cached
	}
	return answer, nil
}

// nothing tells why there is no address. That the name does not exist is true
// for both families, whichever was told so; that it has no address is known
// only when both were answered.
func nothing(a, aaaa *outcome) error {
	for _, o := range [...]*outcome{a, aaaa} {
		if o.err == nil && o.rcode == dns.RcodeNameError {
			return &denial{noSuchName: true, source: o.endSource, server: o.endServer}
		}
	}
	for _, o := range [...]*outcome{a, aaaa} {
		if o.err != nil {
			return o.err
		}
	}
	return &denial{source: a.endSource, server: a.endServer}
}

// tidy appends addresses to those kept, up to maxAddrs: valid, unmapped, each
// once. Those with a zone are left out, for they mean something on one link only.
func tidy(kept, addrs []netip.Addr) []netip.Addr {
	for _, addr := range addrs {
		if len(kept) == maxAddrs {
			break
		}
		addr = addr.Unmap()
		if addr.IsValid() && addr.Zone() == "" && !slices.Contains(kept, addr) {
			kept = append(kept, addr)
		}
	}
	return kept
}
