package splitdns

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// FuzzRead hands messages of any kind to the part that decides what of them is
// believed, and checks the rules on what comes out.
func FuzzRead(f *testing.F) {
	for _, lines := range [][]string{
		{"a.corp. 60 IN A 192.0.2.1"},
		{"a.corp. 60 IN CNAME b.corp.", "b.corp. 0 IN A 10.0.0.1", "b.corp. 2147483648 IN A 10.0.0.2"},
		{"a.corp. 60 IN CNAME b.example.", "b.example. 60 IN A 10.0.0.1"},
		{"a.corp. 60 IN CNAME a.corp."},
		{"corp. 60 IN DNAME example."},
		{"a.corp. 60 IN CNAME pin.corp.", "pin.corp. 60 IN A 6.6.6.6"},
		{"example. 60 IN A 192.0.2.1"},
	} {
		records, _ := parseRecords(f, lines...)
		_, soa := parseRecords(f, "corp. 60 IN SOA a. b. 1 1 1 1 60")
		for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			wire, err := (&dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: rcode}, Answer: records, Ns: []dns.RR{soa}}).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire)
		}
	}
	r, err := New(Config{Public: unasked{f}, Zones: []Zone{{Suffix: "corp", Servers: unasked{f}}}, Hosts: mustHosts("pin.corp", "10.0.0.9")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(r.Close)
	corp := r.zones.of("corp")
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeSRV, dns.TypeCNAME} {
			seg, err := r.read(corp, key{"a.corp", qtype}, &upstream.Reply{Msg: m})
			if err != nil {
				continue
			}
			end := "a.corp"
			for i, link := range seg.links {
				end = link
				if !isNormalised(link) || i < len(seg.links)-1 && (r.zones.of(link) != corp || link == "pin.corp") {
					t.Fatalf("%s: links %q", dns.Type(qtype), seg.links)
				}
			}
			if len(seg.links) > maxLinks+1 || len(seg.addrs)+len(seg.rrs) > maxRecords || seg.expires.After(time.Now().Add(r.maxTTL)) {
				t.Fatalf("%s: %d links, %d addresses, %d records, until %v", dns.Type(qtype), len(seg.links), len(seg.addrs), len(seg.rrs), seg.expires)
			}
			if (seg.open || r.zones.of(end) != corp || end == "pin.corp") && len(seg.addrs)+len(seg.rrs) > 0 {
				t.Fatalf("%s: believed about %s", dns.Type(qtype), end)
			}
			for _, addr := range seg.addrs {
				if !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
					a, isA := rr.(*dns.A)
					aaaa, isAAAA := rr.(*dns.AAAA)
					return canonical(rr.Header().Name) == end &&
						(isA && a.A.Equal(addr.AsSlice()) || isAAAA && aaaa.AAAA.Equal(addr.AsSlice()))
				}) {
					t.Fatalf("%s: %s is no address of %s", dns.Type(qtype), addr, end)
				}
			}
		}
	})
}

// FuzzNames compares the check of names with the library's reading of them.
func FuzzNames(f *testing.F) {
	for _, name := range append([]string{"a.example", "_sip._tcp.example.com", "xn--bcher-kva.example", "1.example", "a-"}, strangeNames...) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !isNormalised(name) {
			return
		}
		if canonical(name) != name || canonical(name+".") != name {
			t.Fatalf("%q becomes %q", name, canonical(name))
		}
		wire := make([]byte, 255)
		end, err := dns.PackDomainName(name+".", wire, 0, nil, false)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		back, _, err := dns.UnpackDomainName(wire[:end], 0)
		if err != nil || back != name+"." {
			t.Fatalf("%q came back as %q, %v", name, back, err)
		}
	})
}
