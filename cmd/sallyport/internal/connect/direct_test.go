package connect

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// What goes straight out is looked up where the stub would ask, and leads to what
// that says; neither hears of what goes to the gateway.
func TestStraightOut(t *testing.T) {
	const wiki, www = "wiki.example.com", "www.example.org"
	tests := []struct {
		name  string
		mode  DNSMode
		rcode int       // of the gateway's DNS
		asked [2]string // of the gateway's, of the local one
		reply socks.Reply
	}{
		{wiki, Remote, dns.RcodeSuccess, [2]string{wiki, ""}, socks.Succeeded},
		{wiki, Remote, dns.RcodeRefused, [2]string{wiki, ""}, socks.HostUnreachable},
		{wiki, Remote, dns.RcodeServerFailure, [2]string{wiki, ""}, socks.HostUnreachable},
		{wiki, Remote, dns.RcodeNameError, [2]string{wiki, ""}, socks.HostUnreachable},
		{wiki, Both, dns.RcodeSuccess, [2]string{wiki, ""}, socks.Succeeded},
		{wiki, Both, dns.RcodeRefused, [2]string{wiki, wiki}, socks.Succeeded},
		{wiki, Both, dns.RcodeServerFailure, [2]string{wiki, wiki}, socks.Succeeded},
		{wiki, Both, dns.RcodeNameError, [2]string{wiki, ""}, socks.HostUnreachable},
		{wiki, Local, dns.RcodeSuccess, [2]string{"", wiki}, socks.Succeeded},
		{www, Remote, dns.RcodeSuccess, [2]string{"", www}, socks.Succeeded},
		{www, Both, dns.RcodeSuccess, [2]string{"", www}, socks.Succeeded},
		{gatewayName, Remote, dns.RcodeSuccess, [2]string{"", gatewayName}, socks.Succeeded},
		{gatewayName, Both, dns.RcodeSuccess, [2]string{"", gatewayName}, socks.Succeeded},
		{"localhost", Remote, dns.RcodeSuccess, [2]string{}, socks.Succeeded},
		{"a.localhost", Remote, dns.RcodeSuccess, [2]string{}, socks.Succeeded},
	}
	service := startService(t)
	for _, tt := range tests {
		for _, open := range []opening{openBySOCKS, openByHTTP} {
			g := startGateway(t)
			inside, outside := startResolver(t, "127.0.0.1"), startResolver(t, "127.0.0.1")
			inside.set(tt.rcode)
			g.routes[stub.DeviceDNS+":53"] = inside.addr
			c := g.config(On)
			c.SplitDNS, c.LocalDNS, c.Suffixes = tt.mode, outside.addr, []string{"example.com"}
			conn, reply, told := open(t, c, tt.name, service.Port())
			if reply != tt.reply || told.Via != Direct {
				t.Errorf("%s, %v, %s: %v, told %v", tt.name, tt.mode, dns.RcodeToString[tt.rcode], reply, told)
			}
			if reply == socks.Succeeded {
				exchange(t, conn, "hello")
			}
			for n, r := range []*resolver{inside, outside} {
				if got := r.takeNames(); got != tt.asked[n] {
					t.Errorf("%s, %v, %s: server %d was asked for %q", tt.name, tt.mode, dns.RcodeToString[tt.rcode], n, got)
				}
			}
		}
	}
}

// takeNames gives the names that were asked for, each once.
func (r *resolver) takeNames() string {
	var names []string
	for _, asked := range r.takeAsked() {
		name, _, _ := strings.Cut(asked, ". ")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// opening asks one of the proxies for a connection; HTTP has fewer words.
type opening func(t testing.TB, c Config, host string, port uint16) (*net.TCPConn, socks.Reply, Tunnel)

func openBySOCKS(t testing.TB, c Config, host string, port uint16) (*net.TCPConn, socks.Reply, Tunnel) {
	t.Helper()
	p, told := startProxy(t, c)
	conn, err := dialProxy(t, p, host, port)
	var refused *socks.ReplyError
	switch {
	case errors.As(err, &refused):
		return nil, refused.Reply, <-told
	case err != nil:
		t.Fatal(err)
	}
	return conn, socks.Succeeded, <-told
}

func openByHTTP(t testing.TB, c Config, host string, port uint16) (*net.TCPConn, socks.Reply, Tunnel) {
	t.Helper()
	p, told := startHTTP(t, c)
	conn, response, _ := say(t, p, connectTo(net.JoinHostPort(host, strconv.Itoa(int(port)))))
	if response.StatusCode != http.StatusOK {
		return nil, socks.HostUnreachable, <-told
	}
	return conn, socks.Succeeded, <-told
}

// What goes to the gateway is looked up by nobody here.
func TestThroughTheGatewayNobodyIsAsked(t *testing.T) {
	g, inside, outside, c := dnsWorld(t, Both)
	c.SplitTunnel = On
	g.routes["intranet:443"] = startService(t).String()
	for _, open := range []opening{openBySOCKS, openByHTTP} {
		conn, reply, told := open(t, c, "intranet", 443)
		if reply != socks.Succeeded || told.Via != Gateway {
			t.Fatalf("%v, told %v", reply, told)
		}
		exchange(t, conn, "hello")
		if asked := inside.takeNames() + outside.takeNames(); asked != "" {
			t.Errorf("asked for %s", asked)
		}
	}
}

// Of several addresses the first that can be reached is taken, and the first
// failure told if there is none. None may use up the time of those behind it.
func TestDialFirst(t *testing.T) {
	p, err := New(idleConfig(t, On))
	if err != nil {
		t.Fatal(err)
	}
	service := startService(t)
	nobody := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	conn, err := p.dialFirst(t.Context(), append(nobody, service.Addr()), service.Port())
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, conn, "hello")
	if _, err := p.dialFirst(t.Context(), nobody, service.Port()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("%v", err)
	}

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), setUpLimit)
		defer cancel()
		one, cancel := share(ctx, 3)
		defer cancel()
		if late, _ := one.Deadline(); time.Until(late) != setUpLimit/3 {
			t.Errorf("one of three has %v", time.Until(late))
		}
	})
}
