package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// reasons are all there are for failures.
func reasons() []string {
	return []string{Refused, Ticket, TLS, Timeout, Reset, Ended, Garbled, Descriptors, Ports, Source, Other}
}

// few set-ups, for what fails.
func few() Scenario {
	return Scenario{Kind: Setup, Rate: 50, Sustain: 80 * time.Millisecond, UpBytes: 10, DownBytes: 100}
}

// Every reason on the list but "other", "ports" and "descriptors" is provoked for real;
// the last needs a process of its own, below, and ports a host without any.
func TestFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	socksGateway, httpsGateway := w.socks(t), w.https(t)
	nobody := w.listen(t)
	_ = nobody.Close()
	answering := func(serve func(net.Conn)) string { return w.accept(t, w.listen(t), serve) }
	seen := make(map[string]bool)
	cases := []struct {
		name, want, way, address string
		change                   func(*Plan)
	}{
		{"nobody listens", Refused, "socks", nobody.Addr().String(), nil},
		{"SOCKS cannot reach the service", Refused, "socks", socksGateway, func(p *Plan) { p.Service = nobody.Addr().String() }},
		{"a proxy forbids", Refused, "https", httpsGateway, func(p *Plan) { p.Service = "elsewhere.example.com:443" }},
		{"SOCKS refuses the ticket", Ticket, "socks", socksGateway, func(p *Plan) { p.Endpoint.Tickets = []string{"wrong"} }},
		{"a proxy refuses the ticket", Ticket, "https", httpsGateway, func(p *Plan) { p.Endpoint.Tickets = nil }},
		{"an unknown authority", TLS, "tls", w.tls(t), func(p *Plan) { p.Endpoint.CA = newWorld(t).ca }},
		{"another name", TLS, "tls", w.tls(t), func(p *Plan) { p.Endpoint.ServerName = "mail.example.com" }},
		{"no TLS", TLS, "tls", answering(func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); drain(c) }), nil},
		{"a client certificate is wanted", TLS, "tls", w.demanding(t), nil},
		{"no answer to the handshake", Timeout, "tls", answering(drain), nil},
		{"no answer to SOCKS", Timeout, "socks", w.gateway(t, drain), nil},
		{"no answer to CONNECT", Timeout, "https", w.gateway(t, drain), nil},
		{"no answer to the ask", Timeout, "tcp", answering(drain), nil},
		{"reset", Reset, "tcp", answering(reset), nil},
		{"the gateway hangs up", Ended, "tls", w.gateway(t, func(net.Conn) {}), nil},
		{"hung up within CONNECT", Ended, "https", w.gateway(t, readSome), nil},
		{"the service speaks another protocol", Garbled, "tls", w.gateway(t, func(c net.Conn) {
			readSome(c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		}), nil},
		{"the proxy speaks another protocol", Garbled, "https", w.gateway(t, func(c net.Conn) {
			readSome(c)
			_, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n\r\n")
		}), nil},
		{"the gateway is no SOCKS server", Garbled, "socks", w.gateway(t, func(c net.Conn) { readSome(c); _, _ = io.WriteString(c, "HTTP/1.1 400") }), nil},
		{"a source that is not ours", Source, "tcp", w.service, func(p *Plan) { p.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.1")} }},
	}
	together(len(cases), func(i int) {
		tt := cases[i]
		t.Run(tt.name, func(t *testing.T) {
			p := w.plan(tt.way, tt.address, few())
			p.Patience = 100 * time.Millisecond
			if tt.want != Timeout {
				p.Patience = 5 * time.Second
			}
			if tt.change != nil {
				tt.change(&p)
			}
			r := run(t, p)
			if gaveUp := rowOf(r, "setup").GaveUp; gaveUp.Count() != 4 || tt.want == Timeout && gaveUp.Quantile(0) < p.Patience*99/100 {
				t.Errorf("gave up %d, after %v", gaveUp.Count(), gaveUp.Quantile(0))
			}
			if r.Scheduled != 4 || r.Failed != 4 || r.Failures[tt.want] != 4 {
				t.Errorf("%d scheduled, failed %v; want 4 times %q", r.Scheduled, r.Failures, tt.want)
			}
		})
	})
	for _, tt := range cases {
		seen[tt.want] = true
	}
	for _, why := range reasons() {
		if !seen[why] && why != Descriptors && why != Ports && why != Other {
			t.Errorf("nothing fails for %q", why)
		}
	}
}

func drain(c net.Conn)    { _, _ = io.Copy(io.Discard, c) }
func readSome(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) }

func reset(c net.Conn) {
	readSome(c)
	_ = c.(*net.TCPConn).SetLinger(0)
}

// A process that runs out of descriptors says so. The tunnels that it can open stand
// until long after the last was tried, so that none of them makes room for another.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Idle, Devices: 100, Ramp: 100 * time.Millisecond, Sustain: 3 * time.Second}
	plan, err := json.Marshal(w.plan("tcp", w.service, s))
	if err != nil {
		t.Fatal(err)
	}
	self := exec.CommandContext(t.Context(), os.Args[0])
	self.Env = append(os.Environ(), quickExit, asPauper+"="+string(plan))
	self.Stderr = os.Stderr
	out, err := self.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	// What was opened late, on a busy machine, is used, and not among those held.
	if n := r.Outside[Descriptors]; n < 50 || r.Done+n != 100 || r.Held > r.Done || r.Failed != 0 {
		t.Errorf("%d held, %d used; %v, failed %v", r.Held, r.Done, r.Outside, r.Failures)
	}
}

// pauper runs a plan with 40 descriptors.
func pauper(plan string) int {
	var p Plan
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: old.Max}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	r, err := Run(context.Background(), p, Observer{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 2
	}
	return 0
}

// A status says whether the credential or the tunnel is refused.
func TestStatusReason(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusProxyAuthRequired: Ticket, http.StatusUnauthorized: Ticket,
		http.StatusForbidden: Refused, http.StatusBadGateway: Refused, http.StatusMovedPermanently: Refused,
	} {
		if got := reason(&httpError{status}); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
	if got := reason(fmt.Errorf("something else")); got != Other || !slices.Contains(reasons(), got) {
		t.Errorf("%s", got)
	}
}

// An address to dial from that is not this host's is no want of ports.
func TestForeignSource(t *testing.T) {
	t.Parallel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, Timeout: time.Second}
	_, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:9")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || reason(err) != Source {
		t.Errorf("%v: %s", err, reason(err))
	}
	if err := os.NewSyscallError("connect", syscall.EADDRNOTAVAIL); reason(err) != Ports {
		t.Errorf("%v: %s", err, reason(err))
	}
}

// Each bad field is named, in an error of its own; none of them shows a ticket.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		field  string
		kind   string
		change func(*Plan)
	}{
		{"scenario.kind", Setup, func(p *Plan) { p.Scenario = Default("flood") }},
		{"scenario.rate", Setup, func(p *Plan) { p.Scenario.Rate = 0 }},
		{"scenario.rate", Setup, func(p *Plan) { p.Scenario.Rate = 1e9 }},
		{"scenario.rate", Idle, func(p *Plan) { p.Scenario.Rate = 1 }},
		{"scenario.devices", Idle, func(p *Plan) { p.Scenario.Devices = -1 }},
		{"scenario.devices", Requests, func(p *Plan) { p.Scenario.Devices, p.Of = 3, 4 }},
		{"scenario.devices", Day, func(p *Plan) { p.Scenario.Devices, p.Of = 5, 2 }},
		{"scenario.devices", Bulk, func(p *Plan) { p.Scenario.Devices = 1 }},
		{"scenario.streams", Bulk, func(p *Plan) { p.Scenario.Streams = 0 }},
		{"scenario.direction", Bulk, func(p *Plan) { p.Scenario.Direction = "sideways" }},
		{"scenario.direction", Setup, func(p *Plan) { p.Scenario.Direction = "up" }},
		{"scenario.up_bytes", Bulk, func(p *Plan) { p.Scenario.Direction, p.Scenario.UpBytes = "up", 0 }},
		{"scenario.up_bytes", Setup, func(p *Plan) { p.Scenario.UpBytes = -1 }},
		{"scenario.down_bytes", Setup, func(p *Plan) { p.Scenario.DownBytes = 1 << 50 }},
		{"scenario.down_bytes", Bulk, func(p *Plan) { p.Scenario.DownBytes = 0 }},
		{"scenario.write", Setup, func(p *Plan) { p.Scenario.Write = 1 << 20 }},
		{"scenario.ramp", Idle, func(p *Plan) { p.Scenario.Ramp = 0 }},
		{"scenario.ramp", Setup, func(p *Plan) { p.Scenario.Ramp = -1 }},
		{"scenario.sustain", Setup, func(p *Plan) { p.Scenario.Sustain = 0 }},
		{"scenario.down", Setup, func(p *Plan) { p.Scenario.Down = -1 }},
		{"scenario.within", Storm, func(p *Plan) { p.Scenario.Within = 2 * p.Scenario.Sustain }},
		{"scenario.within", Storm, func(p *Plan) { p.Scenario.Ramp = time.Hour }},
		{"scenario.within", Idle, func(p *Plan) { p.Scenario.Within = 1 }},
		{"scenario.warm", Storm, func(p *Plan) { p.Scenario.Warm = 1.1 }},
		{"scenario.warm", Morning, func(p *Plan) { p.Scenario.Warm = 0.1 }},
		{"scenario.heartbeat", Push, func(p *Plan) { p.Scenario.Heartbeat[0] = time.Hour }},
		{"scenario.heartbeat", Push, func(p *Plan) { p.Scenario.Scale = 0.5 }},
		{"scenario.heartbeat", Setup, func(p *Plan) { p.Scenario.Heartbeat[1] = 1 }},
		{"scenario.scale", Push, func(p *Plan) { p.Scenario.Scale = -1 }},
		{"scenario.trigger", Idle, func(p *Plan) { p.Scenario.Trigger = []string{"true"} }},
		{"scenario.up_bytes", Push, func(p *Plan) { p.Scenario.UpBytes = 1 }},
		{"scenario.down_bytes", Attachments, func(p *Plan) { p.Scenario.DownBytes = 1 }},
		{"scenario.poisson", Bulk, func(p *Plan) { p.Scenario.Poisson = true }},
		{"scenario.accounts", Extender, func(p *Plan) { p.Scenario.Accounts = 0 }},
		{"scenario.mailboxes", Push, func(p *Plan) { p.Scenario.Mailboxes = 1 }},
		{"endpoint.way", Setup, func(p *Plan) { p.Endpoint.Way = "udp" }},
		{"endpoint.address", Setup, func(p *Plan) { p.Endpoint.Address = "gateway.example.com" }},
		{"endpoint.server_name", Setup, func(p *Plan) { p.Endpoint.Address, p.Endpoint.ServerName = ":443", "" }},
		{"endpoint.curve", Setup, func(p *Plan) { p.Endpoint.Curve = "P-192" }},
		{"endpoint.curve", Setup, func(p *Plan) { p.Endpoint.Curve, p.Endpoint.TLS12 = "X25519MLKEM768", true }},
		{"endpoint.alpn", Setup, func(p *Plan) { p.Endpoint.ALPN = strings.Repeat("x", 256) }},
		{"endpoint.user", Setup, func(p *Plan) { p.Endpoint.User = strings.Repeat("x", 256) }},
		{"endpoint.tickets", Setup, func(p *Plan) { p.Endpoint.Tickets = []string{goodTicket + "\r\nX: y"} }},
		{"endpoint.tickets", Setup, func(p *Plan) { p.Endpoint.Tickets = []string{strings.Repeat(goodTicket, 8)} }},
		{"service", Setup, func(p *Plan) { p.Service = "sink:http" }},
		{"service", Setup, func(p *Plan) { p.Service = "sink\r\nX-Other: header:443" }},
		{"service", Setup, func(p *Plan) { p.Service = strings.Repeat("x", 256) + ":443" }},
		{"endpoint.server_name", Setup, func(p *Plan) { p.Endpoint.ServerName = "gate way" }},
		{"sources[1]", Setup, func(p *Plan) { p.Sources = []netip.Addr{netip.IPv6Loopback(), {}} }},
		{"of", Setup, func(p *Plan) { p.Of = 0 }},
		{"share", Setup, func(p *Plan) { p.Share = 1 }},
		{"max_in_flight", Setup, func(p *Plan) { p.MaxInFlight = 0 }},
		{"patience", Setup, func(p *Plan) { p.Patience = 0 }},
	} {
		p := w.plan("socks", w.service, Default(tt.kind))
		if err := p.Check(); err != nil {
			t.Fatalf("%s as it comes: %v", tt.kind, err)
		}
		tt.change(&p)
		err := p.Check()
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+tt.field+": ") || strings.Contains(err.Error(), goodTicket) {
			t.Errorf("%s: %v", tt.field, err)
		}
		if _, again := Run(t.Context(), p, Observer{}); again == nil {
			t.Errorf("%s: it is run", tt.field)
		}
	}
}

// No way of printing or redacting a plan shows a ticket; sending it does.
func TestTicketsAreHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.plan("socks", w.service, Default(Revoke))
	p.Scenario.Trigger = []string{"revoke", "--key", goodTicket}
	redacted, err := json.Marshal(p.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	e := p.Endpoint
	for _, s := range []string{string(redacted), fmt.Sprint(e), fmt.Sprintf("%+v %#v %s %x", e, &e, e, e)} {
		if strings.Contains(s, goodTicket) || strings.Contains(s, fmt.Sprintf("%x", goodTicket)) {
			t.Errorf("shows: %s", s)
		}
	}
	sent, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(sent), goodTicket) || p.Endpoint.Tickets[0] != goodTicket || len(p.Scenario.Trigger) != 3 {
		t.Errorf("redacting changed the plan itself: %s, %v", sent, err)
	}
}

// The first error of a reason is told in its own words, bounded, and none of another list.
func TestWords(t *testing.T) {
	words := saying(nil, TLS, "x509: "+strings.Repeat("é", 200))
	words = saying(saying(words, TLS, "later"), "made up", "by another host")
	if got := words[TLS]; !strings.HasPrefix(got, "x509: é") || len(got) > 200 || !utf8.ValidString(got) || len(words) != 1 {
		t.Errorf("%q", words)
	}
	if got := Merge(Result{Words: words}, Result{Words: map[string]string{TLS: "other", Ended: "EOF"}}).Words; got[TLS] != words[TLS] || got[Ended] != "EOF" {
		t.Errorf("%q", got)
	}
}
