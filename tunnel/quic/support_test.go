package quic

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(idlersMark); order != "" {
		if err := beIdlers(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	testName = "gateway.example.com"
	password = "the ticket"
	patience = 20 * time.Second
)

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{testName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func testServerTLS() *tls.Config {
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate := testCertificate()
		return &certificate, nil
	}}
}

// longChain is of certificates of so many bytes.
func longChain(length int) *tls.Config {
	certificate := testCertificate()
	leaf := certificate.Certificate[0]
	for size := 0; size < length; size += len(leaf) {
		certificate.Certificate = append(slices.Clip(certificate.Certificate), leaf)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}
}

func testClientTLS(protocols ...string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(testCertificate().Leaf)
	return &tls.Config{RootCAs: pool, ServerName: testName, NextProtos: protocols}
}

// testGateway is a tunnel.Server behind a Listener. It takes the password, and its
// handler's hosts are functions.
type testGateway struct {
	listener *Listener
	addr     netip.AddrPort
	tunnels  chan tunnel.Tunnel
	results  chan tunnel.Result
	peers    chan tunnel.Peer
	refusals chan *tunnel.Refusal // of the listener
	closed   chan Code            // of its connections
	limits   tunnel.Limits
	tally    tally
}

// tally counts what has happened, by what it is called.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	t.counts[what]++
}

func (t *tally) now() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// host is a service: what it does with the stream of a client.
type host func(s tunnel.Stream)

// relayed is a service behind TCP, joined with the client by Relays.Run.
type relayed func(*net.TCPConn)

func listen(t testing.TB, config Config) *testGateway {
	t.Helper()
	g := &testGateway{
		tunnels: make(chan tunnel.Tunnel, 1024), results: make(chan tunnel.Result, 1024), peers: make(chan tunnel.Peer, 1024),
		refusals: make(chan *tunnel.Refusal, 4096), closed: make(chan Code, 1024),
	}
	if config.TLS == nil {
		config.TLS = testServerTLS()
	}
	config.Hooks = Hooks{
		Refused: func(_ tunnel.Peer, r *tunnel.Refusal) {
			g.tally.add("refused " + r.Label)
			tell(g.refusals, r)
		},
		Closed: func(_ tunnel.Peer, code Code) {
			g.tally.add("closed " + code.String())
			tell(g.closed, code)
		},
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	if g.listener, err = Listen(context.Background(), socket, config); err != nil {
		t.Fatal(err)
	}
	g.addr = addrPort(g.listener.Addr())
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = g.listener.Shutdown(ctx)
	})
	return g
}

func serve(t testing.TB, config Config, hosts map[string]any) *testGateway {
	t.Helper()
	return serveAs(t, config, tunnel.Config{}, tunnel.Limits{}, hosts)
}

func serveAs(t testing.TB, config Config, tunnels tunnel.Config, limits tunnel.Limits, hosts map[string]any) *testGateway {
	t.Helper()
	g := listen(t, config)
	g.limits = limits
	relays, err := tunnel.NewRelays(tunnel.RelaysHooks{})
	if err != nil {
		t.Fatal(err)
	}
	tunnels.Handler = handlerFunc(func(ctx context.Context, n tunnel.Negotiation) {
		g.serveTunnel(ctx, n, relays, hosts)
	})
	server, err := tunnel.NewServer(tunnels)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(context.Background(), g.listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) { // some tests close the listener
			t.Errorf("Serve: %v", err)
		}
		_ = relays.Close()
	})
	return g
}

type handlerFunc func(context.Context, tunnel.Negotiation)

func (f handlerFunc) ServeTunnel(ctx context.Context, n tunnel.Negotiation) { f(ctx, n) }

func (g *testGateway) serveTunnel(ctx context.Context, n tunnel.Negotiation, relays *tunnel.Relays, hosts map[string]any) {
	s, service, err := g.open(ctx, n, hosts)
	if err != nil {
		n.Refuse(err)
		return
	}
	switch service := service.(type) {
	case host:
		service(s)
		_ = s.Close()
	case relayed:
		near, far := tcpPair()
		go service(far)
		relays.Run(s, near, g.limits, g)
	}
}

func (g *testGateway) open(ctx context.Context, n tunnel.Negotiation, hosts map[string]any) (tunnel.Stream, any, error) {
	c, err := n.Credential(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c.Secret != password {
		return nil, nil, &tunnel.Refusal{Reply: socks.NotAllowed, Status: 407, Label: "ticket"}
	}
	d, err := n.Destination(ctx)
	if err != nil {
		return nil, nil, err
	}
	service, ok := hosts[d.Host]
	if !ok {
		return nil, nil, &tunnel.Refusal{Reply: socks.HostUnreachable, Status: 502, Label: "dial"}
	}
	tell(g.peers, n.Peer())
	s, err := n.Succeed()
	return s, service, err
}

// Joined and Ended make g the Ender of its tunnels.
func (g *testGateway) Joined(t tunnel.Tunnel) { tell(g.tunnels, t) }
func (g *testGateway) Ended(result tunnel.Result) {
	g.tally.add("ended " + string(result.Reason))
	tell(g.results, result)
}

// tell does not wait for a test that does not listen.
func tell[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func tcpPair() (near, far *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	b, err := l.Accept()
	if err != nil {
		panic(err)
	}
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func (g *testGateway) dial(t testing.TB) *Conn {
	t.Helper()
	conn, err := (&Dialer{TLS: testClientTLS()}).Dial(within(t), g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// raw is a client that can do what ours does not.
func (g *testGateway) raw(t testing.TB, protocol string, config *quicgo.Config) *quicgo.Conn {
	t.Helper()
	conn, err := quicgo.DialAddr(within(t), g.addr.String(), testClientTLS(protocol), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, conn *Conn, to string) tunnel.Stream {
	t.Helper()
	s, err := conn.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := socks.ClientHandshake(within(t), s, socks.Auth{User: "u", Password: password}, to, 443); err != nil {
		t.Fatal(err)
	}
	return s
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func hear(t testing.TB, r io.Reader, want string) {
	t.Helper()
	heard := make([]byte, len(want))
	if _, err := io.ReadFull(r, heard); err != nil || string(heard) != want {
		t.Fatalf("%q, %v, want %q", heard, err, want)
	}
}

func say(t testing.TB, w io.Writer, what string) {
	t.Helper()
	if _, err := io.WriteString(w, what); err != nil {
		t.Fatal(err)
	}
}

// appCode is the code that a connection was closed with.
func appCode(err error) Code {
	var app *quicgo.ApplicationError
	if !errors.As(err, &app) || !app.Remote {
		return ^Code(0)
	}
	return Code(app.ErrorCode)
}

// echo sends back what it hears.
func echo(conn *net.TCPConn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.CloseWrite()
	_ = conn.Close()
}

// sink hears its client out, and answers with the sum.
func sink(conn *net.TCPConn) {
	sum := sha256.New()
	_, _ = io.Copy(sum, conn)
	_, _ = conn.Write(sum.Sum(nil))
	_ = conn.Close()
}

// source is asked for some bytes, and sends as many.
func source(conn *net.TCPConn) {
	defer conn.Close()
	var size [8]byte
	if _, err := io.ReadFull(conn, size[:]); err == nil {
		_, _ = io.CopyN(conn, noise(), int64(binary.BigEndian.Uint64(size[:])))
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

func noise() io.Reader { return mathrand.NewChaCha8([32]byte{1}) }

func ask(t testing.TB, s tunnel.Stream, n int64) {
	t.Helper()
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
		t.Fatal(err)
	}
}

func sumOfNoise(n int64) []byte {
	sum := sha256.New()
	_, _ = io.CopyN(sum, noise(), n)
	return sum.Sum(nil)
}
