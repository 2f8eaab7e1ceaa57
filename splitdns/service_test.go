package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// view is a list of host:port and the addresses that may be dialled.
type view struct {
	listed  []string     // "mail.example.com:443"
	dialled []netip.Addr // for every listed name
	most    int64        // look-ups; 0 is no bound
	spent   atomic.Int64
}

func (v *view) MayAsk() bool { return v.spent.Add(1) <= v.most || v.most == 0 }

func (v *view) Knows(name string) bool {
	return slices.ContainsFunc(v.listed, func(s string) bool { return strings.HasPrefix(s, name+":") })
}

func (v *view) Holds(domain string) bool {
	return slices.ContainsFunc(v.listed, func(s string) bool {
		name, _, _ := strings.Cut(s, ":")
		return within(name, domain)
	})
}

func (v *view) Reaches(name string, addr netip.Addr) bool {
	return v.Knows(name) && slices.Contains(v.dialled, addr)
}

func (v *view) Opens(name string, port uint16) bool {
	return slices.Contains(v.listed, fmt.Sprintf("%s:%d", name, port))
}

// device is one end of a tunnel to a Service. Every question is a message of
// miekg's client.
type device struct {
	t    testing.TB
	conn *dns.Conn
}

// tunnel serves one end of a connection and returns the other.
func tunnel(t testing.TB, s *Service, v View, client, server net.Conn) *device {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, server, v); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); client.Close(); <-done })
	return &device{t: t, conn: &dns.Conn{Conn: client}}
}

func overTCP(t testing.TB, s *Service, v View) *device {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return tunnel(t, s, v, client, server)
}

func (d *device) ask(name string, qtype uint16) *dns.Msg {
	d.t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).SetEdns0(1232, false)
	client := dns.Client{Net: "tcp", Timeout: time.Minute}
	answer, _, err := client.ExchangeWithConn(q, d.conn)
	if err != nil {
		d.t.Fatalf("%s %s: %v", name, dns.Type(qtype), err)
	}
	return answer
}

// inShort writes an answer as "NOERROR data data; 17 18".
func inShort(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	for _, record := range m.Answer {
		parts = append(parts, strings.ReplaceAll(strings.TrimPrefix(record.String(), record.Header().String()), " ", ","))
	}
	slices.Sort(parts[1:])
	short := strings.Join(parts, " ")
	for _, option := range m.IsEdns0().Option {
		if extended, ok := option.(*dns.EDNS0_EDE); ok {
			short += fmt.Sprintf("; %d", extended.InfoCode)
		}
	}
	return short
}

var corporate = []string{
	"mail.example.com. 3600 IN CNAME secret-cluster.example.com.",
	"secret-cluster.example.com. 3600 IN A 10.0.0.25",
	"secret-cluster.example.com. 3600 IN A 10.0.0.26",
	"secret-cluster.example.com. 3600 IN A 127.0.0.1",
	"secret-cluster.example.com. 3600 IN AAAA fd00::25",
	"secret-cluster.example.com. 3600 IN AAAA fd00::66",
	"secret-cluster.example.com. 3600 IN TXT \"v=spf1 -all\"",
	"mapped.example.com. 60 IN AAAA ::ffff:10.0.0.25",
	"inside.example.com. 60 IN A 127.0.0.1",
	"empty.example.com. 60 IN TXT nothing",
	"_autodiscover._tcp.example.com. 60 IN SRV 0 0 443 mail.example.com.",
	"_autodiscover._tcp.example.com. 60 IN SRV 0 0 8443 mail.example.com.",
	"_autodiscover._tcp.example.com. 60 IN SRV 1 0 443 dc1.example.com.",
	"_autodiscover._tcp.example.com. 60 IN SRV 2 7 443 EWS.Example.com.",
	"_autodiscover._tcp.example.com. 60 IN TXT path=/autodiscover",
	"_ldap._tcp.example.com. 60 IN SRV 0 0 389 dc1.example.com.",
	"_off._tcp.example.com. 60 IN SRV 0 0 0 .",
	"dc1.example.com. 60 IN A 10.0.0.1",
	"gateway.example.com. 60 IN A 10.0.0.9",
	"example.com. 60 IN SOA ns.example.com. root.example.com. 1 60 60 60 60",
}

func corporateView() *view {
	return &view{
		listed: []string{
			"mail.example.com:443", "ews.example.com:443", "mapped.example.com:443", "inside.example.com:443",
			"empty.example.com:443", "gone.example.com:443", "gateway.example.com:443", stub.DeviceDNS + ":53",
		},
		dialled: addrs("10.0.0.25", "10.0.0.26", "fd00::25", "10.0.0.9"),
	}
}

func TestServiceAnswers(t *testing.T) {
	public := newServer(t, "9.9.9.9", corporate...)
	s := &Service{Resolver: newResolver(t, Config{Public: public}), Own: []string{"gateway.example.com"}}
	d := overTCP(t, s, corporateView())
	for _, test := range []struct {
		name  string
		qtype uint16
		want  string
		asked bool // of the servers
	}{
		{"mail.example.com", dns.TypeA, "NOERROR 10.0.0.25 10.0.0.26", true},
		{"MAIL.example.COM", dns.TypeAAAA, "NOERROR fd00::25", true},
		{"mail.example.com", dns.TypeTXT, `NOERROR "v=spf1,-all"`, true},
		{"mapped.example.com", dns.TypeAAAA, "NOERROR; 17", true},
		{"inside.example.com", dns.TypeA, "NOERROR; 17", true},
		{"empty.example.com", dns.TypeA, "NOERROR", true},
		{"gone.example.com", dns.TypeA, "NXDOMAIN", true},

		{"mail.example.com", dns.TypeHTTPS, "NOERROR", false},
		{"mail.example.com", dns.TypeSVCB, "NOERROR", false},
		{"mail.example.com", dns.TypeCNAME, "NOERROR", false},
		{"mail.example.com", dns.TypeMX, "NOERROR", false},
		{"mail.example.com", dns.TypeNS, "NOERROR", false},
		{"mail.example.com", dns.TypeSOA, "NOERROR", false},
		{"mail.example.com", dns.TypeSRV, "NOERROR", false},
		{"mail.example.com", 65280, "NOERROR", false},

		{"_autodiscover._tcp.example.com", dns.TypeSRV, "NOERROR 0,0,443,mail.example.com. 2,7,443,ews.example.com.", true},
		{"_autodiscover._tcp.example.com", dns.TypeTXT, `NOERROR "path=/autodiscover"`, true},
		{"_ldap._tcp.example.com", dns.TypeSRV, "NOERROR; 17", true},
		{"_off._tcp.example.com", dns.TypeSRV, "NOERROR; 17", true},
		{"_none._udp.example.com", dns.TypeSRV, "NXDOMAIN", true},
		{"_sip._tls.mail.example.com", dns.TypeSRV, "NXDOMAIN", true},

		{"_autodiscover._tcp.example.com", dns.TypeA, "REFUSED; 18", false},
		{"_autodiscover._tcp.example.com", dns.TypeHTTPS, "REFUSED; 18", false},
		{"_autodiscover._tcp.example.org", dns.TypeSRV, "REFUSED; 18", false},
		{"_autodiscover._tcp", dns.TypeSRV, "REFUSED; 18", false},
		{"_autodiscover._sctp.example.com", dns.TypeSRV, "REFUSED; 18", false},
		{"autodiscover._tcp.example.com", dns.TypeSRV, "REFUSED; 18", false},
		{"_._tcp.example.com", dns.TypeSRV, "REFUSED; 18", false},
		{"_dmarc.example.com", dns.TypeTXT, "REFUSED; 18", false},
		{"_a._tcp._b.example.com", dns.TypeTXT, "REFUSED; 18", false},
		{"secret-cluster.example.com", dns.TypeA, "REFUSED; 18", false},
		{"dc1.example.com", dns.TypeA, "REFUSED; 18", false},
		{"example.com", dns.TypeTXT, "REFUSED; 18", false},
		{"example.com", dns.TypeNS, "REFUSED; 18", false},
		{"www.example.org", dns.TypeA, "REFUSED; 18", false},
		{"no-such-name.example.org", dns.TypeA, "REFUSED; 18", false},
		{"25.0.0.10.in-addr.arpa", dns.TypePTR, "REFUSED; 18", false},
		{"localhost", dns.TypeA, "REFUSED; 18", false},
		{".", dns.TypeNS, "REFUSED; 18", false},
		{"10.0.0.25", dns.TypeA, "REFUSED; 18", false},
		{`mail\.example.com`, dns.TypeA, "REFUSED; 18", false},
		{`mail.example.com\000`, dns.TypeA, "REFUSED; 18", false},
		{"gateway.example.com", dns.TypeA, "REFUSED; 18", false},
		{"Gateway.Example.com", dns.TypeHTTPS, "REFUSED; 18", false},
		{stub.DeviceDNS, dns.TypeA, "REFUSED; 18", false},
		{"mail.example.com", dns.TypeAXFR, "NOTIMP", false},
	} {
		before := public.count()
		answer := d.ask(test.name, test.qtype)
		if got := inShort(answer); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.name, dns.Type(test.qtype), got, test.want)
		}
		if asked := public.count() > before; asked != test.asked {
			t.Errorf("%s %s: asked a server: %v, want %v", test.name, dns.Type(test.qtype), asked, test.asked)
		}
		for _, record := range answer.Answer {
			h := record.Header()
			if !strings.EqualFold(h.Name, dns.Fqdn(test.name)) || h.Ttl > 300 || h.Rrtype != test.qtype {
				t.Errorf("%s %s: record %v", test.name, dns.Type(test.qtype), record)
			}
		}
		if len(answer.Ns) > 0 || len(answer.Extra) != 1 || answer.Authoritative || answer.AuthenticatedData {
			t.Errorf("%s %s: more than asked for: %v", test.name, dns.Type(test.qtype), answer)
		}
	}
}

// count tells how often the servers were asked.
func (s *nameServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// A device learns that there is no answer, and nothing of the servers inside.
func TestServiceFailures(t *testing.T) {
	for want, failure := range map[string]error{
		"SERVFAIL; 22": fmt.Errorf("10.1.2.3:53 of corp.internal: %w", upstream.ErrTimeout),
		"SERVFAIL; 23": fmt.Errorf("10.1.2.3:53 of corp.internal: %w", upstream.ErrFailed),
	} {
		public := newServer(t, "9.9.9.9", corporate...)
		public.before = func(context.Context, upstream.Question) error { return failure }
		s := &Service{Resolver: newResolver(t, Config{Public: public})}
		answer := overTCP(t, s, corporateView()).ask("mail.example.com", dns.TypeA)
		if got := inShort(answer); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if text := answer.String(); strings.Contains(text, "10.1.2.3") || strings.Contains(text, "internal") {
			t.Errorf("the answer tells too much: %s", text)
		}
	}
}

// When servers fail, an answer that has expired is given, and says so.
func TestServiceServesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := false
		public := newServer(t, "9.9.9.9", corporate...)
		public.before = func(context.Context, upstream.Question) error {
			if fails {
				return upstream.ErrFailed
			}
			return nil
		}
		s := &Service{Resolver: newResolver(t, Config{Public: public})}
		client, server := net.Pipe()
		d := tunnel(t, s, corporateView(), client, server)
		if got := inShort(d.ask("mail.example.com", dns.TypeA)); got != "NOERROR 10.0.0.25 10.0.0.26" {
			t.Fatal(got)
		}
		fails = true
		time.Sleep(time.Hour + time.Minute)
		answer := d.ask("mail.example.com", dns.TypeA)
		if got := inShort(answer); got != "NOERROR 10.0.0.25 10.0.0.26; 3" {
			t.Fatal(got)
		}
		if ttl := answer.Answer[0].Header().Ttl; ttl > 30 {
			t.Errorf("TTL %d", ttl)
		}
	})
}

// A look-up is made only if the view has one left; what needs none is not counted.
func TestServiceIsNoResolverForHire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public := newServer(t, "9.9.9.9", corporate...)
		s := &Service{Resolver: newResolver(t, Config{Public: public, Cache: Cache{Entries: -1}})}
		client, server := net.Pipe()
		v := corporateView()
		v.most = 5
		d := tunnel(t, s, v, client, server)
		for i := range 8 {
			d.ask("www.example.org", dns.TypeA)
			d.ask("mail.example.com", dns.TypeHTTPS)
			want := "NOERROR 10.0.0.25 10.0.0.26"
			if i >= 5 {
				want = "REFUSED; 0"
			}
			if got := inShort(d.ask("mail.example.com", dns.TypeA)); got != want {
				t.Errorf("look-up %d: %s, want %s", i, got, want)
			}
		}
		if n := len(public.asked()); n != 5 {
			t.Errorf("the server was asked %d times", n)
		}
		if n := v.spent.Load(); n != 8 {
			t.Errorf("%d look-ups counted", n)
		}
	})
}

// The end of a tunnel ends its look-ups.
func TestServiceEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{}, 1)
	public := newServer(t, "9.9.9.9", corporate...)
	public.before = func(ctx context.Context, _ upstream.Question) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	s := &Service{Resolver: newResolver(t, Config{Public: public, Timeout: time.Hour})}
	client, server := net.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, server, corporateView()) }()
	q := new(dns.Msg).SetQuestion("mail.example.com.", dns.TypeA)
	if err := (&dns.Conn{Conn: client}).WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
}
