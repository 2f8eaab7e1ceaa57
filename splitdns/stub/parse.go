package stub

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

// A message's header (RFC 1035 §4.1.1; AD and CD by RFC 4035 §3):
//
//	 0  1   2                        3                         4..11
//	┌──────┬────────────────────────┬─────────────────────────┬─────────────────────────────────┐
//	│ id   │ QR opcode(4) AA TC RD  │ RA Z AD CD rcode(4)     │ counts: QD, AN, NS, AR; 16 bits │
//	└──────┴────────────────────────┴─────────────────────────┴─────────────────────────────────┘
const (
	headerSize = 12

	flagQR     = 0x80 // byte 2
	maskOpcode = 0x78
	flagRD     = 0x01
	flagRA     = 0x80 // byte 3
	flagCD     = 0x10
	maskRcode  = 0x0f
)

// Rejection is why a message did not become a Query, and what its sender is
// told.
type Rejection struct {
	// Rcode is the response code in Answer.
	Rcode int
	// Answer is nil when the sender is told nothing: the message was too short
	// to answer, or an answer itself.
	Answer []byte

	reason string
}

func (r *Rejection) Error() string {
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
	return min(max(int(e.size), minUDPSize), UDPSize)
}

// Parse reads a query off the wire, without its length on a stream. Every error
// is a *Rejection. The Query keeps wire, which must not be changed from then
// on.
func Parse(wire []byte) (*Query, error) {
	if len(wire) < headerSize {
		return nil, &Rejection{Rcode: FormatError, reason: "the message is too short to have a header"}
	}
	if wire[2]&flagQR != 0 {
		return nil, &Rejection{Rcode: FormatError, reason: "the message is an answer"}
	}
	if wire[2]&maskOpcode != 0 {
		return nil, reject(wire, nil, edns{}, NotImplemented, "the operation is not a query")
	}
	if len(wire) > MaxQuery {
		return nil, reject(wire, nil, edns{}, FormatError, "the query is too long")
	}
	if !countsOfQuery(wire) {
		return nil, reject(wire, nil, edns{}, FormatError, "a query has one question, and no record but OPT")
	}
	name, end := readName(wire)
	if end == 0 || len(wire) < end+4 {
		return nil, reject(wire, nil, edns{}, FormatError, "the question cannot be read")
	}
	question := wire[headerSize : end+4]
	opt, version, ok := readOPT(wire[end+4:], binary.BigEndian.Uint16(wire[10:]) == 1)
	switch {
	case !ok:
		return nil, reject(wire, question, edns{}, FormatError, "what follows the question is no OPT record")
	case version != 0:
		return nil, reject(wire, question, opt, dns.RcodeBadVers, "the version of EDNS is not 0")
	}
	qtype, class := binary.BigEndian.Uint16(wire[end:]), binary.BigEndian.Uint16(wire[end+2:])
	switch {
	case class != dns.ClassINET:
		return nil, reject(wire, question, opt, Refused, "the class is not IN")
	case qtype == dns.TypeANY:
		return nil, minimal(wire, question, opt)
	case !isData(qtype):
		return nil, reject(wire, question, opt, NotImplemented, "the type is not one of data")
	}
	spelled, _, err := dns.UnpackDomainName(wire, headerSize)
	if err != nil {
		return nil, reject(wire, question, opt, FormatError, "the name cannot be read")
	}
	return &Query{Name: name, Type: qtype, wire: wire, spelled: spelled, edns: opt}, nil
}

// countsOfQuery looks at the four counts of the header.
func countsOfQuery(wire []byte) bool {
	count := func(at int) uint16 { return binary.BigEndian.Uint16(wire[at:]) }
	return count(4) == 1 && count(6) == 0 && count(8) == 0 && count(10) <= 1
}

// isData tells types that records have from those for questions and of
// signalling (RFC 6895 §3.1). Type 0 is reserved, and OPT the one outlaw below
// 128.
func isData(qtype uint16) bool {
	return qtype != 0 && qtype != dns.TypeOPT && (qtype < 128 || qtype > 255)
}

// readName reads the question's name. end is the offset behind it, 0 when it is
// none: compressed, of an unknown kind of label, too long or cut off. name is
// empty unless it is one that a host or a service may have.
func readName(wire []byte) (name string, end int) {
	var b strings.Builder
	usable, at := true, headerSize
	for {
		if at >= len(wire) {
			return "", 0
		}
		size := int(wire[at])
		at++
		if size == 0 {
			break
		}
		// The two high bits tell a pointer, or a kind that never came into use.
		if size > 63 || at+size > len(wire) || at+size-headerSize > 254 {
			return "", 0
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		label := wire[at : at+size]
		usable = usable && label[0] != '-' && label[size-1] != '-'
		for _, c := range label {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			usable = usable && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_')
			b.WriteByte(c)
		}
		at += size
	}
	if name = b.String(); !usable || endsInNumber(name) {
		name = ""
	}
	return name, at
}

// endsInNumber tells names that some programs read as an IPv4 address: by the
// last label, decimal, or hexadecimal with 0x in front.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
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
