package splitdns

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// Records is what was found for a name and a type.
type Records struct {
	// RRs are the records, at most 64 and 16 KiB: all of the type asked, owned by
	// the name asked whatever aliases were followed, with the TTL below. They
	// belong to the caller. Without any, Rcode says why.
	RRs []dns.RR
	// Rcode is dns.RcodeSuccess, also where the name has no such record, or
	// dns.RcodeNameError where it, or the end of its aliases, does not exist.
	Rcode int
	// Chain holds the aliases followed, in order. It belongs to the caller.
	Chain []string
	// TTL, Source, Server, Stale and Cached are as in Answer. TTL is true of "no
	// such record" and "no such name" too.
	TTL            time.Duration
	Source, Server string
	Stale, Cached  bool
}

// Look returns the records of a normalised name; underscores for services are
// part of one. That there are none is no error: see Records.Rcode. A name in
// another form is ErrNotFound, a type that only means something in a question
// or belongs to a transport (RFC 6895 §3.1) is ErrFailed; neither is asked.
//
// A pinned name has its addresses, and no record of any other type.
func (r *Resolver) Look(ctx context.Context, name string, qtype uint16) (Records, error) {
	if !isNormalised(name) {
		return Records{}, fmt.Errorf("splitdns: what was asked for is no name: %w", ErrNotFound)
	}
	if !wire.IsData(qtype) {
		return Records{}, fmt.Errorf("splitdns: %s: %w: nothing is of type %s", name, ErrFailed, dns.Type(qtype))
	}
	var o outcome
	if !r.recall(key{name, qtype}, &o) {
		ctx, stop := context.WithTimeoutCause(ctx, r.timeout, errEnough)
		defer stop()
		o = r.walk(ctx, key{name, qtype})
	}
	if o.err != nil {
		return Records{}, &aboutName{name, o.err}
	}
	return Records{
		RRs: o.flatten(qtype), Rcode: o.rcode, Chain: o.chain,
		TTL: o.ttl, Source: o.source, Server: o.server, Stale: o.stale, Cached: o.cached,
	}, nil
}

// flatten makes records of the name asked of what was found at the end of its
// aliases.
func (o *outcome) flatten(qtype uint16) []dns.RR {
	header := dns.RR_Header{
		Name: dns.Fqdn(o.asked), Rrtype: qtype, Class: dns.ClassINET,
		Ttl: uint32(o.ttl.Round(time.Second) / time.Second),
	}
	rrs := make([]dns.RR, 0, len(o.addrs)+len(o.rrs))
	for _, addr := range o.addrs {
		if qtype == dns.TypeA {
			rrs = append(rrs, &dns.A{Hdr: header, A: net.IP(addr.AsSlice())})
		} else {
			ip := addr.As16()
			rrs = append(rrs, &dns.AAAA{Hdr: header, AAAA: net.IP(ip[:])})
		}
	}
	for _, rr := range o.rrs {
		own := dns.Copy(rr)
		*own.Header() = header
		rrs = append(rrs, own)
	}
	return rrs
}
