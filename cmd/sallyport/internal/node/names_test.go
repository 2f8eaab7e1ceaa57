package node_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// nameServer is a zone's DNS server on loopback.
type nameServer struct {
	addr  string
	asked atomic.Int32
}

func newNameServer(t *testing.T, answers map[string]string) *nameServer {
	t.Helper()
	s := &nameServer{}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	s.addr = conn.LocalAddr().String()
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }}
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.asked.Add(1)
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		question := q.Question[0]
		addr, known := answers[strings.ToLower(strings.TrimSuffix(question.Name, "."))]
		switch {
		case known && question.Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   netip.MustParseAddr(addr).AsSlice(),
			})
		case !known:
			m.Rcode = dns.RcodeNameError
			fallthrough
		default:
			m.Ns = append(m.Ns, &dns.SOA{
				Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: "ns.", Mbox: "m.", Minttl: 60,
			})
		}
		_ = w.WriteMsg(m)
	})
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	select {
	case <-started:
	case <-time.After(wait):
		t.Fatal("no DNS server")
	}
	t.Cleanup(func() { must(t, server.Shutdown()); must(t, <-done) })
	return s
}

// zoned is the file with a zone, whose server is ZONE, and two policies.
func zoned(server string) string {
	text := strings.ReplaceAll(file, "background_services: mail.example.com:PORT",
		"background_services: mail.example.com:PORT,inner.example.com:PORT,gateway3.example.com:PORT\n"+
			"  policies:\n    reports: {match: {apps: [Reports]}, background_services: 'reports.example.com:PORT'}")
	return strings.ReplaceAll(text, "splitdns:\n", "splitdns:\n  public: ["+server+"]\n"+
		"  zones: [{suffix: example.com, servers: ['"+server+"'], allow: [10.20.0.0/16]}]\n")
}

// What a zone's server answers decides, and the log says why.
func TestZones(t *testing.T) {
	w := newWorld(t)
	server := newNameServer(t, map[string]string{"inner.example.com": "10.99.0.1"})
	must(t, w.Reload(w.config(zoned(server.addr))))
	handle := w.issue().Handle.Reveal()
	conn, err := w.open(handle)
	must(t, err)
	echo(t, conn)
	conn.Close()
	if n := server.asked.Load(); n > 0 {
		t.Errorf("a pinned name was asked for, %d times", n)
	}
	line := w.refusedLine(t, handle, "inner.example.com", w.portNumber(t))
	for key, want := range map[string]string{
		"reason": "address_private", "policy": "default", "rule": "default/services[2]",
		"why": "zone example.com answered 10.99.0.1, a private address",
		"fix": "pin inner.example.com to 10.99.0.1 under splitdns.hosts, or allow its network in the zone of inner.example.com",
	} {
		if got, _ := line[key].(string); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q in it", key, got, want)
		}
	}
	line = w.refusedLine(t, handle, "evil.example.com", 443)
	if line["fix"] != "add evil.example.com:443 to gateway.policy.background_services" || line["rule"] != "default/deny" {
		t.Errorf("%v", line)
	}
	w.client.Close() // or the authority waits for it
	must(t, w.Close(context.Background()))
	if !strings.Contains(w.log.String(), "1 device wants evil.example.com:443, not listed") {
		t.Error("the groups of refusals were not told at the end")
	}
}

// A reload that changes nothing about names forgets nothing of them, and another
// does.
func TestReloadKeepsWhatWasResolved(t *testing.T) {
	w := newWorld(t)
	server := newNameServer(t, map[string]string{"inner.example.com": "10.99.0.1"})
	text := zoned(server.addr)
	handle := w.issue().Handle.Reveal()
	var asked []int32
	for _, text := range []string{
		text, strings.Replace(text, "reports.example.com:PORT", "other.example.com:PORT", 1), strings.Replace(text, "10.20.0.0/16", "10.21.0.0/16", 1),
	} {
		must(t, w.Reload(w.config(text)))
		if line := w.refusedLine(t, handle, "inner.example.com", w.portNumber(t)); line["reason"] != "address_private" {
			t.Errorf("%v", line)
		}
		asked = append(asked, server.asked.Load())
	}
	if asked[0] == 0 || asked[1] != asked[0] || asked[2] == asked[1] {
		t.Errorf("the server was asked %d times by then", asked)
	}
}

// Where a name's servers fail, the log names them and what came of it, once.
func TestFailedNamesAreExplained(t *testing.T) {
	w := newWorld(t)
	closed := newNameServer(t, nil) // which has no TCP
	must(t, w.Reload(w.config(strings.ReplaceAll(zoned(closed.addr), "servers: ['"+closed.addr, "servers: ['tcp://"+closed.addr))))
	line := w.refusedLine(t, w.issue().Handle.Reveal(), "inner.example.com", w.portNumber(t))
	why, _ := line["why"].(string)
	if want := "; but the resolver failed: zone example.com, tcp://" + closed.addr + ": connection refused"; !strings.HasSuffix(why, want) ||
		line["reason"] != "name_failed" {
		t.Errorf("%v, want %q", line, want)
	}
	// And of a ticket that is refused there is nothing but why.
	conn := w.dial(true)
	defer conn.Close()
	_ = socks.ClientHandshake(t.Context(), conn, socks.Auth{User: "u", Password: "x"}, "mail.example.com", 443)
	line = w.log.await(t, conn.LocalAddr().String(), "tunnel_refused")
	for _, key := range []string{"policy", "rule", "snapshot"} {
		if value, ok := line[key]; ok {
			t.Errorf("%s is %q", key, value)
		}
	}
	if line["why"] == nil || line["fix"] == nil {
		t.Errorf("%v", line)
	}
}

// A device's DNS, from the device's tunnel to the zone's server.
func TestDeviceDNS(t *testing.T) {
	if gateway.DeviceDNS != stub.DeviceDNS {
		t.Errorf("%s is not %s", gateway.DeviceDNS, stub.DeviceDNS)
	}
	w := newWorld(t)
	server := newNameServer(t, map[string]string{"inner.example.com": "10.20.0.1", "evil.example.com": "10.20.0.2"})
	must(t, w.Reload(w.config(zoned(server.addr))))
	conn := w.dial(true)
	defer conn.Close()
	must(t, socks.ClientHandshake(t.Context(), conn, socks.Auth{User: "u", Password: w.issue().Handle.Reveal()}, gateway.DeviceDNS, stub.DevicePort))
	ask := &dns.Conn{Conn: conn}
	for _, c := range []struct {
		name  string
		rcode int
		addr  string
	}{
		{"inner.example.com.", dns.RcodeSuccess, "10.20.0.1"},
		{"mail.example.com.", dns.RcodeSuccess, "127.0.0.1"},
		{"evil.example.com.", dns.RcodeRefused, ""},
		{"gateway3.example.com.", dns.RcodeRefused, ""},
		{"reports.example.com.", dns.RcodeRefused, ""},
	} {
		question := new(dns.Msg)
		question.SetQuestion(c.name, dns.TypeA)
		must(t, ask.WriteMsg(question))
		answer, err := ask.ReadMsg()
		must(t, err)
		got := ""
		if len(answer.Answer) == 1 {
			got = answer.Answer[0].(*dns.A).A.String()
		}
		if answer.Rcode != c.rcode || got != c.addr {
			t.Errorf("%s: %s %q", c.name, dns.RcodeToString[answer.Rcode], got)
		}
	}
	// Another file, another view: the device asks again, by a tunnel of its own.
	must(t, w.Reload(w.config(file)))
	if _, err := ask.ReadMsg(); err == nil {
		t.Error("the old view answers")
	}
	conn.Close()
	line := w.log.await(t, conn.LocalAddr().String(), "tunnel_closed")
	if line["service"] != nil || line["to"] != gateway.DeviceDNS || line["reason"] != "service_closed" {
		t.Errorf("%v", line)
	}
	w.log.await(t, conn.LocalAddr().String(), "tunnel_opened")
}

// What stands behind the gateway is known before the first tunnel, which might lead
// there: by the name that the machine itself knows, a short one of /etc/hosts too.
func TestOwnAddressesAreKnownFromTheStart(t *testing.T) {
	w := newWorldOf(t, strings.NewReplacer(
		"[local]", "[local, {id: STA02, url: 'https://localhost:1', key_file: enrolment.key, pin: 'sha256:"+strings.Repeat("A", 43)+"'}]",
		"mail.example.com:PORT", "mail.example.com:PORT,alias.example.com:1",
		"{mail.example.com: [127.0.0.1]}", "{mail.example.com: [127.0.0.1], alias.example.com: [127.0.0.1]}",
	).Replace(file))
	line := w.refusedLine(t, w.issue().Handle.Reveal(), "alias.example.com", 1)
	if line["reason"] != "address_own" {
		t.Errorf("%v", line)
	}
}

// refusedLine wants a tunnel refused, and gives the line about it.
func (w *world) refusedLine(t *testing.T, handle, host string, port uint16) map[string]any {
	t.Helper()
	conn := w.dial(true)
	defer conn.Close()
	err := socks.ClientHandshake(t.Context(), conn, socks.Auth{User: "u", Password: handle}, host, port)
	var reply *socks.ReplyError
	if !errors.As(err, &reply) {
		t.Errorf("%s: %v", host, err)
	}
	return w.log.await(t, conn.LocalAddr().String(), "tunnel_refused")
}

func (w *world) portNumber(t *testing.T) uint16 {
	t.Helper()
	return w.service.Addr().(*net.TCPAddr).AddrPort().Port()
}
