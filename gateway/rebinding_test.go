package gateway_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// fickle is a DNS server that answers each time with the next address, which is
// good for that moment only.
type fickle struct {
	mu    sync.Mutex
	addrs []netip.Addr
	given []netip.Addr
}

func (f *fickle) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	if question := q.Question[0]; question.Qtype == dns.TypeA {
		addr := f.addrs[len(f.given)%len(f.addrs)]
		f.given = append(f.given, addr)
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 0}, A: addr.AsSlice(),
		})
	} else {
		m.Ns = append(m.Ns, &dns.SOA{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 0}, Ns: "ns.", Mbox: "m.",
		})
	}
	_ = w.WriteMsg(m)
}

// serve answers on loopback.
func (f *fickle) serve(t *testing.T) upstream.Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: f, NotifyStartedFunc: func() { close(started) }}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	next(t, started, "DNS server")
	t.Cleanup(func() { must(t, server.Shutdown()); must(t, <-done) })
	found, err := upstream.ParseServer(conn.LocalAddr().String())
	must(t, err)
	return found
}

// real resolves by split DNS.
type real struct{ *splitdns.Resolver }

func (r real) Resolve(ctx context.Context, name string) (gateway.Resolution, error) {
	answer, err := r.Resolver.Resolve(ctx, name)
	return gateway.Resolution{Addrs: answer.Addrs, Source: gateway.Source(answer.Source), Server: answer.Server, Chain: answer.Chain}, err
}

// DNS rebinding: a name's server answers with a public address when it is judged,
// and with one of ours a moment later. One answer counts for a tunnel, from the
// judgement to the dial: each tunnel asks once, and whatever may not be dialled is
// refused whenever it comes.
func TestRebinding(t *testing.T) {
	w := newWorld(t, options{
		serve: func(net.Conn) { t.Error("somebody came to where no tunnel may lead") },
		// From loopback nothing leaves this machine: a public address fails at once.
		dialer: net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Timeout: time.Second},
	})
	own := netip.MustParseAddr("192.0.0.170") // never; as an own listener it is refused before that
	labels := map[netip.Addr]string{
		netip.MustParseAddr("8.8.8.8"):         "service_failed",
		netip.MustParseAddr("127.0.0.1"):       "address_pinned_only",
		netip.MustParseAddr("10.0.0.5"):        "address_private",
		netip.MustParseAddr("169.254.169.254"): "address_pinned_only",
		netip.MustParseAddr("0.0.0.0"):         "address_never",
		own:                                    "address_own",
	}
	liar := &fickle{}
	for addr := range labels {
		if addr.String() != "8.8.8.8" {
			liar.addrs = append(liar.addrs, netip.MustParseAddr("8.8.8.8"), addr)
		}
	}
	server := liar.serve(t)
	pool, err := upstream.NewPool(upstream.Config{Servers: []upstream.Server{server}})
	must(t, err)
	t.Cleanup(pool.Close)
	resolver, err := splitdns.New(splitdns.Config{Public: pool})
	must(t, err)
	t.Cleanup(resolver.Close)
	s := w.snapshot("rebind.example.net:"+w.service, netip.AddrPort{})
	s.Resolver = real{resolver}
	s.Address = policy.NewAddressRules(policy.AddressConfig{Own: []netip.AddrPort{netip.AddrPortFrom(own, w.port)}})
	w.gateway.Use(s)

	handle := w.issue(nil).Handle.Reveal()
	const tunnels = 30
	var seen []netip.Addr
	for range tunnels {
		if _, err := w.open(handle, "rebind.example.net", w.port); err == nil {
			t.Fatal("a tunnel")
		}
		r := next(t, w.refused, "refusal")
		j := r.attempt.Judgement()
		if len(j.Addresses) != 1 || r.why.Label != labels[j.Addresses[0].Addr] {
			t.Errorf("%v refused by %s: %s", j.Addresses, r.why.Label, j.Why)
			continue
		}
		seen = append(seen, j.Addresses[0].Addr)
	}
	// What was judged, and for public addresses dialled, is what was answered, in order;
	// an answer that came too late is asked for again.
	liar.mu.Lock()
	defer liar.mu.Unlock()
	rest := liar.given
	for _, addr := range seen {
		i := slices.Index(rest, addr)
		if i < 0 {
			t.Fatalf("judged %v\nanswered %v", seen, liar.given)
		}
		rest = rest[i+1:]
	}
}
