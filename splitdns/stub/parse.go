package stub

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// A message's header (RFC 1035 §4.1.1; AD and CD by RFC 4035 §3):
//
//	 0  1   2                        3                         4..11
//	┌──────┬────────────────────────┬─────────────────────────┬─────────────────────────────────┐
//	│ id   │ QR opcode(4) AA TC RD  │ RA Z AD CD rcode(4)     │ counts: QD, AN, NS, AR; 16 bits │
//	└──────┴────────────────────────┴─────────────────────────┴─────────────────────────────────┘
const (
	headerSize = wire.HeaderSize

	flagQR     = 0x80 // byte 2
	maskOpcode = 0x78
	flagRD     = 0x01
	flagRA     = 0x80 // byte 3
	flagCD     = 0x10
	maskRcode  = 0x0f
)

// rejection is why a message did not become a Query, and what its sender is
// told.
type rejection struct {
	// rcode is the response code in answer.
	rcode int
	// answer is nil when the sender is told nothing: the message was too short
	// to answer, or an answer itself.
	answer []byte

	reason string
}

func (r *rejection) Error() string {
	return "stub: " + r.reason
}

// edns is what an OPT record says (RFC 6891 §6.1).
type edns struct {
	present bool
	do      bool   // RFC 3225: copied into the answer, and has no other effect
	size    uint16 // of the largest packet that the asker takes
}

func (e edns) packetSize() int {
	if !e.present {
		return minUDPSize
	}
	return min(max(int(e.size), minUDPSize), wire.PacketSize)
}

// Parse reads a query off the wire, without its length on a stream. An error
// is one for people; ServeStream and ServePackets tell the sender. The Query
// keeps the message, which must not be changed from then on.
func Parse(message []byte) (*Query, error) {
	if len(message) < headerSize {
		return nil, &rejection{rcode: dns.RcodeFormatError, reason: "the message is too short to have a header"}
	}
	if message[2]&flagQR != 0 {
		return nil, &rejection{rcode: dns.RcodeFormatError, reason: "the message is an answer"}
	}
	if message[2]&maskOpcode != 0 {
		return nil, reject(message, nil, edns{}, dns.RcodeNotImplemented, "the operation is not a query")
	}
	if len(message) > maxQuery {
		return nil, reject(message, nil, edns{}, dns.RcodeFormatError, "the query is too long")
	}
	if !countsOfQuery(message) {
		return nil, reject(message, nil, edns{}, dns.RcodeFormatError, "a query has one question, and no record but OPT")
	}
	name, end := readName(message)
	if end == 0 || len(message) < end+4 {
		return nil, reject(message, nil, edns{}, dns.RcodeFormatError, "the question cannot be read")
	}
	question := message[headerSize : end+4]
	opt, version, ok := readOPT(message[end+4:], binary.BigEndian.Uint16(message[10:]) == 1)
	switch {
	case !ok:
		return nil, reject(message, question, edns{}, dns.RcodeFormatError, "what follows the question is no OPT record")
	case version != 0:
		return nil, reject(message, question, opt, dns.RcodeBadVers, "the version of EDNS is not 0")
	}
	qtype, class := binary.BigEndian.Uint16(message[end:]), binary.BigEndian.Uint16(message[end+2:])
	switch {
	case class != dns.ClassINET:
		return nil, reject(message, question, opt, Refused, "the class is not IN")
	case qtype == dns.TypeANY:
		return nil, minimal(message, question, opt)
	case !wire.IsData(qtype):
		return nil, reject(message, question, opt, dns.RcodeNotImplemented, "the type is not one of data")
	}
	spelled, _, err := dns.UnpackDomainName(message, headerSize)
	if err != nil {
		return nil, reject(message, question, opt, dns.RcodeFormatError, "the name cannot be read")
	}
	return &Query{Name: name, Type: qtype, wire: message, spelled: spelled, edns: opt}, nil
}

// countsOfQuery looks at the four counts of the header.
func countsOfQuery(message []byte) bool {
	count := func(at int) uint16 { return binary.BigEndian.Uint16(message[at:]) }
	return count(4) == 1 && count(6) == 0 && count(8) == 0 && count(10) <= 1
}

// readName reads the question's name. end is the offset behind it, 0 when it is
// none: compressed, of an unknown kind of label, too long or cut off. name is
// empty unless it is one that a host or a service may have.
func readName(message []byte) (name string, end int) {
	var b strings.Builder
	usable, at := true, headerSize
	for {
		if at >= len(message) {
			return "", 0
		}
		size := int(message[at])
		at++
		if size == 0 {
			break
		}
		// The two high bits tell a pointer, or a kind that never came into use.
		if size > 63 || at+size > len(message) || at+size-headerSize > 254 {
			return "", 0
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		label := message[at : at+size]
		usable = usable && label[0] != '-' && label[size-1] != '-'
		for _, c := range label {
			c = wire.Lower(c)
			usable = usable && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_')
			b.WriteByte(c)
		}
		at += size
	}
	if name = b.String(); !usable || wire.EndsInNumber(name) {
		name = ""
	}
	return name, at
}

// readOPT reads what follows the question: an OPT record if one is announced,
// else nothing.
//
//	┌──────┬─────────┬──────────────┬────────────┬─────────┬────────────┬─────────┬─────────┐
//	│ 0x00 │ 0, 41   │ packet size  │ ext. rcode │ version │ DO, Z      │ length  │ options │
//	│ root │ TYPE    │ CLASS        │ TTL, 8     │ 8       │ 16         │ RDLEN   │         │
//	└──────┴─────────┴──────────────┴────────────┴─────────┴────────────┴─────────┴─────────┘
func readOPT(rest []byte, announced bool) (opt edns, version byte, ok bool) {
	if !announced {
		return edns{}, 0, len(rest) == 0
	}
	if len(rest) < 11 || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != dns.TypeOPT {
		return edns{}, 0, false
	}
	opt = edns{present: true, size: binary.BigEndian.Uint16(rest[3:]), do: rest[7]&0x80 != 0}
	version = rest[6]
	options := rest[11:]
	if len(options) != int(binary.BigEndian.Uint16(rest[9:])) {
		return edns{}, 0, false
	}
	for len(options) > 0 {
		if len(options) < 4 {
			return edns{}, 0, false
		}
		size := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if size > len(options) {
			return edns{}, 0, false
		}
		options = options[size:]
	}
	return opt, version, true
}
