package splitdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/splitdns/stub"
)

// drawnView is any view at all, coherent or not: what is not in it is denied.
type drawnView struct {
	knows, holds map[string]bool
	reaches      map[string]bool // "name address"
	opens        map[string]bool // "name port"
}

func (v *drawnView) Knows(name string) bool   { return v.knows[name] }
func (v *drawnView) Holds(domain string) bool { return v.holds[domain] }
func (v *drawnView) Reaches(name string, addr netip.Addr) bool {
	return v.reaches[name+" "+addr.String()]
}
func (v *drawnView) MayAsk() bool { return true }
func (v *drawnView) Opens(name string, port uint16) bool {
	return v.opens[fmt.Sprintf("%s %d", name, port)]
}

var (
	drawnHosts    = []string{"a.test", "b.test", "mail.a.test", "x", "c.example"}
	drawnServices = []string{"_s._tcp.a.test", "_s._tcp.test", "_s._udp.b.test", "_s._tls.c.example", "_s._http.a.test"}
	drawnNames    = append(slices.Clone(drawnHosts), drawnServices...)
	drawnAddrs    = []string{"192.0.2.1", "10.0.0.1", "127.0.0.1", "2001:db8::1", "fd00::1", "::1", "::ffff:10.0.0.1"}
	drawnPorts    = []string{"443", "8443", "0"}
	drawnTypes    = []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeCNAME, dns.TypeHTTPS, dns.TypeMX,
		dns.TypeNS, dns.TypeSOA, dns.TypePTR, dns.TypeNAPTR, dns.TypeNSEC, dns.TypeDNAME,
	}
)

// drawZone draws the lines of a zone file, lies and nonsense among them.
func drawZone(t *rapid.T) []string {
	name := rapid.SampledFrom(drawnNames)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		owner, target := name.Draw(t, "owner"), name.Draw(t, "target")
		addr := rapid.SampledFrom(drawnAddrs).Draw(t, "address")
		port := rapid.SampledFrom(drawnPorts).Draw(t, "port")
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0, 1, 2:
			if strings.Contains(addr, ":") {
				return owner + ". 900 IN AAAA " + addr
			}
			return owner + ". 900 IN A " + addr
		case 3, 4:
			return owner + ". 900 IN SRV 0 0 " + port + " " + strings.ToUpper(target) + "."
		case 5:
			return owner + ". 900 IN CNAME " + target + "."
		case 6:
			return owner + ". 900 IN HTTPS 1 " + target + ". ipv4hint=10.0.0.1"
		}
		return owner + ". 900 IN MX 10 " + target + "."
	}), 0, 30).Draw(t, "zone")
}

func drawView(t *rapid.T) *drawnView {
	some := func(label string, all []string) map[string]bool {
		chosen := make(map[string]bool)
		for _, s := range all {
			if rapid.Bool().Draw(t, label+" "+s) {
				chosen[s] = true
			}
		}
		return chosen
	}
	pairs := func(as, bs []string) (all []string) {
		for _, a := range as {
			for _, b := range bs {
				all = append(all, a+" "+b)
			}
		}
		return all
	}
	return &drawnView{
		knows:   some("knows", drawnNames),
		holds:   some("holds", append([]string{"test", "example"}, drawnHosts...)),
		reaches: some("reaches", pairs(drawnNames, drawnAddrs)),
		opens:   some("opens", pairs(drawnNames, drawnPorts)),
	}
}

// Whatever the servers answer and whatever a device may know: no answer holds
// an address that it may not dial, a target that it may not open, or another
// name; and nobody is asked for what it may not know.
func TestServiceTellsNothingElse(t *testing.T) {
	told := 0 // that the checks below have something to check
	rapid.Check(t, func(rt *rapid.T) {
		public := newServer(t, "9.9.9.9", drawZone(rt)...)
		resolver, err := New(Config{Public: public, Cache: Cache{Entries: rapid.SampledFrom([]int{-1, 0}).Draw(rt, "entries")}})
		if err != nil {
			rt.Fatal(err)
		}
		defer resolver.Close()
		v := drawView(rt)
		a := &asker{service: &Service{Resolver: resolver}, view: v}
		for _, name := range drawnNames {
			qtype := rapid.SampledFrom(drawnTypes).Draw(rt, "type")
			public.asked()
			m := answerTo(rt, a, name, qtype)
			if asked := public.asked(); !v.Knows(name) && !isService(name, v) && (len(asked) > 0 || m.Rcode != dns.RcodeRefused) {
				rt.Fatalf("%s %s: asked %q, answered %v", name, dns.Type(qtype), asked, m)
			}
			checkRecords(rt, v, name, m)
			told += len(m.Answer)
			if want := dialable(public, v, name, qtype); want >= 0 && len(m.Answer) != want {
				rt.Fatalf("%s %s: %d addresses, want %d: %v", name, dns.Type(qtype), len(m.Answer), want, m)
			}
		}
	})
	if told == 0 {
		t.Error("nothing was ever told")
	}
}

func answerTo(t *rapid.T, a *asker, name string, qtype uint16) *dns.Msg {
	wire, err := new(dns.Msg).SetQuestion(name+".", qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, err := stub.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(a.Answer(t.Context(), q)); err != nil {
		t.Fatal(err)
	}
	return m
}

func checkRecords(t *rapid.T, v *drawnView, name string, m *dns.Msg) {
	if len(m.Ns)+len(m.Extra) > 0 {
		t.Fatalf("other sections: %v", m)
	}
	for _, record := range m.Answer {
		good := record.Header().Name == name+"." && record.Header().Ttl <= 300
		switch record := record.(type) {
		case *dns.A:
			addr, _ := netip.AddrFromSlice(record.A.To4())
			good = good && v.Knows(name) && v.Reaches(name, addr)
		case *dns.AAAA:
			addr, _ := netip.AddrFromSlice(record.AAAA)
			good = good && v.Knows(name) && !addr.Is4In6() && v.Reaches(name, addr)
		case *dns.SRV:
			good = good && isService(name, v) && v.Opens(strings.TrimSuffix(record.Target, "."), record.Port)
		default:
			good = false
		}
		if !good {
			t.Fatalf("%s is told %v", name, record)
		}
	}
}

// dialable counts, in a naive way, the addresses that a device must be told of
// a name; -1 where an alias makes that hard to say.
func dialable(public *nameServer, v *drawnView, name string, qtype uint16) int {
	if qtype != dns.TypeA && qtype != dns.TypeAAAA || !v.Knows(name) {
		return -1
	}
	distinct := make(map[string]bool)
	for _, record := range public.records {
		text := strings.Fields(record.String()) // owner, TTL, class, type, data
		switch {
		case text[0] != name+".":
		case text[3] == "CNAME":
			return -1
		case text[3] == dns.Type(qtype).String() && v.reaches[name+" "+text[4]] && !strings.HasPrefix(text[4], "::ffff:"):
			distinct[text[4]] = true
		}
	}
	return len(distinct)
}
