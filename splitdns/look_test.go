package splitdns

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, "10.0.0.53",
			"_autodiscover._tcp.example.com. 60 IN SRV 0 0 443 Mail.example.com.",
			"_autodiscover._tcp.example.com. 70 IN SRV 0 0 443 mail.EXAMPLE.com.",
			"_autodiscover._tcp.example.com. 60 IN SRV 10 5 8443 backup.example.net.",
			"www.example.com. 50 IN CNAME Web.example.com.", "web.example.com. 60 IN A 10.0.0.80", "WEB.example.com. 60 IN A 10.0.0.80", "web.example.com. 60 IN AAAA ::ffff:10.0.0.80",
			`web.example.com. 60 IN TXT "v=spf1 -all" "two"`, "web.example.com. 60 IN TYPE65280 \\# 2 abcd",
			"example.com. 60 IN SOA a. b. 1 1 1 1 30")
		r := newResolver(t, Config{Zones: []Zone{{Suffix: "example.com", Servers: server}}, Now: newClock().Now})
		for _, c := range []struct {
			name  string
			qtype uint16
			rcode int
			want  []string
		}{
			{"_autodiscover._tcp.example.com", dns.TypeSRV, 0, []string{
				"_autodiscover._tcp.example.com.\t60\tIN\tSRV\t0 0 443 Mail.example.com.",
				"_autodiscover._tcp.example.com.\t60\tIN\tSRV\t10 5 8443 backup.example.net."}},
			{"www.example.com", dns.TypeA, 0, []string{"www.example.com.\t50\tIN\tA\t10.0.0.80"}},
			{"www.example.com", dns.TypeAAAA, 0, []string{"www.example.com.\t50\tIN\tAAAA\t::ffff:10.0.0.80"}},
			{"www.example.com", dns.TypeTXT, 0, []string{"www.example.com.\t50\tIN\tTXT\t\"v=spf1 -all\" \"two\""}},
			{"www.example.com", dns.TypeCNAME, 0, []string{"www.example.com.\t50\tIN\tCNAME\tWeb.example.com."}},
			{"www.example.com", 65280, 0, []string{"www.example.com.\t50\tCLASS1\tTYPE65280\t\\# 2 abcd"}},
			{"www.example.com", dns.TypeSRV, 0, nil},
			{"gone.example.com", dns.TypeSRV, dns.RcodeNameError, nil},
		} {
			for i := range 2 { // the second time shows that an answer belongs to its caller
				records, err := r.Look(t.Context(), c.name, c.qtype)
				var got []string
				for _, rr := range records.RRs {
					got = append(got, rr.String())
					*rr.Header() = dns.RR_Header{}
					if txt, is := rr.(*dns.TXT); is {
						txt.Txt[0] = "changed"
					}
				}
				if err != nil || !slices.Equal(got, c.want) || records.Rcode != c.rcode || records.Cached != (i == 1) ||
					records.Source != "zone example.com" || records.Server != "10.0.0.53" {
					t.Errorf("%s %s: %q, %+v, %v", c.name, dns.Type(c.qtype), got, records, err)
				}
			}
		}
		// Addresses that are IPv4 in another form are told once.
		if answer := mustResolve(t, r, "web.example.com"); !slices.Equal(answer.Addrs, addrs("10.0.0.80")) {
			t.Errorf("%v", answer.Addrs)
		}
	})
}

func TestTypesThatAreNotAsked(t *testing.T) {
	r := newResolver(t, Config{})
	for _, qtype := range []uint16{0, dns.TypeOPT, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeTSIG, dns.TypeTKEY, dns.TypeMAILB, 128, 65535} {
		if _, err := r.Look(t.Context(), "a.example", qtype); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", dns.Type(qtype), err)
		}
	}
}

// TestLargeAnswers has messages near the 64 KiB that a message can have.
func TestLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, "9.9.9.9")
		server.twist = func(q upstream.Question, m *dns.Msg) {
			h := dns.RR_Header{Name: dns.Fqdn(q.Name), Rrtype: q.Type, Class: dns.ClassINET, Ttl: 60}
			m.Rcode = dns.RcodeSuccess
			switch q.Type {
			case dns.TypeA:
				for i := range 4000 {
					m.Answer = append(m.Answer, &dns.A{Hdr: h, A: []byte{8, 8, byte(i >> 8), byte(i)}})
				}
			case dns.TypeTXT: // one record
				var long []string
				for range 250 {
					long = append(long, strings.Repeat("x", 255))
				}
				m.Answer = append(m.Answer, &dns.TXT{Hdr: h, Txt: long})
			case dns.TypeSPF: // ten of 6 KiB
				var long []string
				for range 24 {
					long = append(long, strings.Repeat("x", 255))
				}
				for i := range 10 {
					m.Answer = append(m.Answer, &dns.SPF{Hdr: h, Txt: append([]string{fmt.Sprint(i)}, long...)})
				}
			case dns.TypeAAAA: // far down there is something
				for i := range 2000 {
					h.Name = fmt.Sprintf("n%d.example.", i)
					m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: make([]byte, 16)})
				}
				h.Name = dns.Fqdn(q.Name)
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: append(make([]byte, 15), 9)})
			}
		}
		r := newResolver(t, Config{Public: server})
		if answer := mustResolve(t, r, "a.example"); len(answer.Addrs) != 32 || answer.Addrs[0] != addrs("8.8.0.0")[0] || answer.Addrs[31] != addrs("::9")[0] {
			t.Errorf("%v", answer.Addrs)
		}
		for qtype, want := range map[uint16]int{dns.TypeA: maxRecords, dns.TypeSPF: 2, dns.TypeAAAA: 1} {
			records, err := r.Look(t.Context(), "a.example", qtype)
			if err != nil || len(records.RRs) != want {
				t.Errorf("%s: %d records, %v", dns.Type(qtype), len(records.RRs), err)
			}
		}
		if _, err := r.Look(t.Context(), "a.example", dns.TypeTXT); !errors.Is(err, ErrFailed) {
			t.Errorf("a record that is too large: %v", err)
		}
	})
}
