package upstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// A query is what an independent parser makes of it, in every form.
func TestQueryOnTheWire(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61)
	for _, name := range []string{"mail.corp.example", "a", "_sip._tcp.corp.example", long} {
		for _, f := range []form{{}, {mixed: true, edns: true}, {edns: true, padded: true}, {mixed: true}} {
			q := newQuery(Question{Name: name, Type: dns.TypeSRV}, f)
			msg := new(dns.Msg)
			if err := msg.Unpack(q.wire); err != nil {
				t.Fatalf("%s, %+v: %v", name, f, err)
			}
			asked := msg.Question[0]
			if len(msg.Question) != 1 || !msg.RecursionDesired || msg.Response ||
				!strings.EqualFold(asked.Name, name+".") || asked.Qtype != dns.TypeSRV || asked.Qclass != dns.ClassINET {
				t.Errorf("%s, %+v: %v", name, f, msg)
			}
			if !f.mixed && (asked.Name != name+"." || msg.Id != 0) {
				t.Errorf("%s, %+v: %s with id %d", name, f, asked.Name, msg.Id)
			}
			if opt := msg.IsEdns0(); (opt != nil) != f.edns || opt != nil && opt.UDPSize() != ednsSize {
				t.Errorf("%s, %+v: EDNS is %v", name, f, opt)
			}
			if f.padded && len(q.wire)%padTo != 0 {
				t.Errorf("%s, %+v: %d bytes", name, f, len(q.wire))
			}
		}
	}
}

// Forty letters and an id are some 56 bits; that two queries are alike would be
// a broken generator.
func TestQueriesDiffer(t *testing.T) {
	q := Question{Name: strings.Repeat("abcdefghij.", 3) + "abcdefghij", Type: dns.TypeA}
	seen := make(map[string]bool)
	for range 100 {
		wire := string(newQuery(q, form{mixed: true}).wire)
		if seen[wire] {
			t.Fatalf("twice: %q", wire)
		}
		seen[wire] = true
	}
}

func TestQuestionsThatAreNotPut(t *testing.T) {
	for _, q := range []Question{
		{"", dns.TypeA}, {".", dns.TypeA}, {"a.", dns.TypeA}, {"a..b", dns.TypeA}, {"Mail.example", dns.TypeA}, {"a b", dns.TypeA},
		{"a\\.b", dns.TypeA}, {"a\x00b", dns.TypeA}, {"ä", dns.TypeA}, {strings.Repeat("a", 64), dns.TypeA},
		{strings.Repeat("a.", 127), dns.TypeA}, {"a", 0}, {"a", dns.TypeOPT}, {"a", dns.TypeAXFR}, {"a", dns.TypeANY},
	} {
		if q.check() == nil {
			t.Errorf("%q, type %d would be put", q.Name, q.Type)
		}
	}
}

func TestMatch(t *testing.T) {
	q := &query{}
	for q.wire == nil || bytes.Equal(q.wire[headerLen:q.end], bytes.ToLower(q.wire[headerLen:q.end])) {
		q = newQuery(mailA, form{mixed: true, edns: true}) // one letter at least is upper
	}
	good := answerTo(q.wire, nil)
	if v, lie := q.match(good); v != matching || lie != "" {
		t.Fatalf("the answer is %v, %s", v, lie)
	}
	with := func(change func(m []byte)) []byte {
		m := slices.Clone(good)
		change(m)
		return m
	}
	for name, c := range map[string]struct {
		message []byte
		want    verdict
		lie     Lie
	}{
		"nothing":         {nil, foreign, lieGarbage},
		"half a header":   {good[:11], foreign, lieGarbage},
		"the query":       {q.wire, foreign, lieGarbage},
		"opcode":          {with(func(m []byte) { m[2] |= 5 << 3 }), foreign, lieGarbage},
		"id":              {with(func(m []byte) { m[1] ^= 1 }), foreign, lieID},
		"type":            {with(func(m []byte) { m[q.end-3] ^= 0x20 }), foreign, lieQuestion},
		"class":           {with(func(m []byte) { m[q.end-1] = 3 }), foreign, lieQuestion},
		"name":            {with(func(m []byte) { m[headerLen+1] ^= 1 }), foreign, lieQuestion},
		"longer name":     {with(func(m []byte) { m[headerLen] = 5 }), foreign, lieQuestion},
		"two questions":   {with(func(m []byte) { m[5] = 2 }), foreign, lieQuestion},
		"cut in question": {good[:q.end-1], foreign, lieQuestion},
		"no question":     {with(func(m []byte) { m[5] = 0 }), foreign, lieQuestion},
		"lower case":      {with(func(m []byte) { copy(m[headerLen:], bytes.ToLower(m[headerLen:q.end])) }), unproven, lieCase},
		"bare refusal":    {unasked(with(func(m []byte) { m[3] |= dns.RcodeRefused })), unproven, lieQuestion},
		"bare no name":    {unasked(with(func(m []byte) { m[3] |= dns.RcodeNameError })), foreign, lieQuestion},
		"bare form error": {unasked(with(func(m []byte) { m[3] |= dns.RcodeFormatError })), matching, ""},
	} {
		if v, lie := q.match(c.message); v != c.want || lie != c.lie {
			t.Errorf("%s: %v, %q, want %v, %q", name, v, lie, c.want, c.lie)
		}
	}
}

// What the parser takes for whole although it is not must be found out.
func TestReadFindsCuts(t *testing.T) {
	q := newQuery(mailA, form{mixed: true})
	good := answerTo(q.wire, nil)
	for end := headerLen; end < len(good); end++ {
		if msg, err := q.read(slices.Clone(good[:end])); !errors.Is(err, errGarbled) {
			t.Errorf("%d of %d bytes: %v, %v", end, len(good), msg, err)
		}
	}
	if msg, err := q.read(slices.Clone(good)); err != nil || msg.Answer[0].Header().Name != mailA.Name+"." {
		t.Errorf("the whole: %v, %v", msg, err)
	}
}

func TestJudge(t *testing.T) {
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "corp.example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: "."}
	ns := &dns.NS{Hdr: dns.RR_Header{Name: "corp.example.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a."}
	a := &dns.A{Hdr: dns.RR_Header{Name: "corp.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4zero}
	type m = dns.Msg
	header := func(rcode int, ra, aa bool) dns.MsgHdr {
		return dns.MsgHdr{Response: true, Rcode: rcode, RecursionAvailable: ra, Authoritative: aa}
	}
	for name, c := range map[string]struct {
		msg  *dns.Msg
		good bool
	}{
		"answer":               {&m{MsgHdr: header(0, false, false), Answer: []dns.RR{a}}, true},
		"no such name":         {&m{MsgHdr: header(dns.RcodeNameError, true, false)}, true},
		"no data":              {&m{MsgHdr: header(0, true, false), Ns: []dns.RR{soa}}, true},
		"no data, NS too":      {&m{MsgHdr: header(0, true, false), Ns: []dns.RR{ns, soa}}, true},
		"no data without SOA":  {&m{MsgHdr: header(0, true, false)}, true},
		"authority without RA": {&m{MsgHdr: header(0, false, true)}, true},
		"referral":             {&m{MsgHdr: header(0, true, false), Ns: []dns.RR{ns}}, false},
		"lame":                 {&m{MsgHdr: header(0, false, false)}, false},
		"cut":                  {&m{MsgHdr: dns.MsgHdr{Truncated: true}, Answer: []dns.RR{a}}, false},
		"refused":              {&m{MsgHdr: header(dns.RcodeRefused, true, false)}, false},
		"unknown code":         {&m{MsgHdr: header(3841, true, false)}, false},
	} {
		err := judge(c.msg)
		var refused *refusal
		if (err == nil) != c.good || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMatch holds that whatever is matched answers the question that was asked,
// as an independent parser sees it.
func FuzzMatch(f *testing.F) {
	q := newQuery(mailA, form{edns: true})
	good := answerTo(q.wire, nil)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(answerTo(q.wire, func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }))
	f.Add(unasked(answerTo(q.wire, func(m *dns.Msg) { m.Rcode = dns.RcodeFormatError })))
	f.Add(bytes.ToUpper(good))
	f.Add([]byte{0, 0, 0x80, 0, 0, 1})
	f.Fuzz(func(t *testing.T, message []byte) {
		verdict, lie := q.match(message)
		if (verdict == matching) != (lie == "") {
			t.Fatalf("%v with the lie %q", verdict, lie)
		}
		if verdict == foreign {
			return
		}
		questions := binary.BigEndian.Uint16(message[4:])
		msg, err := q.read(slices.Clone(message))
		if err != nil {
			return
		}
		if msg.Id != 0 || !msg.Response {
			t.Fatalf("%v: %v", verdict, msg)
		}
		if questions == 0 || len(msg.Question) == 0 {
			if judge(msg) == nil {
				t.Fatalf("an answer to nothing: %v", msg)
			}
			return
		}
		if asked := msg.Question[0]; asked.Name != mailA.Name+"." || asked.Qtype != mailA.Type || asked.Qclass != dns.ClassINET {
			t.Fatalf("%v of another question: %v", verdict, asked)
		}
	})
}
