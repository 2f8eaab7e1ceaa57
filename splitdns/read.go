package splitdns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// What is taken of one answer. Whatever is beyond is left out, by whole
// records.
const (
	maxRecords     = 64
	maxRecordBytes = 16 << 10 // of the records on the wire, uncompressed
)

// longestNegative caps for how long something is known not to be.
const longestNegative = 5 * time.Minute

// maxLinks bounds the aliases between a name and its end.
const maxLinks = 8

// read makes a segment of a reply to a question, believing the servers of zone z
// only what they may say: records of names of that zone which follow, alias by
// alias, from the name asked. All other records are as if they were not there.
func (r *Resolver) read(z *zone, k key, reply *upstream.Reply) (*segment, error) {
	msg := reply.Msg
	switch {
	case msg == nil || msg.Truncated:
		return nil, fmt.Errorf("%s gave half an answer", reply.Server)
	case msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("%s answered %s", reply.Server,
			cmp.Or(dns.RcodeToString[msg.Rcode], fmt.Sprintf("response code %d", msg.Rcode)))
	}
	seg := &segment{server: reply.Server.String()}
	at, ttl := k.name, r.maxTTL
	for {
		end := recordsOf(msg.Answer, at, k.qtype)
		if len(end) > 0 {
			ttl = min(ttl, leastTTL(end))
			if err := seg.take(end, k.qtype); err != nil {
				return nil, fmt.Errorf("%s: %w", reply.Server, err)
			}
			break
		}
		target, linkTTL, ok := r.aliasOf(msg.Answer, at, z)
		if !ok {
			seg.open, seg.rcode = false, msg.Rcode
			negative, ok := negativeTTL(msg.Ns, at)
			// A server that knows only the alias has said nothing of its target.
			seg.open = !ok && msg.Rcode == dns.RcodeSuccess && len(seg.links) > 0
			if !seg.open {
				ttl = min(ttl, negative, longestNegative)
			}
			break
		}
		if !isNormalised(target) {
			return nil, fmt.Errorf("%s: %s is an alias of something that is no name", reply.Server, at)
		}
		ttl = min(ttl, linkTTL)
		around := target == k.name || slices.Contains(seg.links, target)
		seg.links = append(seg.links, target)
		at = target
		if around || len(seg.links) > maxLinks || r.zones.of(at) != z || r.isNeverAsked(at) {
			seg.open = true // walk judges loops and length, over all segments
			break
		}
	}
	seg.expires = r.now().Add(ttl)
	return seg, nil
}

// recordsOf returns the records of that name and type.
func recordsOf(rrs []dns.RR, name string, qtype uint16) []dns.RR {
	var found []dns.RR
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == qtype && h.Class == dns.ClassINET && isCalled(h.Name, name) {
			found = append(found, rr)
		}
	}
	return found
}

// isCalled compares a name out of a message with one of ours. Most names in a
// message are of another length, which is quick to see.
func isCalled(owner, name string) bool {
	return len(owner) == len(name)+1 && strings.EqualFold(owner[:len(name)], name) && owner[len(name)] == '.'
}

// aliasOf returns where a name leads: by its CNAME, or by the DNAME of a name
// above it (RFC 6672) in the same zone, should the server have left the CNAME to
// us.
func (r *Resolver) aliasOf(rrs []dns.RR, name string, z *zone) (target string, ttl time.Duration, ok bool) {
	for _, rr := range rrs {
		alias, is := rr.(*dns.CNAME)
		if is && alias.Hdr.Class == dns.ClassINET && isCalled(alias.Hdr.Name, name) {
			return canonical(alias.Target), ttlOf(alias), true
		}
	}
	for _, rr := range rrs {
		alias, is := rr.(*dns.DNAME)
		if !is || alias.Hdr.Class != dns.ClassINET {
			continue
		}
		owner := canonical(alias.Hdr.Name)
		if owner != "" && owner != name && within(name, owner) && r.zones.of(owner) == z {
			return strings.TrimSuffix(name, owner) + canonical(alias.Target), ttlOf(alias), true
		}
	}
	return "", 0, false
}

// take keeps the records that end a segment, each once (RFC 2181 §5.5): as
// addresses where they are some, for most questions want those.
func (s *segment) take(rrs []dns.RR, qtype uint16) error {
	bytes := 0
	for _, rr := range rrs {
		bytes += dns.Len(rr)
		if bytes > maxRecordBytes || len(s.addrs)+len(s.rrs) == maxRecords {
			break
		}
		switch qtype {
		case dns.TypeA, dns.TypeAAAA:
			if addr := addressOf(rr); addr.IsValid() && !slices.Contains(s.addrs, addr) {
				s.addrs = append(s.addrs, addr)
			}
		default:
			if !slices.ContainsFunc(s.rrs, func(kept dns.RR) bool { return dns.IsDuplicate(kept, rr) }) {
				s.rrs = append(s.rrs, dns.Copy(rr))
			}
		}
	}
	if len(s.addrs)+len(s.rrs) == 0 {
		return fmt.Errorf("the %s records are unusable, or over %d bytes", dns.Type(qtype), maxRecordBytes)
	}
	return nil
}

// addressOf returns the address of an A or AAAA record; the zero Addr where it
// has none.
func addressOf(rr dns.RR) netip.Addr {
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ := netip.AddrFromSlice(rr.A)
		return addr.Unmap()
	case *dns.AAAA:
		addr, _ := netip.AddrFromSlice(rr.AAAA)
		return addr
	}
	return netip.Addr{}
}

// ttlOf reads a TTL; one with its highest bit set is 0 (RFC 2181 §8).
func ttlOf(rr dns.RR) time.Duration {
	ttl := rr.Header().Ttl
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func leastTTL(rrs []dns.RR) time.Duration {
	least := ttlOf(rrs[0])
	for _, rr := range rrs[1:] {
		least = min(least, ttlOf(rr))
	}
	return least
}

// negativeTTL finds for how long something is known not to be (RFC 2308 §5). It
// is 0 and false without the SOA of a zone above the name.
func negativeTTL(authority []dns.RR, name string) (time.Duration, bool) {
	for _, rr := range authority {
		soa, is := rr.(*dns.SOA)
		if is && within(name, canonical(soa.Hdr.Name)) {
			return min(ttlOf(soa), time.Duration(soa.Minttl)*time.Second), true
		}
	}
	return 0, false
}
