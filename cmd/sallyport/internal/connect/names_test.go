package connect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
)

// resolver is a real DNS server, UDP and TCP, that gives every name one
// address.
type resolver struct {
	addr  string
	rcode int                                // what it answers
	shape func(*dns.Msg, dns.ResponseWriter) // changes the answer; may be nil

	mu    sync.Mutex
	asked []string // name, type and network of each question
}

func startResolver(t testing.TB, address string) *resolver {
	t.Helper()
	r := &resolver{}
	var packets net.PacketConn
	var stream net.Listener
	for range freePortTries {
		var err error
		if stream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			break
		}
		_ = stream.Close()
	}
	if packets == nil {
		t.Fatal("no port is free")
	}
	r.addr = stream.Addr().String()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) { r.answer(w, m, netip.MustParseAddr(address)) })
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		ready, done := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { done <- server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-done
		})
	}
	return r
}

func (r *resolver) answer(w dns.ResponseWriter, m *dns.Msg, addr netip.Addr) {
	q := m.Question[0]
	r.mu.Lock()
	r.asked = append(r.asked, strings.ToLower(q.Name)+" "+dns.TypeToString[q.Qtype]+" "+w.LocalAddr().Network())
	a := new(dns.Msg).SetRcode(m, r.rcode)
	shape := r.shape
	r.mu.Unlock()
	if a.Rcode == dns.RcodeSuccess && q.Qtype == dns.TypeA {
		a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: addr.AsSlice()}}
	}
	if shape != nil {
		shape(a, w)
	}
	_ = w.WriteMsg(a)
}

func (r *resolver) set(rcode int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rcode = rcode
}

func (r *resolver) reshape(shape func(*dns.Msg, dns.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shape = shape
}

// takeAsked returns what was asked, and forgets it.
func (r *resolver) takeAsked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// lookUp asks the stub and returns the addresses, and the response code.
func lookUp(t testing.TB, p *runningProxy, network, name string, qtype uint16) (addrs []string, rcode int) {
	t.Helper()
	client := dns.Client{Net: network, Timeout: 8 * time.Second}
	answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, qtype), p.addr.String())
	if err != nil {
		t.Fatalf("%s over %s: %v", name, network, err)
	}
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			addrs = append(addrs, rr.A.String())
		case *dns.AAAA:
			addrs = append(addrs, rr.AAAA.String())
		}
	}
	return addrs, answer.Rcode
}

const (
	insideAddr  = "10.1.0.25"
	outsideAddr = "198.51.100.25"
)

// dnsWorld is a gateway with a DNS server behind it, and one outside.
func dnsWorld(t testing.TB, mode DNSMode) (g *gateway, inside, outside *resolver, c Config) {
	t.Helper()
	g = startGateway(t)
	inside, outside = startResolver(t, insideAddr), startResolver(t, outsideAddr)
	g.routes[stub.DeviceDNS+":53"] = inside.addr
	c = g.config(Off)
	c.SplitDNS, c.LocalDNS, c.Suffixes = mode, outside.addr, []string{"example.com"}
	return g, inside, outside, c
}

// Who is asked for what, over real sockets: the other one hears nothing of it.
func TestSplitDNS(t *testing.T) {
	tests := []struct {
		name string
		want [3]string // by mode: remote, local, both
	}{
		{"mail.example.com.", [3]string{insideAddr, outsideAddr, insideAddr}},
		{"MAIL.Example.COM.", [3]string{insideAddr, outsideAddr, insideAddr}},
		{"example.com.", [3]string{insideAddr, outsideAddr, insideAddr}},
		{"www.example.org.", [3]string{outsideAddr, outsideAddr, outsideAddr}},
		{"badexample.com.", [3]string{outsideAddr, outsideAddr, outsideAddr}},
		{gatewayName + ".", [3]string{outsideAddr, outsideAddr, outsideAddr}},
		{"intranet.", [3]string{insideAddr, insideAddr, insideAddr}},
		{"localhost.", [3]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}},
		{"app.localhost.", [3]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}},
		{stub.DeviceDNS + ".", [3]string{}},
		{"127.1.", [3]string{}},
		{".", [3]string{}},
	}
	for mode := Remote; mode <= Both; mode++ {
		t.Run(mode.String(), func(t *testing.T) {
			g, inside, outside, c := dnsWorld(t, mode)
			p, told := startDNS(t, c)
			for _, tt := range tests {
				for _, network := range []string{"udp", "tcp"} {
					got, rcode := lookUp(t, p, network, tt.name, dns.TypeA)
					if strings.Join(got, " ") != tt.want[mode] || (rcode == dns.RcodeRefused) != (tt.want[mode] == "") {
						t.Errorf("%s over %s: %v, %s", tt.name, network, got, dns.RcodeToString[rcode])
					}
					if l := <-told; l.Err != nil || l.Type != dns.TypeA {
						t.Errorf("told %v", l)
					}
					if n := len(inside.takeAsked()); (n == 1) != (tt.want[mode] == insideAddr) {
						t.Errorf("%s: the inside was asked %d times", tt.name, n)
					}
					if n := len(outside.takeAsked()); (n == 1) != (tt.want[mode] == outsideAddr) {
						t.Errorf("%s: the outside was asked %d times", tt.name, n)
					}
				}
			}
			if n := len(g.visits()); n != 1 {
				t.Errorf("%d tunnels for questions in turn", n)
			}
		})
	}
}

// What Both makes of the gateway's answers.
func TestBothFallsBack(t *testing.T) {
	_, inside, outside, c := dnsWorld(t, Both)
	p, told := startDNS(t, c)
	for rcode, want := range map[int]int{
		dns.RcodeNameError: dns.RcodeNameError, dns.RcodeServerFailure: dns.RcodeSuccess, dns.RcodeRefused: dns.RcodeSuccess,
	} {
		inside.set(rcode)
		got, gotCode := lookUp(t, p, "udp", "mail.example.com.", dns.TypeA)
		if gotCode != want || (len(got) == 1 && got[0] == outsideAddr) != (want == dns.RcodeSuccess) {
			t.Errorf("%s became %v, %s", dns.RcodeToString[rcode], got, dns.RcodeToString[gotCode])
		}
		if n := len(outside.takeAsked()); (n == 1) != (want == dns.RcodeSuccess) {
			t.Errorf("%s: the outside was asked %d times", dns.RcodeToString[rcode], n)
		}
		<-told
		// A name without a dot is nobody's business outside, whatever the gateway
		// answers.
		if _, gotCode := lookUp(t, p, "udp", "intranet.", dns.TypeA); gotCode != rcode || len(outside.takeAsked()) > 0 {
			t.Errorf("intranet: %s became %s", dns.RcodeToString[rcode], dns.RcodeToString[gotCode])
		}
		<-told
	}
}

// Without the gateway, Both has the local DNS, and the others have nothing: no
// name of the inside is asked outside.
func TestGatewayAway(t *testing.T) {
	for mode := Remote; mode <= Both; mode++ {
		_, _, outside, c := dnsWorld(t, mode)
		c.Gateway = closedPort(t)
		p, told := startDNS(t, c)
		for _, name := range []string{"mail.example.com.", "intranet."} {
			want := mode != Remote && name != "intranet."
			got, rcode := lookUp(t, p, "udp", name, dns.TypeA)
			if want != (len(got) == 1 && got[0] == outsideAddr) || want != (rcode == dns.RcodeSuccess) || want != (len(outside.takeAsked()) == 1) {
				t.Errorf("%v: %s is %v, %s", mode, name, got, dns.RcodeToString[rcode])
			}
			if l := <-told; !want && !errors.Is(l.Err, ErrUnreachable) {
				t.Errorf("%v: told %v", mode, l)
			}
		}
	}
}

// query is a message as an application sends it.
func query(t testing.TB, name string, qtype uint16) *stub.Query {
	t.Helper()
	wire, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, err := stub.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// A gateway that does not answer is waited for no longer than its time, and an
// asker no longer than his.
func TestAnswersInTime(t *testing.T) {
	silent := func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	q := query(t, "mail.example.com.", dns.TypeA)
	good := q.Addresses([]netip.Addr{netip.MustParseAddr(outsideAddr)}, 0)
	quick := func(context.Context, []byte) ([]byte, string, error) { return good, "", nil }
	silentToo := func(ctx context.Context, wire []byte) ([]byte, string, error) {
		answer, err := silent(ctx, wire)
		return answer, "", err
	}
	tests := []struct {
		mode  DNSMode
		local func(context.Context, []byte) ([]byte, string, error)
		took  time.Duration
		rcode int
	}{
		{Remote, quick, answerLimit, stub.ServerFailure},
		{Local, quick, 0, stub.Success},
		{Both, quick, gatewayLimit, stub.Success},
		{Both, silentToo, answerLimit, stub.ServerFailure},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s, err := newSplit(Config{SplitDNS: tt.mode, Suffixes: []string{"example.com"}})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			n := &names{split: s, gateway: silent, local: tt.local}
			if got := stub.Rcode(n.Answer(t.Context(), q)); got != tt.rcode || time.Since(began) != tt.took {
				t.Errorf("%v: rcode %d after %v", tt.mode, got, time.Since(began))
			}
		})
	}
}

// The local DNS's answers are matched to the question, and large ones are had
// over TCP.
func TestLocalDNS(t *testing.T) {
	_, _, outside, c := dnsWorld(t, Local)
	p, _ := startDNS(t, c)
	t.Run("forged answers", func(t *testing.T) {
		outside.reshape(func(a *dns.Msg, w dns.ResponseWriter) {
			if _, udp := w.LocalAddr().(*net.UDPAddr); !udp {
				return
			}
			for _, forge := range []func(*dns.Msg){
				func(m *dns.Msg) { m.Id++ },
				func(m *dns.Msg) { m.Response = false },
				func(m *dns.Msg) { m.Question[0].Name = "other.example.org." },
				func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
				func(m *dns.Msg) { m.Question = nil },
			} {
				forged := a.Copy()
				forged.Answer[0].(*dns.A).A = net.IPv4(192, 0, 2, 66)
				forge(forged)
				_ = w.WriteMsg(forged)
			}
			_, _ = w.Write([]byte{0})
		})
		if got, _ := lookUp(t, p, "udp", "www.example.org.", dns.TypeA); !slices.Equal(got, []string{outsideAddr}) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("large answers", func(t *testing.T) {
		outside.takeAsked()
		outside.reshape(func(a *dns.Msg, w dns.ResponseWriter) {
			if _, udp := w.LocalAddr().(*net.UDPAddr); udp {
				a.Truncated, a.Answer = true, nil
				return
			}
			for range 99 {
				a.Answer = append(a.Answer, a.Answer[0])
			}
		})
		if got, _ := lookUp(t, p, "tcp", "www.example.org.", dns.TypeA); len(got) != 100 {
			t.Errorf("%d addresses", len(got))
		}
		if got := outside.takeAsked(); !slices.Equal(got, []string{"www.example.org. A udp", "www.example.org. A tcp"}) {
			t.Errorf("asked %v", got)
		}
		answer, err := dns.Exchange(new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA), p.addr.String())
		if err != nil || !answer.Truncated || len(answer.Answer) == 100 {
			t.Errorf("over UDP: %v, %v", answer, err)
		}
	})
}

// The window says who was really asked, and why it was not the gateway alone.
func TestLookupLines(t *testing.T) {
	_, inside, outside, c := dnsWorld(t, Both)
	p, told := startDNS(t, c)
	ask := func(name string, qtype uint16, want string) {
		t.Helper()
		m := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
		if _, err := dns.Exchange(m, p.addr.String()); err != nil {
			t.Fatal(err)
		}
		if line := (<-told).String(); line != want {
			t.Errorf("told  %q\nwant %q", line, want)
		}
	}
	ask("mail.example.com.", dns.TypeA, "A of mail.example.com is asked through the gateway")
	ask("mail.example.com.", dns.TypeHTTPS, "HTTPS of mail.example.com is asked through the gateway")
	ask("www.example.org.", 4321, "TYPE4321 of www.example.org is asked of the local DNS "+outside.addr)
	ask(stub.DeviceDNS+".", dns.TypeAAAA, "AAAA of "+stub.DeviceDNS+" is asked of nobody")
	ask("localhost.", dns.TypeA, "A of localhost is asked here")

	inside.set(dns.RcodeRefused)
	ask("mail.example.com.", dns.TypeA,
		"A of mail.example.com is asked through the gateway (the DNS server refuses to answer), then of the local DNS "+outside.addr)
	inside.reshape(func(m *dns.Msg, _ dns.ResponseWriter) {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited}}
	})
	ask("mail.example.com.", dns.TypeA,
		"A of mail.example.com is asked through the gateway (not listed in the device's policy), then of the local DNS "+outside.addr)
	ask("intranet.", dns.TypeA, "A of intranet is asked through the gateway: not listed in the device's policy")
	outside.set(dns.RcodeServerFailure)
	ask("mail.example.com.", dns.TypeA, "A of mail.example.com is asked through the gateway (not listed in the device's policy), "+
		"then of the local DNS "+outside.addr+": the DNS server could not find out")
}

// DNS knows no passwords: its streams take none of the proxies' places.
func TestStreamsHaveTheirOwnPlaces(t *testing.T) {
	outside := startResolver(t, "192.0.2.1")
	c := idleConfig(t, Off)
	c.LocalDNS = outside.addr
	p, _ := startDNS(t, c)
	conn, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := stub.Exchange(t.Context(), conn, query(t, "www.example.org.", dns.TypeA).Wire()); err != nil {
		t.Fatal(err)
	}
	if taken := len(p.slots); taken != 0 {
		t.Errorf("%d places are taken by an open stream, and by waiting for the next", taken)
	}
}
