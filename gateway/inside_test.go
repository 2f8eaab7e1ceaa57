package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// plainDoor is a carrier that presents what the test says and takes a destination as
// a line: a quoted host, a blank and a port. It answers with a line.
type plainDoor struct {
	net.Listener
	presents tunnel.Credential
}

func (l plainDoor) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{TCPConn: conn.(*net.TCPConn), presents: l.presents}, nil
}

type plainConn struct {
	*net.TCPConn
	presents tunnel.Credential
	admitted tunnel.Admission
}

var _ tunnel.Carried = (*plainConn)(nil)

func (c *plainConn) Abort() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (c *plainConn) peer() netip.AddrPort { return c.RemoteAddr().(*net.TCPAddr).AddrPort() }

func (c *plainConn) Peer() tunnel.Peer { return tunnel.Peer{Carrier: "inside", Remote: c.peer()} }

func (c *plainConn) Negotiation(a tunnel.Admission) tunnel.Negotiation {
	c.admitted = a
	return plainNegotiation{c}
}

type plainNegotiation struct{ c *plainConn }

func (n plainNegotiation) Peer() tunnel.Peer { return n.c.admitted.Peer }

func (n plainNegotiation) Credential(context.Context) (tunnel.Credential, error) {
	return n.c.presents, nil
}

func (n plainNegotiation) Destination(context.Context) (tunnel.Destination, error) {
	var line []byte
	for one := make([]byte, 1); one[0] != '\n'; line = append(line, one[0]) {
		if _, err := io.ReadFull(n.c.TCPConn, one); err != nil {
			return tunnel.Destination{}, err
		}
	}
	var d tunnel.Destination
	_, err := fmt.Sscanf(string(line), "%q %d\n", &d.Host, &d.Port)
	if addr, isAddr := strings.CutPrefix(d.Host, "addr "); isAddr {
		d.Host, d.Addr = "", netip.MustParseAddr(addr)
	}
	d.InCredential = d == tunnel.Destination{}
	return d, err
}

func (n plainNegotiation) Refuse(err error) {
	var r *tunnel.Refusal
	if errors.As(err, &r) {
		fmt.Fprintf(n.c, "%d %s\n", r.Status, r.Label)
	}
	_ = n.c.Close()
}

func (n plainNegotiation) Succeed() (tunnel.Stream, error) {
	if err := n.c.admitted.Settle(); err != nil {
		return nil, err
	}
	_, err := io.WriteString(n.c, "good\n")
	return n.c, errors.Join(err, n.c.SetDeadline(time.Time{}))
}

// openDoor serves a handler over a plainDoor and gives its address.
func (w *world) openDoor(h tunnel.Handler, presents tunnel.Credential) string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	server, err := tunnel.NewServer(tunnel.Config{Handler: h})
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ctx, plainDoor{listener, presents}) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return listener.Addr().String()
}

// inside puts a list in force for the inside door, with the rest of the world as it
// was, and opens one.
func (w *world) inside(list string) (addr string) {
	w.t.Helper()
	w.useInside(list)
	return w.openDoor(w.gateway.Inside(), tunnel.Credential{By: tunnel.ByNothing})
}

func (w *world) useInside(list string) {
	w.t.Helper()
	own := netip.MustParseAddrPort(w.addr)
	_, ownPort, _ := net.SplitHostPort(w.addr)
	s := w.snapshot("mail.example.com:"+w.service, own)
	s.DNS = noDNS{}
	s.Inside = w.insideList(strings.NewReplacer("PORT", w.service, "OWN", ownPort).Replace(list))
	w.gateway.Use(s)
}

// noDNS is a DNS for devices, who are not here.
type noDNS struct{}

func (noDNS) ServeDNS(context.Context, net.Conn, *gateway.View) error { return io.ErrUnexpectedEOF }

func (w *world) insideList(list string) *policy.Policy {
	w.t.Helper()
	if list == "" {
		return nil
	}
	p, err := policy.Compile("inside", policy.Spec{Services: list})
	must(w.t, err)
	return p
}

// knock asks the door for a destination, and gives the connection and what it said.
func (w *world) knock(door, host string, port uint16) (*net.TCPConn, string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", door)
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	fmt.Fprintf(conn, "%q %d\n", host, port)
	answer, err := readLine(conn)
	must(w.t, err)
	return conn.(*net.TCPConn), answer
}

// readLine reads a line, and nothing of what is behind it.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; line = append(line, one[0]) {
		if _, err := io.ReadFull(r, one); err != nil || one[0] == '\n' {
			return string(line), err
		}
	}
}

// A server within has no ticket, and its tunnel has all the rest of a life.
func TestInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	door := w.inside("mail.example.com:PORT")
	conn, answer := w.knock(door, "Mail.Example.com.", w.port)
	if answer != "good" {
		t.Fatalf("answer: %q", answer)
	}
	echo(t, conn, "EWS")
	a := next(t, w.opened, "opened")
	if !a.Inside || a.Claims != nil || a.Policy != "inside" || a.Decision.Rule != "inside/services[1]" ||
		a.Snapshot != w.insideList("mail.example.com:"+w.service).Snapshot() || a.Peer.Carrier != "inside" || a.To.Port() != w.port {
		t.Errorf("attempt: %+v", a)
	}
	if n := w.gateway.Live(); n != 1 {
		t.Errorf("%d live", n)
	}
	must(t, conn.CloseWrite())
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
	closed := next(t, w.accounts, "account")
	if closed.attempt != a || closed.of.Up != 4 || closed.of.Down != 4 || closed.of.Err != nil {
		t.Errorf("account: %+v", closed.of)
	}
	if n := w.gateway.Live(); n != 0 {
		t.Errorf("%d live", n)
	}
}

// What the inside door refuses, and how that is explained. The list of devices opens
// nothing there, and nor do their names for the gateway's own services.
func TestInsideRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	door := w.inside("a.wild.example.com:PORT,own.example.com:OWN,private.example.com:PORT,metadata.example.com:PORT," +
		"gone.example.com:PORT," + gateway.DeviceDNS + ":53")
	own := netip.MustParseAddrPort(w.addr).Port()
	const inList = "gateway.inside.services"
	for host, c := range map[string]struct {
		port               uint16
		answer, why, fix   string
		lookedUp, wantsNot string
	}{
		"mail.example.com":          {w.port, "403 not_listed", "not listed in policy inside", "add mail.example.com:" + w.service + " to " + inList, "", "mail.example.com"},
		"a.wild.example.com":        {1, "403 not_listed", "it is listed with port " + w.service, "to " + inList, "", ""},
		"127.9.9.9":                 {w.port, "403 address_not_listed", "not listed in policy inside", inList, "", ""},
		"addr 127.9.9.9":            {w.port, "403 address_not_listed", "not listed in policy inside", inList, "", ""},
		"own.example.com":           {own, "403 address_own", "a listener of the gateway", "off " + inList, "own.example.com", ""},
		"private.example.com":       {w.port, "403 address_private", "a private address", "splitdns", "private.example.com", ""},
		"metadata.example.com":      {w.port, "403 address_pinned_only", "metadata", "splitdns.hosts", "metadata.example.com", ""},
		"gone.example.com":          {w.port, "502 name_not_found", "not found", "splitdns.hosts", "gone.example.com", ""},
		gateway.DeviceDNS:           {53, "403 not_listed", "not offered under policy inside", "", "", gateway.DeviceDNS},
		";40;STA01;" + "0123456789": {w.port, "403 host_credential", "no host", "", "", ""},
		"":                          {0, "403 no_destination", "neither client", "", "", ""},
	} {
		if _, answer := w.knock(door, host, c.port); answer != c.answer {
			t.Errorf("%s: answer %q, want %q", host, answer, c.answer)
		}
		r := next(t, w.refused, "refusal")
		j := r.attempt.Judgement()
		if !r.attempt.Inside || r.attempt.Claims != nil || j == nil || !strings.Contains(j.Why, c.why) || !strings.Contains(j.Fix, c.fix) {
			t.Errorf("%s: %+v", host, j)
		}
		if c.lookedUp != "" && !w.resolver.wasAsked(c.lookedUp) || c.wantsNot != "" && w.resolver.wasAsked(c.wantsNot) {
			t.Errorf("%s: look-ups %v", host, w.resolver.asked)
		}
	}
	if n := w.gateway.Live(); n != 0 {
		t.Errorf("%d live", n)
	}
}

// Without a list nothing is open, and a list holds for new tunnels only.
func TestInsideReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	door := w.inside("mail.example.com:PORT")
	conn, _ := w.knock(door, "mail.example.com", w.port)
	w.useInside("")
	if _, answer := w.knock(door, "mail.example.com", w.port); answer != "403 not_listed" {
		t.Errorf("with no list: %q", answer)
	}
	r := next(t, w.refused, "refusal")
	if j := r.attempt.Judgement(); j.Why != "policy: the inside door opens nothing" ||
		j.Fix != "add mail.example.com:"+w.service+" to gateway.inside.services" {
		t.Errorf("with no list: %+v", j)
	}
	w.useInside("a.wild.example.com:PORT")
	if _, answer := w.knock(door, "mail.example.com", w.port); answer != "403 not_listed" {
		t.Errorf("with another list: %q", answer)
	}
	if _, answer := w.knock(door, "a.wild.example.com", w.port); answer != "good" {
		t.Errorf("with another list: %q", answer)
	}
	echo(t, conn, "from before")
}

// Each door lets in only who presents what it takes.
func TestWrongDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.useInside("mail.example.com:PORT")
	handle := w.issue(nil).Handle.Reveal()
	for name, c := range map[string]struct {
		handler  tunnel.Handler
		presents tunnel.Credential
		answer   string
	}{
		"nothing, outside":             {w.gateway, tunnel.Credential{By: tunnel.ByNothing}, "407 malformed"},
		"a ticket for nothing":         {w.gateway, tunnel.Credential{By: tunnel.ByNothing, Secret: handle}, "407 not_supported"},
		"a ticket, inside":             {w.gateway.Inside(), tunnel.Credential{By: tunnel.ByHeader, Secret: handle}, "403 not_inside"},
		"an empty ticket, inside":      {w.gateway.Inside(), tunnel.Credential{By: tunnel.ByHeader}, "403 not_inside"},
		"a ticket, as if it were none": {w.gateway.Inside(), tunnel.Credential{By: tunnel.ByNothing, Secret: handle}, "403 not_inside"},
	} {
		if _, answer := w.knock(w.openDoor(c.handler, c.presents), "mail.example.com", w.port); answer != c.answer {
			t.Errorf("%s: %q, want %q", name, answer, c.answer)
		}
		if r := next(t, w.refused, "refusal"); strings.Contains(r.why.Text, handle) || r.attempt.Judgement() == nil {
			t.Errorf("%s: %+v", name, r.why)
		}
	}
}

// No revocation, key or expiry ends the tunnel of who has no ticket; shutdown does.
func TestInsideEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	door := w.inside("mail.example.com:PORT")
	conn, _ := w.knock(door, "mail.example.com", w.port)
	next(t, w.opened, "opened")
	now := w.clock.now().Add(time.Hour)
	for _, who := range []string{authority, ""} {
		for _, r := range []*ticket.Revocation{{All: true, Cut: now}, {User: "", Cut: now}, {Ticket: ""}, {Stage: time.Hour, Time: now, All: true, Cut: now}} {
			if n := w.gateway.Cut(who, r); n != 0 {
				t.Errorf("%q: %+v ends %d", who, r, n)
			}
		}
		if n := w.gateway.CutKeys(&ticket.KeySet{Authority: who}); n != 0 {
			t.Errorf("%q: a key set ends %d", who, n)
		}
	}
	w.clock.advance(10 * 365 * 24 * time.Hour)
	echo(t, conn, "still here")
	if n := w.gateway.EndAll(); n != 1 {
		t.Errorf("shutdown ends %d", n)
	}
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("it goes on")
	}
	if a := next(t, w.accounts, "account"); a.of.Reason != string(gateway.EndedShutdown) || !a.attempt.Inside {
		t.Errorf("account: %+v", a.of)
	}
}

// The inside door is fooled by nothing that fooled other gateways.
func TestTricksInside(t *testing.T) {
	t.Parallel()
	w := newTrickWorld(t)
	s := w.snapshot("other.example.com:1", netip.AddrPort{})
	s.Address = policy.NewAddressRules(policy.AddressConfig{Pinned: map[string][]netip.Addr{"mail.example.com": {w.mail.Addr()}}})
	s.Inside = w.insideList("mail.example.com:" + w.service)
	w.gateway.Use(s)
	door := w.openDoor(w.gateway.Inside(), tunnel.Credential{By: tunnel.ByNothing})
	sent := w.playTricks(t, func(k trick) (bool, bool, []string) {
		host := k.value
		if k.kind != "name" {
			host = "addr " + host
		}
		conn, answer := w.knock(door, host, w.port)
		conn.Close()
		return answer == "good", true, nil
	})
	if sent < 300 {
		t.Errorf("%d rows only", sent)
	}
}

// A device's tunnel counts beside those from within, and what ends it leaves them. An
// address is matched back to the names of the list that it is judged by.
func TestInsideBesideDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	door := w.inside("a.wild.example.com:PORT")
	w.mustOpen(w.issue(nil).Handle.Reveal(), "127.0.0.1", w.port)
	if a := next(t, w.opened, "opened"); a.Inside || a.Claims == nil || a.Matched != "mail.example.com" {
		t.Errorf("a device: %+v", a)
	}
	for host, matched := range map[string]string{
		"a.wild.example.com": "", "127.0.0.1": "a.wild.example.com", "addr 127.0.0.1": "a.wild.example.com",
	} {
		if _, answer := w.knock(door, host, w.port); answer != "good" {
			t.Fatalf("%s: %q", host, answer)
		}
		if a := next(t, w.opened, "opened"); a.Matched != matched {
			t.Errorf("%s: matched back to %q", host, a.Matched)
		}
	}
	now := w.clock.now().Add(time.Hour)
	if n := w.gateway.Cut(authority, &ticket.Revocation{All: true, Cut: now}); n != 1 {
		t.Errorf("the revocation ends %d", n)
	}
	next(t, w.accounts, "account")
	if n := w.gateway.Live(); n != 3 {
		t.Errorf("%d live", n)
	}
}
