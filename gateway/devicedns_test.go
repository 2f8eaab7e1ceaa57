package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// echoDNS is a gateway's DNS that echoes, and tells how it was called.
type echoDNS struct {
	views chan *gateway.View
	ended chan error
	rude  bool // hangs up at the first bytes
}

func newDNS() *echoDNS {
	return &echoDNS{views: make(chan *gateway.View, 64), ended: make(chan error, 64)}
}

func (d *echoDNS) ServeDNS(ctx context.Context, conn net.Conn, view *gateway.View) error {
	d.views <- view
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var err error
	if d.rude {
		_, err = io.ReadFull(conn, make([]byte, 2))
	} else if _, err = io.Copy(conn, conn); err == nil {
		_, err = io.WriteString(conn, "bye")
	}
	d.ended <- err
	return err
}

// dnsWorld is a world whose gateway offers it.
func dnsWorld(t *testing.T, list string) (*world, *echoDNS) {
	t.Helper()
	w, d := newWorld(t, options{}), newDNS()
	w.offer(d, list)
	return w, d
}

func (w *world) offer(d *echoDNS, list string) {
	s := w.snapshot(list, netip.AddrPort{})
	if d != nil {
		s.DNS = d
	}
	w.gateway.Use(s)
}

// A device's DNS is a tunnel like any other, but that nothing is dialled: it is
// told, counted, half-closed, accounted.
func TestDeviceDNS(t *testing.T) {
	w, d := dnsWorld(t, "mail.example.com:443")
	conn := w.mustOpen(w.issue(nil).Handle.Reveal(), "DNS.Sallyport.internal.", 53)
	echo(t, conn, "query")
	view := next(t, d.views, "view")
	if !view.Knows("mail.example.com") || view.Knows("evil.example.com") {
		t.Error("not this device's view")
	}
	a := next(t, w.opened, "opened")
	if a.Target.Name != gateway.DeviceDNS || a.Decision.Rule != "default/dns" || a.To.IsValid() {
		t.Errorf("opened %v by %s at %v", a.Target, a.Decision.Rule, a.To)
	}
	if n := w.gateway.Live(); n != 1 {
		t.Errorf("%d live", n)
	}
	must(t, conn.CloseWrite())
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != "bye" {
		t.Errorf("after half-close: %q, %v", rest, err)
	}
	got := next(t, w.accounts, "account")
	if got.of.Up != 6 || got.of.Down != 9 || got.of.Reason != "client_closed" || got.of.Err != nil {
		t.Errorf("account %+v", got.of)
	}
	must(t, next(t, d.ended, "end of the service"))
	if len(w.resolver.asked) > 0 {
		t.Errorf("looked up %v", w.resolver.asked)
	}
}

// Whatever ends a tunnel ends a device's DNS, and what serves it is gone with it.
func TestDeviceDNSEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*world, sta.Issued)
		reason string
	}{
		"revoked": {func(w *world, i sta.Issued) {
			_, err := w.authority.Revoke(w.t.Context(), w.client, sta.RevokeRequest{Ticket: i.ID})
			must(w.t, err)
		}, "revoked"},
		"shutdown":     {func(w *world, _ sta.Issued) { w.gateway.EndAll() }, "shutdown"},
		"another view": {func(w *world, _ sta.Issued) { w.offer(newDNS(), "mail.example.com:443") }, "service_closed"},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := dnsWorld(t, "mail.example.com:443")
			issued := w.issue(nil)
			conn := w.mustOpen(issued.Handle.Reveal(), gateway.DeviceDNS, 53)
			echo(t, conn, "query")
			c.end(w, issued)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("bytes came")
			}
			conn.Close()
			if a := next(t, w.accounts, "account"); a.of.Reason != c.reason {
				t.Errorf("account says %s", a.of.Reason)
			}
			if err := next(t, d.ended, "end of the service"); err == nil {
				t.Error("the service saw a clean end")
			}
		})
	}
}

// It may hang up first.
func TestDeviceDNSHangsUp(t *testing.T) {
	w, d := dnsWorld(t, "mail.example.com:443")
	d.rude = true
	conn := w.mustOpen(w.issue(nil).Handle.Reveal(), gateway.DeviceDNS, 53)
	_, err := io.WriteString(conn, "qu")
	must(t, err)
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	conn.Close()
	if a := next(t, w.accounts, "account"); a.of.Reason != "service_closed" {
		t.Errorf("account says %s (%v)", a.of.Reason, a.of.Err)
	}
}

// A defect that ends the tunnel ends the DNS behind it too.
func TestDeviceDNSEndsWithAPanic(t *testing.T) {
	w, d := newWorld(t, options{panicked: func(tunnel.Peer, any, []byte) {}}), newDNS()
	w.offer(d, "mail.example.com:443")
	close(w.opened) // the hook that writes to it panics
	conn := w.mustOpen(w.issue(nil).Handle.Reveal(), gateway.DeviceDNS, 53)
	next(t, d.ended, "end of the service")
	conn.Close()
}

// A ticket has a few of them at a time, and nothing else is counted with them.
func TestDeviceDNSPerTicket(t *testing.T) {
	w, d := newWorld(t, options{}), newDNS()
	w.offer(d, "mail.example.com:"+w.service)
	handle := w.issue(nil).Handle.Reveal()
	var open []*tls.Conn
	for range 16 {
		open = append(open, w.mustOpen(handle, gateway.DeviceDNS, 53))
		next(t, w.opened, "opened")
	}
	if _, err := w.open(handle, gateway.DeviceDNS, 53); err == nil {
		t.Error("a further one opens")
	}
	r := next(t, w.refused, "refusal")
	if j := r.attempt.Judgement(); r.why.Label != "too_many_tunnels" || j.Reason != r.why.Label || j.Fix == "" {
		t.Errorf("%+v", j)
	}
	echo(t, w.mustOpen(handle, "mail.example.com", w.port), "another destination")
	w.mustOpen(w.issue(nil).Handle.Reveal(), gateway.DeviceDNS, 53)
	open[0].Close()
	for next(t, w.accounts, "account").attempt.Target.Name != gateway.DeviceDNS {
	}
	w.mustOpen(handle, gateway.DeviceDNS, 53)
	if w.gateway.Live() != 16+1+1 {
		t.Errorf("%d live", w.gateway.Live())
	}
}

// The bound on look-ups is the ticket's, in however many tunnels it asks.
func TestDeviceDNSLookUps(t *testing.T) {
	w, d := dnsWorld(t, "mail.example.com:443")
	handle, other := w.issue(nil).Handle.Reveal(), w.issue(nil).Handle.Reveal()
	w.clock.freeze()
	ask := func(handle string, tunnels, times int) (allowed int) {
		for range tunnels {
			conn := w.mustOpen(handle, gateway.DeviceDNS, 53)
			view := next(t, d.views, "view")
			for range times {
				if view.MayAsk() {
					allowed++
				}
			}
			conn.Close()
			next(t, w.accounts, "account")
		}
		return allowed
	}
	if n := ask(handle, 20, 30); n != 100 {
		t.Errorf("%d look-ups at once", n)
	}
	if n := ask(other, 1, 10); n != 10 {
		t.Errorf("another ticket has %d", n)
	}
	later := w.clock.now().Add(time.Second)
	w.clock.frozen.Store(&later)
	if n := ask(handle, 4, 30); n != 20 {
		t.Errorf("%d look-ups in a second", n)
	}
}

// What panics in the DNS ends that tunnel, and somebody is told.
func TestDeviceDNSPanics(t *testing.T) {
	told := make(chan any, 1)
	w := newWorld(t, options{defect: func(value any, _ []byte) { told <- value }})
	s := w.snapshot("mail.example.com:"+w.service, netip.AddrPort{})
	s.DNS = dnsFunc(func(context.Context, net.Conn, *gateway.View) error { panic("a defect") })
	w.gateway.Use(s)
	handle := w.issue(nil).Handle.Reveal()
	conn := w.mustOpen(handle, gateway.DeviceDNS, 53)
	if value := next(t, told, "panic"); value != "a defect" {
		t.Errorf("told of %v", value)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the device does not see a clean end: %v", err)
	}
	conn.Close()
	next(t, w.accounts, "account")
	echo(t, w.mustOpen(handle, "mail.example.com", w.port), "the others go on")
}

// Other address rules hold at once, and end no device's DNS.
func TestUseAddress(t *testing.T) {
	w, d := dnsWorld(t, "mail.example.com:443")
	handle := w.issue(nil).Handle.Reveal()
	conn := w.mustOpen(handle, gateway.DeviceDNS, 53)
	view := next(t, d.views, "view")
	address := netip.MustParseAddr("8.8.8.8")
	if !view.Reaches("mail.example.com", address) {
		t.Error("a public address is not reached")
	}
	released := make(chan struct{})
	s := w.snapshot("mail.example.com:443", netip.AddrPort{})
	s.DNS, s.Release = d, func() { close(released) }
	w.gateway.Use(s)
	conn.Close()
	conn = w.mustOpen(handle, gateway.DeviceDNS, 53)
	view = next(t, d.views, "view")
	w.resolver.answers["mail.example.com"] = []netip.Addr{address}
	w.gateway.UseAddress(policy.NewAddressRules(policy.AddressConfig{
		Own: []netip.AddrPort{netip.AddrPortFrom(address, 443)}, OwnNames: map[string][]uint16{"mail.example.com": {993}},
	}))
	if view.Reaches("mail.example.com", address) {
		t.Error("what is our own now is reached")
	}
	echo(t, conn, "still here")
	if _, err := w.open(handle, "mail.example.com", 443); err == nil {
		t.Error("opens to what is our own")
	}
	if r := next(t, w.refused, "refusal"); r.why.Label != "address_own" {
		t.Errorf("refused by %s", r.why.Label)
	}
	select {
	case <-released:
		t.Error("the snapshot was let go")
	default:
	}
}

// Only that name on that port, by whoever may reach anything, where it is offered.
func TestDeviceDNSRefused(t *testing.T) {
	w, d := dnsWorld(t, "mail.example.com:443")
	handle := w.issue(nil).Handle.Reveal()
	refused := func(why, host string, port uint16, label string) {
		t.Helper()
		_, err := w.open(handle, host, port)
		var reply *socks.ReplyError
		if !errors.As(err, &reply) || reply.Reply != socks.NotAllowed {
			t.Errorf("%s: %v", why, err)
		}
		if r := next(t, w.refused, "refusal"); r.why.Label != label {
			t.Errorf("%s: refused by %s", why, r.why.Label)
		}
	}
	refused("another port", gateway.DeviceDNS, 443, "not_listed")
	refused("below it", "a."+gateway.DeviceDNS, 53, "not_listed")
	// A list cannot lead it elsewhere, and cannot offer it either.
	w.offer(nil, gateway.DeviceDNS+":53,*.sallyport.internal:53")
	refused("not offered", gateway.DeviceDNS, 53, "not_listed")
	set, err := policy.CompileSet(policy.Spec{NetworkAccess: "unrestricted"}, nil)
	must(t, err)
	s := w.snapshot("mail.example.com:443", netip.AddrPort{})
	s.Policies, s.DNS = set, d
	w.gateway.Use(s)
	refused("nothing should come", gateway.DeviceDNS, 53, "not_listed")
	if len(w.resolver.asked) > 0 {
		t.Errorf("looked up %v", w.resolver.asked)
	}
	if len(d.views) > 0 {
		t.Error("served")
	}
}

// The end that the DNS has is a net.Conn in every respect that a server of DNS
// over TCP relies on.
func TestDeviceDNSConn(t *testing.T) {
	w := newWorld(t, options{})
	conns, release := make(chan net.Conn), make(chan struct{})
	s := w.snapshot("mail.example.com:443", netip.AddrPort{})
	s.DNS = dnsFunc(func(_ context.Context, conn net.Conn, _ *gateway.View) error {
		conns <- conn
		<-release
		return nil
	})
	w.gateway.Use(s)
	client := w.mustOpen(w.issue(nil).Handle.Reveal(), gateway.DeviceDNS, 53)
	conn := next(t, conns, "connection")
	must(t, conn.SetReadDeadline(time.Now()))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past its deadline: %v", err)
	}
	must(t, conn.SetDeadline(time.Time{}))
	_, err := io.WriteString(conn, "hello")
	must(t, err)
	if _, err := io.ReadFull(client, make([]byte, 5)); err != nil {
		t.Errorf("%v", err)
	}
	if conn.LocalAddr() == nil || conn.RemoteAddr() == nil {
		t.Error("no addresses")
	}
	must(t, conn.Close())
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := conn.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := io.ReadAll(client); err != nil {
		t.Errorf("the device does not see a clean end: %v", err)
	}
	client.Close()
	close(release)
	next(t, w.accounts, "account")
}

type dnsFunc func(context.Context, net.Conn, *gateway.View) error

func (f dnsFunc) ServeDNS(ctx context.Context, conn net.Conn, view *gateway.View) error {
	return f(ctx, conn, view)
}
