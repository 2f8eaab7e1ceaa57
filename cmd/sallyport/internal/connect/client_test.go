package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// reach opens a tunnel and closes it; the error is Dial's.
func reach(t *testing.T, c *Client, addr string) error {
	t.Helper()
	conn, err := c.Dial(t.Context(), "tcp", addr)
	if err != nil {
		if strings.Contains(err.Error(), goodTicket) {
			t.Error("the error holds the ticket")
		}
		return err
	}
	return conn.Close()
}

func TestDial(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := newClient(t, g.config(Off))
	for i := range 2 {
		conn, err := client.Dial(t.Context(), "tcp", "mail.example.com:443")
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, conn.(tunnel.Stream), "hello")
		if err := conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		v := g.visits()[i]
		if v.wanted.Host != "mail.example.com" || v.wanted.Port != 443 || v.credential.User != "Jörg €" {
			t.Errorf("the gateway saw %v for %v", v.credential, v.wanted)
		}
		if v.peer.ServerName != gatewayName || v.peer.ALPN != tunnel.ALPN || v.peer.Resumed != (i == 1) {
			t.Errorf("visit %d: %+v", i, v.peer)
		}
	}
}

// Names and addresses go to the gateway as they are; nothing is resolved here.
func TestDialPassesDestinationsOn(t *testing.T) {
	g := startGateway(t)
	client := newClient(t, g.config(Off))
	long := strings.Repeat("a", 255)
	for _, host := range []string{"No-Such.Invalid.", "bücher.example", "127.1", ";40;STA01;X", long, "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"} {
		err := reach(t, client, net.JoinHostPort(host, "8443"))
		var refused *socks.ReplyError
		if !errors.As(err, &refused) || refused.Reply != socks.NotAllowed {
			t.Errorf("%s: %v", host, err)
			continue
		}
		visits := g.visits()
		wanted := visits[len(visits)-1].wanted
		if got := wanted.Host + wanted.Addr.String(); got != host+"invalid IP" && got != host || wanted.Port != 8443 {
			t.Errorf("%s arrived as %q %v", host, wanted.Host, wanted.Addr)
		}
	}
}

func TestDialArguments(t *testing.T) {
	client := newClient(t, startGateway(t).config(Off))
	for _, addr := range []string{"mail.example.com", "mail.example.com:https", "mail.example.com:65536", ":443", strings.Repeat("a", 256) + ":443"} {
		if reach(t, client, addr) == nil {
			t.Errorf("%q was accepted", addr)
		}
	}
	if _, err := client.Dial(t.Context(), "udp", "mail.example.com:443"); !errors.As(err, new(net.UnknownNetworkError)) {
		t.Errorf("udp: %v", err)
	}
}

// The ticket is asked for at every tunnel, and what is wrong with it is told.
func TestTicket(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	broken := errors.New("no such file")
	var ticket string
	var ticketErr error
	c := g.config(Off)
	c.Ticket = func() (string, error) { return ticket, ticketErr }
	client := newClient(t, c)
	tests := []struct {
		ticket string
		err    error
		want   error
	}{
		{strings.Repeat("X", 32), nil, ErrTicketRefused},
		{goodTicket, nil, nil},
		{"", nil, ErrNoTicket},
		{strings.Repeat("X", 256), nil, ErrNoTicket},
		{"", broken, ErrNoTicket},
		{"", broken, broken},
		{goodTicket, nil, nil},
	}
	for _, tt := range tests {
		ticket, ticketErr = tt.ticket, tt.err
		if err := reach(t, client, "mail.example.com:443"); !errors.Is(err, tt.want) {
			t.Errorf("%d bytes, %v: %v, want %v", len(tt.ticket), tt.err, err, tt.want)
		}
	}
}

func TestPin(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	other := certificate(t, gatewayName, time.Now().Add(time.Hour)).Leaf
	tests := []struct {
		name  string
		pin   *x509.Certificate
		sni   string
		roots *x509.CertPool
		want  error
	}{
		{"pinned, another name, no roots", g.leaf, "elsewhere.example.com", x509.NewCertPool(), nil},
		{"another certificate of the same name", other, gatewayName, g.config(Off).RootCAs, ErrTLS},
		{"no pin, another name", nil, "elsewhere.example.com", g.config(Off).RootCAs, ErrTLS},
		{"no pin, no roots", nil, gatewayName, x509.NewCertPool(), ErrTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := g.config(Off)
			c.Pin, c.ServerName, c.RootCAs = tt.pin, tt.sni, tt.roots
			client := newClient(t, c)
			for range 2 { // the second may resume
				if err := reach(t, client, "mail.example.com:443"); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			}
		})
	}
}

// misfit accepts connections and gives each to serve, in place of a gateway.
func misfit(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestGatewayFailures(t *testing.T) {
	cert := certificate(t, gatewayName, time.Now().Add(time.Hour))
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	overTLS := func(words string) string {
		return misfit(t, func(conn net.Conn) {
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
			_, _ = s.Read(make([]byte, 64))
			_, _ = s.Write([]byte(words))
			_ = s.Close()
		})
	}
	tests := []struct {
		name    string
		gateway string
		want    error
		reply   socks.Reply
	}{
		{"nobody listens", closedPort(t), ErrUnreachable, socks.ConnectionRefused},
		{"no TLS", misfit(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400\r\n\r\n")) }), ErrTLS, socks.GeneralFailure},
		{"hangs up", misfit(t, func(net.Conn) {}), ErrTLS, socks.GeneralFailure},
		{"TLS, then nothing", overTLS(""), ErrProtocol, socks.GeneralFailure},
		{"another protocol", overTLS("HTTP/1.1 400\r\n"), ErrProtocol, socks.GeneralFailure},
		{"no method of ours", overTLS("\x05\xff"), ErrProtocol, socks.GeneralFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := newClient(t, Config{
				Gateway: tt.gateway, ServerName: gatewayName, RootCAs: roots,
				Ticket: func() (string, error) { return goodTicket, nil },
			})
			err := reach(t, client, "mail.example.com:443")
			if !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if got := replyFor(err); got != tt.reply {
				t.Errorf("reply %v, want %v", got, tt.reply)
			}
		})
	}
}

// A gateway that takes the connection and says nothing holds nobody longer than
// the context.
func TestSilentGateway(t *testing.T) {
	release := make(chan struct{})
	c := idleConfig(t, Off)
	c.Gateway = misfit(t, func(net.Conn) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newClient(t, c).Dial(ctx, "tcp", "mail.example.com:443")
	close(release)
	if !errors.Is(err, ErrTLS) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestNewClientMistakes(t *testing.T) {
	good := idleConfig(t, Off)
	for name, spoil := range map[string]func(*Config){
		"no gateway":   func(c *Config) { c.Gateway = "" },
		"no port":      func(c *Config) { c.Gateway = "gateway3.example.com" },
		"no host":      func(c *Config) { c.Gateway = ":443" },
		"no ticket":    func(c *Config) { c.Ticket = nil },
		"long user":    func(c *Config) { c.User = strings.Repeat("u", 256) },
		"all networks": func(c *Config) { c.Listen = "0.0.0.0:1080" },
		"no address":   func(c *Config) { c.Listen = ":1080" },
		"a network":    func(c *Config) { c.Listen = "192.0.2.1:1080" },
		"a name":       func(c *Config) { c.Listen = "example.com:1080" },
		"short":        func(c *Config) { c.Password = "fifteen bytes.." },
		"long":         func(c *Config) { c.Password = strings.Repeat("p", 256) },
		"mode":         func(c *Config) { c.SplitTunnel = Reverse + 1 },
		"twice listed": func(c *Config) { c.Services = append(listed(), listed()...) },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "localhost:0", ""} {
		c := good
		c.Listen = listen
		if _, err := New(c); err != nil {
			t.Errorf("%q: %v", listen, err)
		}
	}
}

func TestPasswordIsMadeAndNotPrinted(t *testing.T) {
	c := idleConfig(t, Off)
	c.Password = ""
	first, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Password()) < 26 || first.Password() == second.Password() {
		t.Error("the password is short, or not random")
	}
	c.Password = localSecret
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb+verb, c, first); strings.Contains(text, localSecret) || strings.Contains(text, first.Password()) ||
			strings.Contains(text, fmt.Sprintf("%x", localSecret)) {
			t.Errorf("%s prints the password", verb)
		}
	}
}
