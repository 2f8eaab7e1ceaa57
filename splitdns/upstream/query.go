package upstream

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// A query as it goes over the wire (RFC 1035 §4.1, RFC 6891 §6.1, RFC 7830):
//
//	 0        2        4        6               12                end
//	┌────────┬────────┬────────┬────────────────┬─────────────────┬─────────────┐
//	│   id   │ 0x0100 │   1    │ 0, 0, 0 or 1   │ name type class │ OPT         │
//	└────────┴────────┴────────┴────────────────┴─────────────────┴─────────────┘
//	           RD       question  …, OPT          0x20: see below   1,232 bytes
//
// An answer repeats everything from 12 to end, to the letter. Over UDP the
// letters of the name come in random case: whoever forges an answer without
// having seen the query must guess them beside the id and the port.
type query struct {
	wire []byte
	end  int  // of the question
	edns bool // an OPT record follows
}

const (
	headerLen  = wire.HeaderSize
	maxMessage = wire.MaxMessage
	ednsSize   = wire.PacketSize
	padTo      = 128 // RFC 8467 §4.1
)

// form is how a question is put.
type form struct {
	mixed  bool // the name in random case, the id random; else lower case and 0
	edns   bool
	padded bool // to hide the length of the name from who sees it encrypted
}

// check says whether a question can be put at all.
func (q Question) check() error {
	if q.Name == "" || len(q.Name) > 253 {
		return fmt.Errorf("a name has 1 to 253 bytes, not %d", len(q.Name))
	}
	for label := range strings.SplitSeq(q.Name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("a label of %q has %d bytes, not 1 to 63", q.Name, len(label))
		}
		for i := range len(label) {
			if c := label[i]; c <= ' ' || c > '~' || c == '\\' || 'A' <= c && c <= 'Z' {
				return fmt.Errorf("the name %q is not normalised", q.Name)
			}
		}
	}
	if !wire.IsData(q.Type) {
		return fmt.Errorf("type %d is not one of data", q.Type)
	}
	return nil
}

// newQuery writes a question that has been checked.
func newQuery(q Question, f form) *query {
	wire := make([]byte, headerLen, headerLen+len(q.Name)+6+15+padTo)
	wire[2] = 1 // RD
	wire[5] = 1
	for label := range strings.SplitSeq(q.Name, ".") {
		wire = append(wire, byte(len(label)))
		wire = append(wire, label...)
	}
	wire = append(wire, 0)
	if f.mixed {
		mix(wire)
	}
	wire = binary.BigEndian.AppendUint16(wire, q.Type)
	wire = binary.BigEndian.AppendUint16(wire, dns.ClassINET)
	written := &query{end: len(wire), edns: f.edns}
	if f.edns {
		wire[11] = 1
		wire = append(wire, 0, 0, byte(dns.TypeOPT), ednsSize>>8, ednsSize&0xff, 0, 0, 0, 0, 0, 0)
		if f.padded {
			wire = pad(wire)
		}
	}
	written.wire = wire
	return written
}

// mix takes a random id, and a random case for each letter of the name, which
// begins behind the header and ends the message so far.
func mix(wire []byte) {
	var random [2 + 256/8]byte
	rand.Read(random[:]) // never fails: it ends the process first
	copy(wire, random[:2])
	for i, c := range wire[headerLen:] {
		// The length of a label is at most 63, which is no letter.
		if 'a' <= c && c <= 'z' && random[2+i/8]&(1<<(i%8)) != 0 {
			wire[headerLen+i] = c - 'a' + 'A'
		}
	}
}

// pad adds the one option of an OPT record that ends the message.
func pad(wire []byte) []byte {
	length := (padTo - (len(wire)+4)%padTo) % padTo
	binary.BigEndian.PutUint16(wire[len(wire)-2:], uint16(4+length))
	wire = append(wire, 0, dns.EDNS0PADDING, byte(length>>8), byte(length))
	return append(wire, make([]byte, length)...)
}

// verdict is what a message is to a query.
type verdict uint8

const (
	foreign  verdict = iota // not its answer: to be dropped
	unproven                // its answer by the id, but short of what a forger cannot know
	matching                // its answer
)

// match judges a message by its first bytes, before anything of it is parsed.
// The Lie says what is wrong with one that is not matching.
func (q *query) match(answer []byte) (verdict, Lie) {
	const response, opcode = 0x80, 0x78
	switch {
	case len(answer) < headerLen:
		return foreign, lieGarbage
	case answer[0] != q.wire[0] || answer[1] != q.wire[1]:
		return foreign, lieID
	case answer[2]&response == 0 || answer[2]&opcode != 0:
		return foreign, lieGarbage
	}
	if isBare(answer) {
		// A forged "I don't know EDNS" does no harm, for all that it brings
		// about is another query.
		if code := int(answer[3] & rcodeMask); q.edns && (code == dns.RcodeFormatError || code == dns.RcodeNotImplemented) {
			return matching, ""
		}
		return unproven, lieQuestion
	}
	questions := binary.BigEndian.Uint16(answer[4:])
	if questions != 1 || len(answer) < q.end {
		return foreign, lieQuestion
	}
	asked, given := q.wire[headerLen:q.end], answer[headerLen:q.end]
	if bytes.Equal(asked, given) {
		return matching, ""
	}
	if sameButForCase(asked, given) {
		return unproven, lieCase
	}
	return foreign, lieQuestion
}

const rcodeMask = 0x0f // of the fourth byte

// isBare tells of an error without its question: some servers leave it out,
// and some of them count it nevertheless.
func isBare(answer []byte) bool {
	code := int(answer[3] & rcodeMask)
	return code != dns.RcodeSuccess && code != dns.RcodeNameError &&
		(len(answer) == headerLen || binary.BigEndian.Uint16(answer[4:]) == 0)
}

// sameButForCase compares two questions. Type and class are no letters.
func sameButForCase(a, b []byte) bool {
	name := len(a) - 4
	for i := range name {
		if wire.Lower(a[i]) != wire.Lower(b[i]) {
			return false
		}
	}
	return bytes.Equal(a[name:], b[name:])
}

// isTruncated tells of an answer that was matched: TC, RFC 1035 §4.1.1.
func isTruncated(answer []byte) bool { return answer[2]&0x02 != 0 }

var errGarbled = errors.New("the answer cannot be read")

// read parses an answer that was matched. It changes it: the name goes back to
// lower case before anything is parsed, so that names which the server wrote as
// a pointer to it do too.
func (q *query) read(answer []byte) (*dns.Msg, error) {
	if len(answer) >= q.end && binary.BigEndian.Uint16(answer[4:]) == 1 {
		for i, c := range answer[headerLen : q.end-4] {
			answer[headerLen+i] = wire.Lower(c)
		}
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	// The parser takes a message that stops between two records for a whole one.
	if len(answer) == headerLen && isBare(answer) {
		return msg, nil
	}
	if len(msg.Answer) != int(binary.BigEndian.Uint16(answer[6:])) ||
		len(msg.Ns) != int(binary.BigEndian.Uint16(answer[8:])) ||
		len(msg.Extra) != int(binary.BigEndian.Uint16(answer[10:])) {
		return nil, fmt.Errorf("%w: it ends before its last record", errGarbled)
	}
	return msg, nil
}

// refusal is a message of a server that lives and cannot help. Another may.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

// judge tells answers from refusals. No such name and no such records are
// answers; so they may be when the SOA is missing (RFC 2308 §2.2), if the
// server is one that would know.
func judge(msg *dns.Msg) error {
	switch {
	case msg.Truncated:
		return &refusal{"it cuts its answer short"}
	case msg.Rcode == dns.RcodeNameError:
		return nil
	case msg.Rcode != dns.RcodeSuccess:
		return &refusal{rcodeText(msg)}
	case len(msg.Answer) > 0 || holds(msg.Ns, dns.TypeSOA):
		return nil
	case holds(msg.Ns, dns.TypeNS):
		return &refusal{"it refers to other servers and does not ask them"}
	case !msg.RecursionAvailable && !msg.Authoritative:
		return &refusal{"it neither knows the name nor asks others"}
	}
	return nil
}

func holds(rrs []dns.RR, rrtype uint16) bool {
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype {
			return true
		}
	}
	return false
}

// rcodeText names the code, and the reason that an extended error gives by
// number (RFC 8914); its text is the server's, and not repeated.
func rcodeText(msg *dns.Msg) string {
	text := cmp.Or(dns.RcodeToString[msg.Rcode], fmt.Sprintf("response code %d", msg.Rcode))
	if opt := msg.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if reason, ok := option.(*dns.EDNS0_EDE); ok && dns.ExtendedErrorCodeToString[reason.InfoCode] != "" {
				return text + " (" + dns.ExtendedErrorCodeToString[reason.InfoCode] + ")"
			}
		}
	}
	return text
}

// knowsNoEDNS tells of the answers of servers older than RFC 6891 (§7).
func knowsNoEDNS(msg *dns.Msg) bool {
	return msg.Rcode == dns.RcodeFormatError || msg.Rcode == dns.RcodeNotImplemented || msg.Rcode == dns.RcodeBadVers
}
