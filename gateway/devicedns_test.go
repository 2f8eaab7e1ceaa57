package gateway_test

import (
	"context"
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

// A device knows what it may reach, and nothing else.
func TestView(t *testing.T) {
	w, d := dnsWorld(t, "")
	local := addrs("127.0.0.1")
	s := w.snapshot("mail.example.com:443,mail.example.com:993,*.wild.example.com:443,gw.example.com:443,"+
		"both.example.com:443,both.example.com:8443,9.9.9.9:443", netip.AddrPort{})
	s.DNS = d
	s.OwnNames = map[string][]uint16{"gw.example.com": {443}, "both.example.com": {443}}
	s.Address = policy.NewAddressRules(policy.AddressConfig{
		OwnNames: s.OwnNames, Pinned: map[string][]netip.Addr{"mail.example.com": local},
		Own: []netip.AddrPort{netip.MustParseAddrPort("8.8.4.4:443")},
	})
	w.gateway.Use(s)
	view := func(change func(*sta.IssueRequest)) *gateway.View {
		w.mustOpen(w.issue(change).Handle.Reveal(), gateway.DeviceDNS, 53).Close()
		return next(t, d.views, "view")
	}
	whole := view(nil)
	narrow := view(func(r *sta.IssueRequest) {
		r.Services = []string{"mail.example.com:993", "evil.example.org:443", "a.b.wild.example.com:443"}
	})
	nothing := view(func(r *sta.IssueRequest) { r.Services = []string{"evil.example.org:443"} })

	type row struct {
		what                     string
		whole, narrowed, nothing bool
	}
	for _, c := range []struct {
		row
		ask func(*gateway.View) bool
	}{
		{row{"knows a name", true, true, false}, knows("mail.example.com")},
		{row{"knows one under a wildcard", true, false, false}, knows("a.wild.example.com")},
		{row{"knows one under both", true, true, false}, knows("a.b.wild.example.com")},
		{row{"knows the wildcard's own", false, false, false}, knows("wild.example.com")},
		{row{"knows what is not listed", false, false, false}, knows("evil.example.org")},
		{row{"knows a name in another spelling", false, false, false}, knows("MAIL.example.com")},
		{row{"knows a name with a dot", false, false, false}, knows("mail.example.com.")},
		{row{"knows an address", false, false, false}, knows("9.9.9.9")},
		{row{"knows nothing", false, false, false}, knows("")},
		{row{"knows the gateway", false, false, false}, knows("gw.example.com")},
		{row{"knows what else is there", true, false, false}, knows("both.example.com")},
		{row{"holds a domain", true, true, false}, holds("example.com")},
		{row{"holds a name's own", true, true, false}, holds("mail.example.com")},
		{row{"holds a domain under a wildcard", true, false, false}, holds("x.wild.example.com")},
		{row{"holds a domain over one", true, true, false}, holds("wild.example.com")},
		{row{"holds another's", false, false, false}, holds("example.org")},
		{row{"holds half a label", false, false, false}, holds("ple.com")},
		{row{"holds what is no name", false, false, false}, holds("EXAMPLE.com")},
		{row{"reaches a public address", true, true, false}, reaches("mail.example.com", "8.8.8.8")},
		{row{"reaches a pinned one", true, true, false}, reaches("mail.example.com", "127.0.0.1")},
		{row{"reaches one pinned to another", false, false, false}, reaches("a.b.wild.example.com", "127.0.0.1")},
		{row{"reaches a private one", false, false, false}, reaches("mail.example.com", "10.0.0.1")},
		{row{"reaches our own on another port", true, true, false}, reaches("mail.example.com", "8.8.4.4")},
		{row{"reaches our own", false, false, false}, reaches("a.b.wild.example.com", "8.8.4.4")},
		{row{"reaches the gateway", false, false, false}, reaches("gw.example.com", "8.8.8.8")},
		{row{"opens a port", true, false, false}, opens("mail.example.com", 443)},
		{row{"opens another port", true, true, false}, opens("mail.example.com", 993)},
		{row{"opens a port that is not listed", false, false, false}, opens("mail.example.com", 25)},
		{row{"opens the gateway's", false, false, false}, opens("gw.example.com", 443)},
		{row{"opens what is there beside ours", true, false, false}, opens("both.example.com", 8443)},
		{row{"opens ours", false, false, false}, opens("both.example.com", 443)},
	} {
		if got := (row{c.what, c.ask(whole), c.ask(narrow), c.ask(nothing)}); got != c.row {
			t.Errorf("%+v, want %+v", got, c.row)
		}
	}
}

func knows(name string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Knows(name) }
}

func holds(domain string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Holds(domain) }
}

func reaches(name, addr string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Reaches(name, netip.MustParseAddr(addr)) }
}

func opens(name string, port uint16) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Opens(name, port) }
}
