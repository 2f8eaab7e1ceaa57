package connect

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// A stranger reads the question as it is meant.
func TestQuestion(t *testing.T) {
	for _, family := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		wire, err := question("mail.example.com", family)
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		want := dns.Question{Name: "mail.example.com.", Qtype: uint16(family), Qclass: dns.ClassINET}
		if len(m.Question) != 1 || m.Question[0] != want || !m.RecursionDesired || m.IsEdns0() == nil {
			t.Errorf("%v", &m)
		}
	}
	if _, err := question(strings.Repeat("a.", 127)+"a", dnsmessage.TypeA); err == nil {
		t.Error("a name that is too long was taken")
	}
}

// FuzzFound holds what is read of an answer against miekg's reading: its first
// addresses in their order, and whether it says that the name is not listed.
func FuzzFound(f *testing.F) {
	good := new(dns.Msg).SetQuestion("mail.example.com.", dns.TypeA)
	for _, addr := range []string{"10.1.0.25", "2001:db8::1", "::ffff:10.1.0.26"} {
		header := dns.RR_Header{Name: "mail.example.com.", Rrtype: dns.TypeA, Class: dns.ClassINET}
		if ip := net.ParseIP(addr); strings.Contains(addr, ":") {
			header.Rrtype = dns.TypeAAAA
			good.Answer = append(good.Answer, &dns.AAAA{Hdr: header, AAAA: ip})
		} else {
			good.Answer = append(good.Answer, &dns.A{Hdr: header, A: ip})
		}
	}
	refused := new(dns.Msg).SetRcode(good, dns.RcodeRefused).SetEdns0(1232, false)
	refused.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited, ExtraText: "no"}}
	for _, m := range []*dns.Msg{good, refused} {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(wire[:len(wire)-1])
		if isProhibited(wire) != (m == refused) {
			f.Fatal("the seeds are misread")
		}
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := addressesOf(answer)
		if len(got) > maxFound {
			t.Fatalf("%d addresses", len(got))
		}
		prohibited := isProhibited(answer)
		var m dns.Msg
		if m.Unpack(answer) != nil || err != nil {
			return // where one of us stops reading is his own affair
		}
		var want []netip.Addr
		for _, rr := range m.Answer {
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			}
			if addr, ok := netip.AddrFromSlice(ip); ok && len(want) < maxFound {
				want = append(want, addr.Unmap())
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if prohibited && m.IsEdns0() == nil {
			t.Fatal("a reason without the record that has it")
		}
	})
}
