package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// outcome is what became of a question after all its aliases. Its slices may be
// those of the cache, but for chain.
type outcome struct {
	asked          string
	addrs          []netip.Addr
	rrs            []dns.RR
	rcode          int
	chain          []string
	source, server string // of the name asked
	end            string // the name that addrs, rrs and rcode are about
	endSource      string
	endServer      string
	ttl            time.Duration
	stale, cached  bool
	err            error
}

// teller names who said what the end is.
func (o *outcome) teller() string { return teller(o.endSource, o.endServer) }

func teller(source, server string) string {
	if server == "" {
		return source
	}
	return source + ", " + server
}

// walk answers a question, from the cache and by asking, segment by segment.
func (r *Resolver) walk(ctx context.Context, k key) (o outcome) {
	defer r.catch(func(err error) { o.err = err })
	o.begin(r, k)
	for more := true; more; {
		if r.atEnd(k.qtype, &o) {
			return o
		}
		seg, how, err := r.find(ctx, key{o.end, k.qtype})
		if err != nil {
			o.fail(err)
			return o
		}
		more = o.add(r, seg, how)
	}
	return o
}

// recall is walk for what is known without asking or waiting. It reports false
// where there is something to ask.
func (r *Resolver) recall(k key, o *outcome) bool {
	if r.cache == nil {
		return false
	}
	o.begin(r, k)
	now := r.now()
	for more := true; more; {
		if r.atEnd(k.qtype, o) {
			return true
		}
		known, _ := r.cache.get(key{o.end, k.qtype})
		switch {
		case known.isFresh(now):
			more = o.add(r, known.good, found{ttl: known.good.expires.Sub(now), cached: true})
		case known.failedWithin(failureHold, now) && !known.canServeStale(now, r.stale):
			o.fail(known.failure)
			return true
		default:
			return false
		}
	}
	return true
}

func (o *outcome) begin(r *Resolver, k key) {
	*o = outcome{asked: k.name, end: k.name, cached: true, ttl: r.maxTTL}
}

// isNeverAsked tells names whose answer is known without any server, and that
// none is believed about.
func (r *Resolver) isNeverAsked(name string) bool {
	_, pinned := r.hosts[name]
	return pinned || name == stub.DeviceDNS || isSpecial(name) && r.zones.of(name) == r.zones.public
}

// atEnd ends the walk at a name that is never asked: a pinned one, which has its
// addresses and nothing else, or a special one, which does not exist.
func (r *Resolver) atEnd(qtype uint16, o *outcome) bool {
	if !r.isNeverAsked(o.end) {
		return false
	}
	addrs, pinned := r.hosts[o.end]
	o.endSource, o.endServer = SourceHosts, ""
	if !pinned {
		o.endSource, o.rcode = sourceSpecial, dns.RcodeNameError
	}
	if o.source == "" {
		o.source = o.endSource
	}
	o.ttl = min(o.ttl, hostsTTL)
	for _, addr := range addrs {
		if addr.Is4() && qtype == dns.TypeA || addr.Is6() && qtype == dns.TypeAAAA {
			o.addrs = append(o.addrs, addr)
		}
	}
	return true
}

// found tells how a segment was found.
type found struct {
	ttl           time.Duration
	stale, cached bool
}

// add puts a segment behind what there is, and reports whether another must
// follow. Loops and length are judged here, over the segments of all zones.
func (o *outcome) add(r *Resolver, seg *segment, how found) (more bool) {
	o.ttl = min(o.ttl, max(how.ttl, 0))
	o.stale = o.stale || how.stale
	o.cached = o.cached && how.cached
	o.endSource, o.endServer = r.zones.of(o.end).source, seg.server
	if o.source == "" {
		o.source, o.server = o.endSource, o.endServer
	}
	for _, link := range seg.links {
		if link == o.asked || slices.Contains(o.chain, link) {
			o.fail(fmt.Errorf("%w: the aliases run in a circle at %s (%s)", ErrFailed, link, o.teller()))
			return false
		}
		if len(o.chain) == maxLinks {
			o.fail(fmt.Errorf("%w: more than %d aliases, up to %s (%s)", ErrFailed, maxLinks, link, o.teller()))
			return false
		}
		o.chain = append(o.chain, link)
	}
	if len(seg.links) > 0 {
		o.end = seg.links[len(seg.links)-1]
	}
	o.addrs, o.rrs, o.rcode = seg.addrs, seg.rrs, seg.rcode
	return seg.open
}

// fail forgets what was found.
func (o *outcome) fail(err error) {
	*o = outcome{asked: o.asked, source: o.source, server: o.server, err: err}
}

// The times of a failure.
const (
	// failureHold is for how long a failure is taken for granted, so that
	// servers in trouble are not hammered.
	failureHold = 2 * time.Second
	// stalePatience is for how long an answer is waited for while a stale one is
	// at hand (RFC 8767 §5).
	stalePatience = 1800 * time.Millisecond
	// staleHold is for how long after a failure nobody waits at all while a stale
	// answer is at hand: asking goes on behind it (RFC 8767 §5, which rests
	// instead of asking).
	staleHold = 30 * time.Second
	// staleTTL is what stale answers are passed on with (RFC 8767 §4).
	staleTTL = 30 * time.Second
)

// find returns the segment of a question, of the cache or by asking.
//
//	fresh in the cache ──────────────────────────────────────▶ it
//	failed less than 2 s ago ─────────▶ stale one, else the failure
//	else ask, together with all who want the same:
//	  answer ────────────────────────────────────────────────▶ it
//	  failure ────────────────────────▶ stale one, else the failure
//	  1.8 s gone, or failing since ≤ 30 s ─────▶ stale one, if any; asking goes on
func (r *Resolver) find(ctx context.Context, k key) (*segment, found, error) {
	now := r.now()
	known, _ := r.cache.get(k)
	if known.isFresh(now) {
		return known.good, found{ttl: known.good.expires.Sub(now), cached: true}, nil
	}
	hasStale := known.canServeStale(now, r.stale)
	stale := found{ttl: staleTTL, stale: true, cached: true}
	if known.failedWithin(failureHold, now) {
		if hasStale {
			return known.good, stale, nil
		}
		return nil, found{}, known.failure
	}
	if err := ctx.Err(); err != nil {
		return nil, found{}, r.gaveUp(k, err)
	}
	flight, err := r.flights.join(k, r.timeout, r.ask)
	if err != nil {
		return nil, found{}, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	var impatient <-chan time.Time // nil without a stale answer: patience is up to ctx
	if hasStale {
		if known.failedWithin(staleHold, now) {
			r.flights.leave(k, flight, true)
			return known.good, stale, nil
		}
		timer := time.NewTimer(stalePatience - time.Since(flight.began))
		defer timer.Stop()
		impatient = timer.C
	}
	select {
	case <-flight.done:
		if flight.err == nil {
			return flight.value, found{ttl: flight.value.expires.Sub(r.now())}, nil
		}
		if hasStale {
			return known.good, stale, nil
		}
		return nil, found{}, flight.err
	case <-impatient:
		r.flights.leave(k, flight, true)
		return known.good, stale, nil
	case <-ctx.Done():
		r.flights.leave(k, flight, errors.Is(context.Cause(ctx), errEnough))
		return nil, found{}, r.gaveUp(k, ctx.Err())
	}
}

// errEnough is the cause of a context that ends because its look-up has what it
// needs, or its time is over: what is under way shall land in the cache.
var errEnough = errors.New("nobody waits for this any more")

// gaveUp tells of a caller whose context ended.
func (r *Resolver) gaveUp(k key, err error) error {
	kind := ErrFailed
	if errors.Is(err, context.DeadlineExceeded) {
		kind = ErrTimeout
	}
	return &lookUpError{kind: kind, pending: true, key: k, source: r.zones.of(k.name).source, err: err}
}

// ask is a flight: one question to the servers of its name's zone, whose outcome
// is put in the cache.
func (r *Resolver) ask(ctx context.Context, k key) (seg *segment, err error) {
	defer r.catch(func(failed error) {
		seg, err = nil, failed
		r.rememberFailure(k, failed)
	})
	z := r.zones.of(k.name)
	reply, err := z.servers.Ask(ctx, upstream.Question{Name: k.name, Type: k.qtype})
	if err == nil {
		seg, err = r.read(z, k, reply)
	}
	if gone := ctx.Err(); errors.Is(gone, context.Canceled) {
		return nil, fmt.Errorf("%w: %w", ErrFailed, gone) // read by nobody, and no fault of the servers
	}
	if err != nil {
		kind := ErrFailed
		if errors.Is(err, upstream.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			kind = ErrTimeout
		}
		err = &lookUpError{kind: kind, key: k, source: z.source, err: err}
		r.rememberFailure(k, err)
		return nil, err
	}
	r.remember(k, seg)
	return seg, nil
}

// remember puts a segment in the cache. One with no time to live only takes out
// what was there: it must not be served again, and neither must what it refutes.
func (r *Resolver) remember(k key, seg *segment) {
	if seg.expires.After(r.now()) {
		r.cache.put(k, entry{good: seg})
	} else {
		r.cache.drop(k)
	}
}

// rememberFailure keeps what was known as long as it may be served stale.
func (r *Resolver) rememberFailure(k key, err error) {
	now := r.now()
	known, _ := r.cache.get(k)
	if !known.canServeStale(now, r.stale) {
		known.good = nil
	}
	r.cache.put(k, entry{good: known.good, failure: err, failedAt: now})
}
