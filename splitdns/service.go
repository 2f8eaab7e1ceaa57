package splitdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
)

// View is what one device may know: its policy, as far as names are concerned.
// Names are normalised: lower case, no trailing dot. Its methods are called by
// several goroutines at once, for every question anew, and answer at once.
type View interface {
	// Knows tells whether the name is listed, with whatever port.
	Knows(name string) bool
	// Holds tells whether a listed name is the domain or lies below it. Then the
	// domain's services may be asked for.
	Holds(domain string) bool
	// Reaches tells whether this address of that name may be dialled on a listed
	// port. The address is unmapped, and the name one that Knows.
	Reaches(name string, addr netip.Addr) bool
	// Opens tells whether the name is listed with this port.
	Opens(name string, port uint16) bool
	// MayAsk tells whether one more look-up may be made for the device now, and
	// counts it. It is asked last, for what the view does not refuse.
	MayAsk() bool
}

// longestTTL bounds for how long devices believe what we say: their list may be
// another one by then.
const longestTTL = 5 * time.Minute

// What a refusal says to people, beside its code.
const (
	unlisted    = "not listed in the device's policy"
	ownName     = "a name of the gateway, which the device resolves itself"
	tooMany     = "too many look-ups a second for one device"
	unreachable = "no address or target of it may be dialled"
)

// Service is the DNS of devices, in their tunnels. What it says:
//
//	asked for            of                         answer
//	A, AAAA              a listed name              its addresses that may be dialled
//	TXT                  a listed name, a service   the records
//	SRV                  a service                  the records whose target is listed with that port
//	any other data       a listed name              no such record, without a look-up
//	anything             the gateway's own names    REFUSED
//	anything else                                   REFUSED
//
// A service is _name._tcp, _name._udp or _name._tls of a domain that holds a
// listed name (RFC 2782): Autodiscover's, for one. Everything else is closed:
// reverse look-ups, delegations, mail exchangers, the HTTPS records that name
// other hosts and addresses. Aliases are followed and not told. A refusal says
// nothing about the name, not even whether it exists, and asks nobody.
//
// Where a record was left out because it leads to what may not be dialled and
// none is left, the answer is that there is none, with the extended error
// Filtered. The others of RFC 8914 in use: Prohibited with a refusal, Stale
// Answer, and with SERVFAIL No Reachable Authority (no answer in time) or
// Network Error; Other with the refusal of a look-up too many.
type Service struct {
	// Resolver looks names up; required.
	Resolver *Resolver
	// Own are the gateway's own names, normalised. Devices resolve them without
	// us, for the way to us leads over them; a list that has one of them changes
	// nothing.
	Own []string
}

// Serve answers the questions of one device's tunnel. conn is closed on return;
// the errors are those of stub.ServeStream.
func (s *Service) Serve(ctx context.Context, conn net.Conn, view View) error {
	return stub.ServeStream(ctx, conn, &asker{s, view})
}

// asker is one tunnel.
type asker struct {
	service *Service
	view    View
}

// Answer implements stub.Handler.
func (a *asker) Answer(ctx context.Context, q *stub.Query) (answer []byte) {
	defer a.service.Resolver.catch(func(error) { answer = q.Fail(stub.ServerFailure) })
	if q.Name == stub.DeviceDNS || slices.Contains(a.service.Own, q.Name) {
		return prohibited(q, ownName)
	}
	var keep func(dns.RR) dns.RR
	listed := q.Name != "" && a.view.Knows(q.Name)
	service := isService(q.Name, a.view)
	switch {
	case !listed && !service:
		return prohibited(q, unlisted)
	case listed && (q.Type == dns.TypeA || q.Type == dns.TypeAAAA):
		keep = a.address(q.Name)
	case service && q.Type == dns.TypeSRV:
		keep = a.target
	case q.Type == dns.TypeTXT:
		keep = text
	case listed:
		return q.Fail(stub.Success)
	default:
		return prohibited(q, unlisted)
	}
	if !a.view.MayAsk() {
		return q.Fail(stub.Refused, stub.Note{Code: dns.ExtendedErrorCodeOther, Text: tooMany})
	}
	found, err := a.service.Resolver.Look(ctx, q.Name, q.Type)
	if err != nil {
		return failed(q, err)
	}
	return reply(q, found, keep)
}

// reply answers with the records that keep returns, which are new ones.
func reply(q *stub.Query, found Records, keep func(dns.RR) dns.RR) []byte {
	ttl := uint32(max(0, min(found.TTL, longestTTL)) / time.Second)
	var kept []dns.RR
	for _, record := range found.RRs {
		record = keep(record)
		if record == nil {
			continue
		}
		*record.Header() = dns.RR_Header{Name: dns.Fqdn(q.Name), Rrtype: q.Type, Class: dns.ClassINET, Ttl: ttl}
		// A set holds a record once, whatever a server says (RFC 2181 §5).
		if !slices.ContainsFunc(kept, func(k dns.RR) bool { return dns.IsDuplicate(k, record) }) {
			kept = append(kept, record)
		}
	}
	var notes []stub.Note
	if len(kept) == 0 && len(found.RRs) > 0 {
		notes = append(notes, stub.Note{Code: dns.ExtendedErrorCodeFiltered, Text: unreachable})
	}
	if found.Stale {
		notes = append(notes, stub.Note{Code: dns.ExtendedErrorCodeStaleAnswer})
	}
	return q.Reply(kept, found.Rcode, notes...)
}

// address keeps the addresses of a name that may be dialled.
func (a *asker) address(name string) func(dns.RR) dns.RR {
	return func(record dns.RR) dns.RR {
		switch record := record.(type) {
		case *dns.A:
			if addr, ok := netip.AddrFromSlice(record.A); ok && a.view.Reaches(name, addr.Unmap()) {
				return &dns.A{A: record.A}
			}
		case *dns.AAAA:
			// One that maps an IPv4 address is none that a device could use.
			if addr, ok := netip.AddrFromSlice(record.AAAA); ok && addr.Is6() && !addr.Is4In6() && a.view.Reaches(name, addr) {
				return &dns.AAAA{AAAA: record.AAAA}
			}
		}
		return nil
	}
}

// target keeps a service's host if the device may open a tunnel to it.
func (a *asker) target(record dns.RR) dns.RR {
	srv, ok := record.(*dns.SRV)
	if !ok {
		return nil
	}
	host := canonical(srv.Target)
	if !isNormalised(host) || !a.view.Opens(host, srv.Port) {
		return nil
	}
	return &dns.SRV{Priority: srv.Priority, Weight: srv.Weight, Port: srv.Port, Target: host + "."}
}

func text(record dns.RR) dns.RR {
	if txt, ok := record.(*dns.TXT); ok {
		return &dns.TXT{Txt: slices.Clone(txt.Txt)}
	}
	return nil
}

// isService tells whether a name is that of a service of a domain that the
// device may know.
func isService(name string, view View) bool {
	service, rest, _ := strings.Cut(name, ".")
	protocol, domain, _ := strings.Cut(rest, ".")
	if len(service) < 2 || service[0] != '_' || domain == "" {
		return false
	}
	return (protocol == "_tcp" || protocol == "_udp" || protocol == "_tls") && view.Holds(domain)
}

func prohibited(q *stub.Query, why string) []byte {
	return q.Fail(stub.Refused, stub.Note{Code: dns.ExtendedErrorCodeProhibited, Text: why})
}

// failed tells a device that there is no answer, and not which servers of the
// inside gave none.
func failed(q *stub.Query, err error) []byte {
	switch {
	case errors.Is(err, ErrNotFound):
		return q.Fail(stub.NameError)
	case errors.Is(err, ErrTimeout):
		return q.Fail(stub.ServerFailure, stub.Note{Code: dns.ExtendedErrorCodeNoReachableAuthority})
	}
	return q.Fail(stub.ServerFailure, stub.Note{Code: dns.ExtendedErrorCodeNetworkError})
}
