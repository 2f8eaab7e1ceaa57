package stub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// question writes a query by hand: a header, and labels that may be anything.
func question(qtype, class uint16, labels ...string) []byte {
	wire := []byte{0xab, 0xcd, flagRD, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, label := range labels {
		wire = append(append(wire, byte(len(label))), label...)
	}
	wire = append(wire, 0)
	wire = binary.BigEndian.AppendUint16(wire, qtype)
	return binary.BigEndian.AppendUint16(wire, class)
}

// with changes one byte of a copy.
func with(wire []byte, at int, value byte) []byte {
	changed := bytes.Clone(wire)
	changed[at] = value
	return changed
}

// announce appends a record, and counts it among the additional ones.
func announce(wire []byte, record ...byte) []byte {
	return append(with(wire, 11, wire[11]+1), record...)
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		labels []string
		want   string
	}{
		{[]string{"Mail", "EXAMPLE", "com"}, "mail.example.com"},
		{[]string{"_autodiscover", "_tcp", "example", "com"}, "_autodiscover._tcp.example.com"},
		{[]string{"mail"}, "mail"},
		{[]string{"xn--mller-kva", "example"}, "xn--mller-kva.example"},
		{[]string{"4", "3", "2", "1", "in-addr", "arpa"}, "4.3.2.1.in-addr.arpa"},
		{[]string{long, long, long, long[:61]}, strings.Join([]string{long, long, long, long[:61]}, ".")},
		{nil, ""},
		{[]string{"mail.example", "com"}, ""},
		{[]string{"mail", "example", "com\x00"}, ""},
		{[]string{"mail ", "example"}, ""},
		{[]string{"müller", "example"}, ""},
		{[]string{"-mail", "example"}, ""},
		{[]string{"mail-", "example"}, ""},
		{[]string{"*", "example", "com"}, ""},
		{[]string{";40;STA01;ABC"}, ""},
		{[]string{"10", "0", "0", "25"}, ""},
		{[]string{"0x7f000001"}, ""},
		{[]string{"mail", "0x"}, ""},
		{[]string{"example", "0xCOM"}, "example.0xcom"},
	} {
		wire := question(dns.TypeA, dns.ClassINET, test.labels...)
		q, err := Parse(wire)
		if err != nil {
			t.Errorf("%q: %v", test.labels, err)
			continue
		}
		if q.Name != test.want || q.Type != dns.TypeA {
			t.Errorf("%q: name %q type %d, want %q", test.labels, q.Name, q.Type, test.want)
		}
		// Whatever the name, the answer repeats it byte by byte.
		answer := q.Fail(Refused)
		if !bytes.Equal(answer[headerSize:], wire[headerSize:]) {
			t.Errorf("%q: the answer's question is %x, asked was %x", test.labels, answer[headerSize:], wire[headerSize:])
		}
	}
}

func TestRejections(t *testing.T) {
	good := question(dns.TypeA, dns.ClassINET, "mail", "example", "com")
	opt := []byte{0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0}
	long := strings.Repeat("a", 63)
	silent := -1
	for _, test := range []struct {
		name string
		wire []byte
		want int
	}{
		{"empty", nil, silent},
		{"eleven bytes", good[:11], silent},
		{"an answer", with(good, 2, flagQR), silent},
		{"a status request", with(good, 2, 2<<3), dns.RcodeNotImplemented},
		{"a notification", with(good, 2, dns.OpcodeNotify<<3), dns.RcodeNotImplemented},
		{"an update", with(good, 2, dns.OpcodeUpdate<<3), dns.RcodeNotImplemented},
		{"no question", with(good, 5, 0), dns.RcodeFormatError},
		{"two questions", with(append(bytes.Clone(good), good[headerSize:]...), 5, 2), dns.RcodeFormatError},
		{"257 questions", with(good, 4, 1), dns.RcodeFormatError},
		{"an answer section", with(good, 7, 1), dns.RcodeFormatError},
		{"an authority section", with(good, 9, 1), dns.RcodeFormatError},
		{"two additional records", announce(announce(good, opt...), opt...), dns.RcodeFormatError},
		{"an additional record that is not there", with(good, 11, 1), dns.RcodeFormatError},
		{"no type", good[:len(good)-4], dns.RcodeFormatError},
		{"half a class", good[:len(good)-1], dns.RcodeFormatError},
		{"a header only", with(good, 5, 1)[:headerSize], dns.RcodeFormatError},
		{"bytes behind the question", append(bytes.Clone(good), 0), dns.RcodeFormatError},
		{"bytes behind OPT", append(announce(good, opt...), 0), dns.RcodeFormatError},
		{"a compressed name", append(bytes.Clone(good[:headerSize]), 0xc0, 0x0c, 0, 1, 0, 1), dns.RcodeFormatError},
		{"a compressed end of the name", append(bytes.Clone(good[:headerSize]), 1, 'a', 0xc0, 0x0c, 0, 1, 0, 1), dns.RcodeFormatError},
		{"an extended label", question(dns.TypeA, dns.ClassINET, strings.Repeat("a", 65)), dns.RcodeFormatError},
		{"a name of 256 bytes", question(dns.TypeA, dns.ClassINET, long, long, long, long[:62]), dns.RcodeFormatError},
		{"a name without an end", append(bytes.Clone(good[:headerSize]), 63, 'a'), dns.RcodeFormatError},
		{"another record than OPT", announce(good, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0), dns.RcodeFormatError},
		{"OPT with a name", announce(good, 1, 'a', 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0), dns.RcodeFormatError},
		{"half an OPT", announce(good, opt[:8]...), dns.RcodeFormatError},
		{"an OPT longer than the message", announce(good, 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 9), dns.RcodeFormatError},
		{"half an option", announce(good, 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 3, 0, 10, 0), dns.RcodeFormatError},
		{"an option longer than OPT", announce(good, 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 4, 0, 10, 0, 1), dns.RcodeFormatError},
		{"EDNS version 1", announce(good, 0, 0, 41, 0x10, 0, 0, 1, 0x80, 0, 0, 0), dns.RcodeBadVers},
		{"too long", append(bytes.Clone(good), make([]byte, maxQuery)...), dns.RcodeFormatError},
		{"class CHAOS", question(dns.TypeTXT, dns.ClassCHAOS, "version", "bind"), Refused},
		{"class ANY", question(dns.TypeA, dns.ClassANY, "mail"), Refused},
		{"AXFR", question(dns.TypeAXFR, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"IXFR", question(dns.TypeIXFR, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"MAILB", question(dns.TypeMAILB, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"TSIG", question(dns.TypeTSIG, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"type OPT", question(dns.TypeOPT, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"type 0", question(0, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{"ANY", question(dns.TypeANY, dns.ClassINET, "mail", "example", "com"), Success},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, err := Parse(test.wire)
			var rejected *rejection
			if q != nil || !errors.As(err, &rejected) {
				t.Fatalf("Parse: %v, %v", q, err)
			}
			if test.want == silent {
				if rejected.answer != nil {
					t.Errorf("answered with %x", rejected.answer)
				}
				return
			}
			answer := unpack(t, rejected.answer)
			if rejected.rcode != test.want || answer.Rcode != test.want {
				t.Errorf("rcode %d, in the answer %d, want %d", rejected.rcode, answer.Rcode, test.want)
			}
			if answer.Id != 0xabcd || !answer.Response || !answer.RecursionAvailable || answer.Authoritative {
				t.Errorf("header %+v", answer.MsgHdr)
			}
			if answer.Opcode != int(test.wire[2]>>3)&15 {
				t.Errorf("opcode %d", answer.Opcode)
			}
		})
	}
}

// RFC 6891 §6.1.3: an asker of another version learns ours.
func TestBadVersionTellsOurs(t *testing.T) {
	_, err := Parse(announce(question(dns.TypeA, dns.ClassINET, "mail"), 0, 0, 41, 0x10, 0, 0, 7, 0x80, 0, 0, 0))
	var rejected *rejection
	if !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	opt := unpack(t, rejected.answer).IsEdns0()
	if opt == nil || opt.Version() != 0 || opt.UDPSize() != wire.PacketSize || !opt.Do() {
		t.Errorf("OPT %v", opt)
	}
}

// RFC 8482 §4.2.
func TestAnyGetsOneRecord(t *testing.T) {
	m := ask("Mail.Example.com", dns.TypeANY).SetEdns0(4096, false)
	_, err := Parse(pack(t, m))
	var rejected *rejection
	if !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	answer := unpack(t, rejected.answer)
	if len(answer.Answer) != 1 {
		t.Fatalf("%d records", len(answer.Answer))
	}
	info, ok := answer.Answer[0].(*dns.HINFO)
	if !ok || info.Cpu != "RFC8482" || info.Os != "" || info.Hdr.Name != "Mail.Example.com." {
		t.Errorf("record %v", answer.Answer[0])
	}
	if answer.IsEdns0() == nil {
		t.Error("OPT was not answered")
	}
}

func FuzzParse(f *testing.F) {
	good := question(dns.TypeA, dns.ClassINET, "mail", "example", "com")
	f.Add([]byte{})
	f.Add(good)
	f.Add(with(good, 2, flagQR))
	f.Add(announce(good, 0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 4, 0, 10, 0, 0))
	f.Add(announce(good, 0, 0, 41, 0x10, 0, 0, 1, 0x80, 0, 0, 0))
	f.Add(append(bytes.Clone(good[:headerSize]), 1, 'a', 0xc0, 0x0c, 0, 1, 0, 1))
	f.Add(question(dns.TypeANY, dns.ClassINET, "a\\.b", "\x00"))
	// A client subnet (RFC 7871) of no length, which miekg does not read.
	f.Add(announce(good, 0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 4, 0, 8, 0, 0))
	f.Fuzz(func(t *testing.T, wire []byte) {
		kept := bytes.Clone(wire)
		q, err := Parse(wire)
		if !bytes.Equal(kept, wire) {
			t.Fatal("Parse changed the message")
		}
		var rejected *rejection
		if err != nil {
			if q != nil || !errors.As(err, &rejected) {
				t.Fatalf("Parse: %v, %v", q, err)
			}
			if rejected.answer == nil {
				return
			}
			if m := unpack(t, rejected.answer); !m.Response || len(rejected.answer) > minUDPSize {
				t.Fatalf("rejected with %d bytes: %v", len(rejected.answer), m)
			}
			return
		}
		// What is accepted, miekg reads in the same way, but for the content of
		// options, which is nobody's matter here.
		m := unpack(t, with(wire[:headerSize+len(questionOf(wire))], 11, 0))
		if len(m.Question) != 1 || m.Question[0].Qtype != q.Type || m.Opcode != 0 {
			t.Fatalf("read as %q %d, but it is %v", q.Name, q.Type, m)
		}
		if q.Name != "" && strings.ToLower(m.Question[0].Name) != q.Name+"." {
			t.Fatalf("name %q, but it is %q", q.Name, m.Question[0].Name)
		}
		if strings.Trim(q.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(q.Name) > 253 {
			t.Fatalf("name %q", q.Name)
		}
		for _, answer := range [][]byte{q.Addresses(many(3), 1), q.Fail(Refused, Note{Code: 18, Text: "no"})} {
			a := unpack(t, answer)
			if a.Id != m.Id || len(a.Question) != 1 || a.Question[0] != m.Question[0] || (a.IsEdns0() != nil) != (wire[11] == 1) {
				t.Fatalf("%v\nis answered by\n%v", m, a)
			}
			if !IsAnswer(answer, wire) {
				t.Fatal("an answer that is not taken for one")
			}
		}
	})
}
