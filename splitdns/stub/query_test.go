package stub

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

func TestAddresses(t *testing.T) {
	all := []netip.Addr{
		netip.MustParseAddr("192.0.2.1"),
		netip.MustParseAddr("2001:db8::1"),
		netip.MustParseAddr("::ffff:192.0.2.2"),
		netip.MustParseAddr("fe80::1%eth0"),
		{},
	}
	for _, test := range []struct {
		qtype uint16
		want  []string
	}{
		{dns.TypeA, []string{"192.0.2.1", "192.0.2.2"}},
		{dns.TypeAAAA, []string{"2001:db8::1"}},
		{dns.TypeTXT, nil},
	} {
		m := unpack(t, parse(t, ask("mail.example.com", test.qtype)).Addresses(all, 90*time.Second+time.Millisecond))
		var got []string
		for _, record := range m.Answer {
			switch record := record.(type) {
			case *dns.A:
				got = append(got, record.A.String())
			case *dns.AAAA:
				got = append(got, record.AAAA.String())
			}
			if record.Header().Ttl != 90 {
				t.Errorf("TTL %d", record.Header().Ttl)
			}
		}
		if m.Rcode != Success || !slices.Equal(got, test.want) {
			t.Errorf("type %d: %v, want %v", test.qtype, got, test.want)
		}
	}
	q := parse(t, ask("mail.example.com", dns.TypeA))
	for ttl, want := range map[time.Duration]uint32{-time.Hour: 0, 1 << 62: 1<<31 - 1} {
		if got := unpack(t, q.Addresses(all, ttl)).Answer[0].Header().Ttl; got != want {
			t.Errorf("TTL %v becomes %d, want %d", ttl, got, want)
		}
	}
}

// An asker that sends mIxeD case (against spoofing) finds its own spelling in
// the question and in the records of that name, and in no other.
func TestSpelling(t *testing.T) {
	q := parse(t, ask("mAiL.eXample.COM", dns.TypeSRV))
	records := []dns.RR{
		&dns.SRV{Hdr: dns.RR_Header{Name: "mail.example.com.", Rrtype: dns.TypeSRV, Class: dns.ClassINET}, Target: "a.example.com."},
		&dns.SRV{Hdr: dns.RR_Header{Name: "other.example.com.", Rrtype: dns.TypeSRV, Class: dns.ClassINET}, Target: "b.example.com."},
	}
	m := unpack(t, q.Reply(records, Success))
	if q.Name != "mail.example.com" || m.Question[0].Name != "mAiL.eXample.COM." {
		t.Errorf("name %q, question %q", q.Name, m.Question[0].Name)
	}
	if m.Answer[0].Header().Name != "mAiL.eXample.COM." || !strings.HasPrefix(m.Answer[1].Header().Name, "other.") {
		t.Errorf("records %v", m.Answer)
	}
	if records[0].Header().Name != "mail.example.com." {
		t.Error("the handler's record was changed")
	}
}

func TestHeaderAndNotes(t *testing.T) {
	note := Note{Code: dns.ExtendedErrorCodeProhibited, Text: strings.Repeat("n", 300)}

	plain := ask("mail.example.com", dns.TypeA)
	plain.RecursionDesired, plain.CheckingDisabled, plain.AuthenticatedData = true, true, true
	m := unpack(t, parse(t, plain).Fail(Refused, note))
	want := dns.MsgHdr{Id: plain.Id, Response: true, RecursionDesired: true, RecursionAvailable: true, CheckingDisabled: true, Rcode: Refused}
	if m.MsgHdr != want {
		t.Errorf("header %+v, want %+v", m.MsgHdr, want)
	}
	if len(m.Extra) != 0 {
		t.Errorf("OPT for an asker without: %v", m.Extra)
	}

	m = unpack(t, parse(t, ask("mail.example.com", dns.TypeA).SetEdns0(4096, true)).Fail(dns.RcodeBadCookie, note))
	opt := m.IsEdns0()
	if opt == nil || opt.UDPSize() != wire.PacketSize || !opt.Do() || opt.Version() != 0 || m.Rcode != dns.RcodeBadCookie {
		t.Fatalf("OPT %v, rcode %d", opt, m.Rcode)
	}
	ede, ok := opt.Option[0].(*dns.EDNS0_EDE)
	if !ok || len(opt.Option) != 1 || ede.InfoCode != 18 || len(ede.ExtraText) != 255 {
		t.Errorf("options %v", opt.Option)
	}
}

// A handler's mistake becomes a failure, never a broken message.
func TestReplyThatCannotBeSent(t *testing.T) {
	q := parse(t, ask("mail.example.com", dns.TypeTXT))
	txt := func(owner string) dns.RR {
		return &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 255)}}
	}
	for name, answer := range map[string][]byte{
		"over 64 KiB":            q.Reply(slices.Repeat([]dns.RR{txt("mail.example.com.")}, 300), Success),
		"a record with no owner": q.Reply([]dns.RR{txt("a..b.")}, Success),
		"a wide code, no OPT":    q.Fail(dns.RcodeBadVers),
		"no code":                q.Fail(-1),
	} {
		if m := unpack(t, answer); m.Rcode != ServerFailure || len(m.Answer) != 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := unpack(t, q.Reply(slices.Repeat([]dns.RR{txt("mail.example.com.")}, 200), Success)); len(m.Answer) != 200 {
		t.Errorf("54 KB do not fit: %v", m.MsgHdr)
	}
}

func TestWireIsTheQuery(t *testing.T) {
	wire := pack(t, ask("mail.example.com", dns.TypeA))
	q, err := Parse(wire)
	if err != nil || !bytes.Equal(q.Wire(), wire) {
		t.Errorf("%x, %v", q.Wire(), err)
	}
}
