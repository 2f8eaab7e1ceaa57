package splitdns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// The tests in this file go over real sockets on loopback, through upstream.

var _ Asker = (*upstream.Pool)(nil)

// listen serves a nameServer over UDP and TCP at one port of loopback.
func listen(t testing.TB, s *nameServer) upstream.Server {
	t.Helper()
	var packets net.PacketConn
	var streams net.Listener
	for range 20 { // until a port is free for both
		var err error
		if streams, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", streams.Addr().String()); err == nil {
			break
		}
		streams.Close()
	}
	if packets == nil {
		t.Fatal("no port is free for both UDP and TCP")
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		asked := query.Question[0]
		m := s.answer(upstream.Question{Name: canonical(asked.Name), Type: asked.Qtype})
		m.Id, m.RecursionDesired = query.Id, query.RecursionDesired
		if strings.EqualFold(m.Question[0].Name, asked.Name) { // else it is told to lie
			m.Question = query.Question
		}
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(dns.MinMsgSize)
		}
		if wire, err := m.Pack(); err == nil {
			w.Write(wire)
		}
	})
	var running sync.WaitGroup
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		running.Go(func() { server.ActivateAndServe() })
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	t.Cleanup(func() { packets.Close(); streams.Close(); running.Wait() })
	s.server = upstream.Server{Network: "udp", Addr: streams.Addr().(*net.TCPAddr).AddrPort()}
	return s.server
}

func newPool(t testing.TB, servers ...upstream.Server) *upstream.Pool {
	t.Helper()
	return makePool(t, upstream.Config{Servers: servers, Timeout: 400 * time.Millisecond})
}

// impatientPool is for servers that give no answer, however long they are waited
// for.
func impatientPool(t testing.TB, servers ...upstream.Server) *upstream.Pool {
	t.Helper()
	return makePool(t, upstream.Config{Servers: servers, Timeout: 100 * time.Millisecond, Attempts: 1})
}

func makePool(t testing.TB, c upstream.Config) *upstream.Pool {
	t.Helper()
	p, err := upstream.NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// blackHole takes what is sent to it and says nothing.
func blackHole(t testing.TB) upstream.Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return upstream.Server{Network: "udp", Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// closedPort is where nobody listens.
func closedPort(t testing.TB) upstream.Server {
	s := blackHole(t)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	return s
}

func TestThroughRealServers(t *testing.T) {
	inside := newServer(t, "127.0.0.1",
		"mail.corp.example. 60 IN A 10.0.0.25", "mail.corp.example. 60 IN AAAA fd00::25",
		"out.corp.example. 60 IN CNAME www.example.", "www.example. 60 IN A 6.6.6.6",
		"_autodiscover._tcp.corp.example. 60 IN SRV 0 0 443 mail.corp.example.",
		"corp.example. 60 IN SOA a. b. 1 1 1 1 60")
	public := newServer(t, "127.0.0.1", "www.example. 60 IN A 192.0.2.1", "in.example. 60 IN CNAME mail.corp.example.", "mail.corp.example. 60 IN A 6.6.6.6", "example. 60 IN SOA a. b. 1 1 1 1 60")
	for i := range 3500 { // 56 KiB: over TCP only
		public.records = append(public.records, &dns.A{Hdr: dns.RR_Header{Name: "big.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{8, 8, byte(i >> 8), byte(i)}})
	}
	liar := newServer(t, "127.0.0.1")
	liar.twist = func(_ upstream.Question, m *dns.Msg) {
		m.Question[0].Name = "other.example."
		m.Rcode = dns.RcodeSuccess
		m.Answer, _ = parseRecords(t, "mail.corp.example. 60 IN A 6.6.6.6")
	}
	zone := newPool(t, closedPort(t), blackHole(t), listen(t, inside))
	r := newResolver(t, Config{Public: newPool(t, listen(t, public)), Zones: []Zone{{Suffix: "corp.example", Servers: zone}}})
	for _, c := range []struct {
		name, source string
		server       *nameServer
		want         []netip.Addr
		chain        []string
	}{
		{"mail.corp.example", "zone corp.example", inside, addrs("10.0.0.25", "fd00::25"), nil},
		{"out.corp.example", "zone corp.example", inside, addrs("192.0.2.1"), []string{"www.example"}},
		{"in.example", "public", public, addrs("10.0.0.25", "fd00::25"), []string{"mail.corp.example"}},
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} { // so that none comes too late on a busy machine
			if _, err := r.Look(t.Context(), c.name, qtype); err != nil {
				t.Error(err)
			}
		}
		answer, err := r.Resolve(t.Context(), c.name)
		if err != nil || !slices.Equal(answer.Addrs, c.want) || answer.Source != c.source || answer.Server != c.server.server.String() || !slices.Equal(answer.Chain, c.chain) {
			t.Errorf("%s: %+v, %v", c.name, answer, err)
		}
	}
	if answer := mustResolve(t, r, "big.example"); len(answer.Addrs) != 32 {
		t.Errorf("%d addresses of 3500", len(answer.Addrs))
	}
	if records, err := r.Look(t.Context(), "_autodiscover._tcp.corp.example", dns.TypeSRV); err != nil || len(records.RRs) != 1 {
		t.Errorf("%+v, %v", records, err)
	}
	for _, name := range []string{"gone.corp.example", "gone.example"} {
		if _, err := r.Resolve(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}

	for what, c := range map[string]struct {
		servers []upstream.Server
		want    error
	}{
		"dead":   {[]upstream.Server{closedPort(t)}, ErrFailed},
		"silent": {[]upstream.Server{blackHole(t)}, ErrTimeout},
	} {
		r := newResolver(t, Config{Zones: []Zone{{Suffix: "corp.example", Servers: impatientPool(t, c.servers...)}}})
		_, err := r.Resolve(t.Context(), "mail.corp.example")
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "zone corp.example") || !strings.Contains(err.Error(), c.servers[0].String()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r = newResolver(t, Config{Public: impatientPool(t, listen(t, liar))})
	if answer, err := r.Resolve(t.Context(), "mail.corp.example"); err == nil {
		t.Errorf("a liar was believed: %+v", answer)
	}
}

// The benchmarks below are of one look-up each:
//
//	go test -run '^$' -bench . -benchmem -count 10 ./splitdns | tee new.txt; benchstat new.txt

func BenchmarkResolveHosts(b *testing.B) {
	r := newResolver(b, Config{Hosts: mustHosts("mail.example.com", "10.0.0.25")})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Resolve(b.Context(), "mail.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolveCached(b *testing.B) {
	server := newServer(b, "9.9.9.9", "example.com. 3600 IN SOA a. b. 1 1 1 1 3600",
		"plain.example.com. 3600 IN A 192.0.2.1", "plain.example.com. 3600 IN AAAA 2001:db8::1",
		"only4.example.com. 3600 IN A 192.0.2.1",
		"alias.example.com. 3600 IN CNAME plain.example.com.")
	for _, name := range []string{"plain", "only4", "alias", "gone"} {
		b.Run(name, func(b *testing.B) {
			r := newResolver(b, Config{Public: server})
			name += ".example.com"
			r.Resolve(b.Context(), name)
			server.asked()
			b.ReportAllocs()
			for b.Loop() {
				r.Resolve(b.Context(), name)
			}
			server.wantAsked(b)
		})
	}
	b.Run("parallel, of 1000", func(b *testing.B) {
		var names, lines []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("n%d.example.com", i))
			lines = append(lines, names[i]+". 3600 IN A 192.0.2.1", names[i]+". 3600 IN AAAA 2001:db8::1")
		}
		r := newResolver(b, Config{Public: newServer(b, "9.9.9.9", lines...)})
		for _, name := range names {
			mustResolve(b, r, name)
		}
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := r.Resolve(b.Context(), names[i%len(names)]); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkResolveAsked asks a server on loopback over UDP, both families
// together, each time. Its baseline is two questions through the pool itself,
// one after the other.
func BenchmarkResolveAsked(b *testing.B) {
	server := newServer(b, "127.0.0.1", "a.example. 0 IN A 192.0.2.1", "a.example. 0 IN AAAA 2001:db8::1")
	pool := newPool(b, listen(b, server))
	b.Run("resolver", func(b *testing.B) {
		r := newResolver(b, Config{Public: pool})
		b.ReportAllocs()
		for b.Loop() {
			mustResolve(b, r, "a.example")
		}
	})
	b.Run("pool", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if _, err := pool.Ask(b.Context(), upstream.Question{Name: "a.example", Type: qtype}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
