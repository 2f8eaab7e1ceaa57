package httpconnect

//lint:file-ignore SA1019 a client over a connection that the test has dialled.

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testName   = "gateway.example.com"
	testTicket = "0123456789ABCDEF0123456789ABCDEF"
	bearer0    = "Bearer " + testTicket
	patience   = 30 * time.Second // with a machine that is busy with something else
)

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: testName}, DNSNames: []string{testName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
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

func clientTLS(protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(testCertificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: testName, NextProtos: protocols}
}

// world is a server with a carrier, and what its tunnels lead to.
type world struct {
	carrier *Carrier
	server  *tunnel.Server
	tcp     string
	udp     *quic.Listener
	// service answers a tunnel to the host, over a connection of its own.
	mu       sync.Mutex
	services map[string]func(*net.TCPConn)
	labels   chan string // of every stream that came to the handler; "" is success
	ended    chan tunnel.Result
	peers    chan tunnel.Peer
	settled  chan struct{} // of every HTTP/3 connection that has a tunnel
	revoked  chan struct{} // closed to abort whatever is served
	spare    chan struct{} // one for each tunnel to come that is not to be
}

func newWorld(t testing.TB, config Config, server tunnel.Config) *world {
	w := &world{
		carrier: New(config), services: make(map[string]func(*net.TCPConn)),
		labels: make(chan string, 1000), ended: make(chan tunnel.Result, 1000), peers: make(chan tunnel.Peer, 1000),
		settled: make(chan struct{}, 1000), revoked: make(chan struct{}), spare: make(chan struct{}, 10),
	}
	w.services["echo.test"] = func(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() }
	if server.Web = w.carrier.Web; server.Handler == nil {
		server.Handler = w
	}
	server.TLS = tunnel.ServerTLS(&tls.Config{Certificates: []tls.Certificate{testCertificate()}}, tunnel.WebProtocols()...)
	var err error
	if w.server, err = tunnel.NewServer(server); err != nil {
		t.Fatal(err)
	}
	l, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.tcp = l.Addr().String()
	w.run(t, narrow{l}, w.carrier)
	return w
}

// narrow is a listener in whose connections the kernel holds little.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		_ = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// leads makes a service.
func (w *world) leads(host string, serve func(*net.TCPConn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.services[host] = serve
}

// run serves listeners until the test is over.
func (w *world) run(t testing.TB, listeners ...net.Listener) {
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			if err := w.server.Serve(context.Background(), l); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { _ = w.server.Close(); serving.Wait() })
}

// overQUIC serves HTTP/3 too.
func (w *world) overQUIC(t testing.TB) {
	var err error
	config := http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	if w.udp, err = quic.ListenAddr("127.0.0.1:0", config, nil); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() {
		for {
			conn, err := w.udp.Accept(ctx)
			if err != nil {
				return
			}
			serving.Go(func() {
				w.carrier.ServeQUIC(ctx, conn, tunnel.Peer{ServerName: testName}, func() { w.settled <- struct{}{} })
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = w.udp.Close(); serving.Wait() })
}

// ServeTunnel is a gateway in small: one ticket, and a list of services.
func (w *world) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	w.peers <- n.Peer()
	revoked := w.revoked
	select {
	case <-w.spare:
		revoked = nil
	default:
	}
	stream, service, err := w.negotiate(ctx, n)
	var refusal *tunnel.Refusal
	if errors.As(err, &refusal) {
		w.labels <- refusal.Label
		n.Refuse(err)
		return
	}
	if err != nil {
		w.labels <- err.Error()
		return
	}
	w.labels <- ""
	defer context.AfterFunc(ctx, func() { tunnel.Abort(stream) })()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-revoked:
			tunnel.Abort(stream)
			tunnel.Abort(service)
		case <-done:
		}
	})
	w.ended <- tunnel.Relay(stream, service, tunnel.Limits{})
	close(done)
	watching.Wait()
}

func (w *world) negotiate(ctx context.Context, n tunnel.Negotiation) (tunnel.Stream, tunnel.Stream, error) {
	c, err := n.Credential(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c.Secret != testTicket && c.By != tunnel.ByNothing {
		return nil, nil, &tunnel.Refusal{Status: 407, Label: "ticket_" + c.Secret, Text: "no"}
	}
	d, err := n.Destination(ctx)
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	serve := w.services[d.Host]
	w.mu.Unlock()
	switch {
	case d.Host == "busy.test":
		return nil, nil, &tunnel.Refusal{Status: 503, Label: "no_ports"}
	case d.Host == "unknown.test":
		return nil, nil, &tunnel.Refusal{Status: 502, Label: "name_not_found"}
	case serve == nil:
		return nil, nil, &tunnel.Refusal{Status: 403, Label: "not_listed"}
	}
	service, err := dialService(serve)
	if err != nil {
		return nil, nil, err
	}
	s, err := n.Succeed()
	if err != nil {
		_ = service.Close()
		return nil, nil, err
	}
	return s, service, nil
}

// dialService connects to a service that lives as long as the connection.
func dialService(serve func(*net.TCPConn)) (*net.TCPConn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	accepted, err := l.Accept()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	go func() {
		serve(accepted.(*net.TCPConn))
		_ = accepted.Close()
	}()
	return conn.(*net.TCPConn), nil
}

// reply is what a CONNECT is answered; its body is the tunnel if the status is 200.
type reply struct {
	status int
	header http.Header
	io.Reader
	io.Writer
	closeWrite func() error
	close      func()
}

// client opens tunnels over one version of HTTP.
type client interface {
	connect(t testing.TB, target string, header ...string) *reply
}

// dialTLS connects to the world's port.
func (w *world) dialTLS(t testing.TB, protocols ...string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", w.tcp, clientTLS(protocols...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

type clientHTTP1 struct{ w *world }

func (c clientHTTP1) connect(t testing.TB, target string, header ...string) *reply {
	t.Helper()
	conn := c.w.dialTLS(t, "http/1.1")
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", target, lines(header))
	in := bufio.NewReader(conn)
	r, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	p := &reply{status: r.StatusCode, header: r.Header, Reader: in, Writer: conn, closeWrite: conn.CloseWrite, close: func() { _ = conn.Close() }}
	if r.StatusCode != http.StatusOK {
		p.Reader = io.LimitReader(in, r.ContentLength) // to ReadResponse every CONNECT is a tunnel
	}
	return p
}

func lines(header []string) string {
	var b strings.Builder
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	return b.String()
}

func headerOf(pairs []string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

type clientHTTP2 struct{ conn *http2.ClientConn }

func (w *world) http2(t testing.TB) clientHTTP2 {
	t.Helper()
	conn, err := (&http2.Transport{}).NewClientConn(w.dialTLS(t, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return clientHTTP2{conn}
}

func (c clientHTTP2) connect(t testing.TB, target string, header ...string) *reply {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	up, in := io.Pipe()
	r, _ := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+target, up)
	r.Header = headerOf(header)
	response, err := c.conn.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return &reply{status: response.StatusCode, header: response.Header, Reader: response.Body, Writer: in, closeWrite: in.Close, close: func() { _ = response.Body.Close() }}
}

type clientHTTP3 struct{ conn *http3.ClientConn }

func (w *world) http3(t testing.TB) clientHTTP3 {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), w.udp.Addr().String(), clientTLS("h3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return clientHTTP3{(&http3.Transport{}).NewClientConn(conn)}
}

func (c clientHTTP3) connect(t testing.TB, target string, header ...string) *reply {
	t.Helper()
	s, err := c.conn.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequest(http.MethodConnect, "https://"+target, nil)
	r.Header = headerOf(header)
	if err := s.SendRequestHeader(r); err != nil {
		t.Fatal(err)
	}
	_ = s.SetReadDeadline(time.Now().Add(patience))
	response, err := s.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	return &reply{status: response.StatusCode, header: response.Header, Reader: response.Body, Writer: s, closeWrite: s.Close, close: func() {
		s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}}
}

// onEach runs a test over each version.
func onEach(t *testing.T, config Config, test func(*testing.T, *world, client)) {
	for _, version := range []string{CarrierHTTP1, CarrierHTTP2, CarrierHTTP3} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, config, tunnel.Config{})
			switch version {
			case CarrierHTTP1:
				test(t, w, clientHTTP1{w})
			case CarrierHTTP2:
				test(t, w, w.http2(t))
			default:
				w.overQUIC(t)
				test(t, w, w.http3(t))
			}
		})
	}
}
