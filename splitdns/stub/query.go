package stub

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

const (
	maxQuery   = 4096 // bytes of the largest query that is parsed
	minUDPSize = 512  // RFC 1035 §4.2.1, and the least that RFC 6891 §6.2.3 lets an OPT say
	maxMessage = wire.MaxMessage
)

// The response codes that handlers need (RFC 1035 §4.1.1).
const (
	Success       = dns.RcodeSuccess
	ServerFailure = dns.RcodeServerFailure
	NameError     = dns.RcodeNameError
	Refused       = dns.RcodeRefused
)

// Query is one well-formed question. It does not change, and is safe for
// concurrent use.
type Query struct {
	// Name is the name asked for, in normal form: lower case, no trailing dot,
	// at most 253 bytes, labels of letters, digits, underscores and inner
	// hyphens. It is empty for the root, for any other name, and for a number
	// in the guise of a name: nothing is known of those, and the answer is
	// Refused.
	Name string
	// Type is the type of record asked for; never AXFR, ANY or the like.
	Type uint16

	wire    []byte
	spelled string // the question's name as the asker spelled it, in miekg's escapes
	edns    edns
}

// Note is an extended error (RFC 8914) beside an answer's response code. The
// text is for people; it goes to the asker as it is.
type Note struct {
	Code uint16 // from the registry of RFC 8914 §4
	Text string // at most 255 bytes are sent
}

// Wire returns the query as it came. It must not be changed.
func (q *Query) Wire() []byte {
	return q.wire
}

// Fail returns an answer of that response code without any record.
func (q *Query) Fail(rcode int, notes ...Note) []byte {
	return q.Reply(nil, rcode, notes...)
}

// Addresses returns an answer with those of the addresses that the question is
// about: IPv4 for A, IPv6 for AAAA, where an IPv4-mapped one is IPv4. None of
// them is a good answer too, one that says there is no such data. Invalid
// addresses and those with a zone are left out. ttl is cut to whole seconds,
// and to 0 when it is negative.
func (q *Query) Addresses(addrs []netip.Addr, ttl time.Duration, notes ...Note) []byte {
	seconds := uint32(min(max(ttl, 0)/time.Second, 1<<31-1))
	var records []dns.RR
	for _, addr := range addrs {
		addr = addr.Unmap()
		header := dns.RR_Header{Name: q.spelled, Rrtype: q.Type, Class: dns.ClassINET, Ttl: seconds}
		switch {
		case addr.Zone() != "":
		case q.Type == dns.TypeA && addr.Is4():
			records = append(records, &dns.A{Hdr: header, A: addr.AsSlice()})
		case q.Type == dns.TypeAAAA && addr.Is6():
			records = append(records, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return q.Reply(records, Success, notes...)
}

// Reply returns an answer with these records, which are not changed. Records of
// the name asked for are spelled as it was asked. An answer that cannot be put
// on the wire, be it too large or malformed, becomes a ServerFailure.
func (q *Query) Reply(records []dns.RR, rcode int, notes ...Note) []byte {
	m := q.answer(rcode, notes)
	owner := dns.Fqdn(q.Name)
	for _, record := range records {
		if strings.EqualFold(record.Header().Name, owner) && record.Header().Name != q.spelled {
			record = dns.Copy(record)
			record.Header().Name = q.spelled
		}
		m.Answer = append(m.Answer, record)
	}
	if answer, err := m.Pack(); err == nil && len(answer) <= maxMessage {
		return answer
	}
	answer, err := q.answer(ServerFailure, nil).Pack()
	if err != nil {
		return nil // cannot be: the question was read off the wire
	}
	return answer
}

// answer is an answer without records.
func (q *Query) answer(rcode int, notes []Note) *dns.Msg {
	m := &dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id:                 uint16(q.wire[0])<<8 | uint16(q.wire[1]),
			Response:           true,
			RecursionDesired:   q.wire[2]&flagRD != 0,
			RecursionAvailable: true,
			CheckingDisabled:   q.wire[3]&flagCD != 0,
			Rcode:              rcode,
		},
		Compress: true,
		Question: []dns.Question{{Name: q.spelled, Qtype: q.Type, Qclass: dns.ClassINET}},
	}
	if !q.edns.present {
		return m
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(wire.PacketSize)
	opt.SetDo(q.edns.do)
	for _, note := range notes {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: note.Code, ExtraText: note.Text[:min(len(note.Text), 255)]})
	}
	m.Extra = []dns.RR{opt}
	return m
}
