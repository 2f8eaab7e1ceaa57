package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gatewayName = "gateway3.example.com"
	goodTicket  = "6C0E1F2A3B4D5E6F7081920A1B2C3D4E"
	localSecret = "local-password-of-the-tests"
)

// certificate makes a self-signed one for name.
func certificate(t testing.TB, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// gateway is a real SOCKS5-over-TLS endpoint with the least of a gateway's
// rules: one ticket, and names that are answered by the test's own service.
type gateway struct {
	addr   string
	leaf   *x509.Certificate
	cert   tls.Certificate
	server *tunnel.Server

	mu sync.Mutex // guards the rest
	// hold, if there is one, may keep a visitor waiting before his credential is
	// judged.
	hold   func(context.Context, tunnel.Peer)
	shown  int // credentials presented
	seen   []visit
	routes map[string]string      // host:port as asked for → where it is
	reply  map[string]socks.Reply // host:port as asked for → the refusal; else not allowed
}

// visit is what the gateway learnt of a stream.
type visit struct {
	peer       tunnel.Peer
	credential tunnel.Credential
	wanted     tunnel.Destination
}

// idleConfig is for a gateway that is never dialled.
func idleConfig(t testing.TB, mode Mode) Config {
	t.Helper()
	g := &gateway{addr: "127.0.0.1:1", leaf: certificate(t, gatewayName, time.Now().Add(time.Hour)).Leaf}
	return g.config(mode)
}

func startGateway(t testing.TB) *gateway {
	t.Helper()
	cert := certificate(t, gatewayName, time.Now().Add(time.Hour))
	g := &gateway{leaf: cert.Leaf, cert: cert, routes: map[string]string{}, reply: map[string]socks.Reply{}}
	server, err := tunnel.NewServer(tunnel.Config{
		TLS:     tunnel.ServerTLS(&tls.Config{Certificates: []tls.Certificate{cert}}),
		Handler: g,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr, g.server = ln.Addr().String(), server
	served := make(chan error, 1)
	accepting := &acceptingListener{Listener: ln, began: make(chan struct{})}
	go func() { served <- server.Serve(context.Background(), accepting) }()
	t.Cleanup(func() {
		<-accepting.began // a server that is closed before it serves says so
		_ = server.Close()
		if err := <-served; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	return g
}

// acceptingListener tells when it is accepted on.
type acceptingListener struct {
	net.Listener
	once  sync.Once
	began chan struct{}
}

func (l *acceptingListener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.began) })
	return l.Listener.Accept()
}

func (g *gateway) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	credential, err := n.Credential(ctx)
	g.mu.Lock()
	g.shown++
	hold := g.hold
	g.mu.Unlock()
	if hold != nil {
		hold(ctx, n.Peer())
	}
	if err != nil || credential.Secret != goodTicket {
		n.Refuse(&tunnel.Refusal{Label: "ticket", Err: err})
		return
	}
	wanted, err := n.Destination(ctx)
	if err != nil {
		n.Refuse(err)
		return
	}
	target, reply := g.note(visit{n.Peer(), credential, wanted})
	if target == "" {
		n.Refuse(&tunnel.Refusal{Reply: reply})
		return
	}
	service, err := net.Dial("tcp", target)
	if err != nil {
		n.Refuse(&tunnel.Refusal{Reply: socks.ConnectionRefused})
		return
	}
	client, err := n.Succeed()
	if err != nil {
		_ = service.Close()
		return
	}
	tunnel.Relay(client, service.(*net.TCPConn), tunnel.Limits{})
}

func (g *gateway) note(v visit) (target string, refusal socks.Reply) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = append(g.seen, v)
	key := v.wanted.String()
	if reply, ok := g.reply[key]; ok {
		return "", reply
	}
	return g.routes[key], socks.NotAllowed
}

// takeShown says how many credentials were presented since it was last asked.
func (g *gateway) takeShown() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() { g.shown = 0 }()
	return g.shown
}

func (g *gateway) visits() []visit {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]visit(nil), g.seen...)
}

// config reaches the gateway with the good ticket.
func (g *gateway) config(mode Mode) Config {
	roots := x509.NewCertPool()
	roots.AddCert(g.leaf)
	return Config{
		Listen: "127.0.0.1:0", Password: localSecret,
		Gateway: g.addr, ServerName: gatewayName, RootCAs: roots,
		Ticket: func() (string, error) { return goodTicket, nil }, User: "Jörg €",
		Services: listed(), SplitTunnel: mode,
	}
}

func listed() []policy.Service {
	return []policy.Service{
		{Name: "mail.example.com", Port: 443},
		{Name: "internal.example.com", Wildcard: true, Port: 443},
		{Addr: netip.MustParseAddr("192.0.2.7"), Port: 443},
	}
}

// startProxy serves SOCKS5 until the test is over. Set-ups are told on the
// channel.
func startProxy(t testing.TB, c Config) (*runningProxy, <-chan Tunnel) {
	t.Helper()
	return startDoor(t, c, (*Proxy).Listen, (*Proxy).Serve)
}

// startHTTP serves the HTTP proxy in the same way.
func startHTTP(t testing.TB, c Config) (*runningProxy, <-chan Tunnel) {
	t.Helper()
	c.HTTPListen = "127.0.0.1:0"
	return startDoor(t, c, (*Proxy).ListenHTTP, (*Proxy).ServeHTTPProxy)
}

// startDNS serves the DNS stub in the same way.
func startDNS(t testing.TB, c Config) (*runningProxy, <-chan Lookup) {
	t.Helper()
	c.DNSListen = "127.0.0.1:0"
	told := make(chan Lookup, 512)
	c.Hooks.Lookup = func(l Lookup) { told <- l }
	p, _ := startDoor(t, c, (*Proxy).ListenDNS, (*Proxy).ServeDNS)
	return p, told
}

func startDoor[L interface{ Addr() net.Addr }](
	t testing.TB, c Config,
	listen func(*Proxy, context.Context) (L, error), serve func(*Proxy, context.Context, L) error,
) (*runningProxy, <-chan Tunnel) {
	t.Helper()
	told := make(chan Tunnel, 512)
	c.Hooks.Tunnel = func(tn Tunnel) { told <- tn }
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listen(p, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(p, ctx, ln) }()
	t.Cleanup(func() {
		defer p.Close()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return &runningProxy{p, ln.Addr()}, told
}

// runningProxy is one that serves.
type runningProxy struct {
	*Proxy
	addr net.Addr
}

// dialProxy is an application: SOCKS5 with the local password.
func dialProxy(t testing.TB, p *runningProxy, host string, port uint16) (*net.TCPConn, error) {
	t.Helper()
	conn := rawProxy(t, p)
	err := socks.ClientHandshake(t.Context(), conn, socks.Auth{User: LocalUser, Password: p.Password()}, host, port)
	if err != nil {
		_ = conn.Close()
	}
	return conn, err
}

func rawProxy(t testing.TB, p *runningProxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// startService answers each connection with "got " and all that it received,
// once the other side has finished.
func startService(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				got, err := io.ReadAll(conn)
				if err == nil {
					_, _ = conn.Write(append([]byte("got "), got...))
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// exchange sends text, finishes, and wants the service's answer.
func exchange(t testing.TB, conn tunnel.Stream, text string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	finish(t, conn, text)
}

// finish ends our direction and wants the answer to text.
func finish(t testing.TB, conn tunnel.Stream, text string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "got "+text {
		t.Fatalf("got %q, %v; want the answer to %q", got, err, text)
	}
}
