package load

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	socks5 "github.com/armon/go-socks5"

	"github.com/sallyport/sallyport/bench/exchange"
)

// world is a service and gateways of the simplest kind in front of it, on loopback.
type world struct {
	service  string
	account  func() exchange.Account
	identity tls.Certificate
	ca       []byte

	mu    sync.Mutex
	conns map[net.Conn]struct{} // of gateways, from devices
	stall chan struct{}         // closed unless the service stands still
	come  uint64                // connections to the service so far
	more  chan struct{}         // closed, and made anew, whenever one comes
}

const goodTicket = "0123456789ABCDEF0123456789ABCDEF"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{conns: make(map[net.Conn]struct{}), stall: make(chan struct{}), more: make(chan struct{})}
	close(w.stall)
	w.identify(t)
	s := new(exchange.Service)
	l := w.listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, &stallable{l, w}) }()
	t.Cleanup(func() {
		cancel()
		w.goOn()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	w.service, w.account = l.Addr().String(), s.Account
	return w
}

func (w *world) identify(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"gateway.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	w.identity = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	w.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (w *world) listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stallable is a listener whose connections can be made to stand still, in what they
// write.
type stallable struct {
	net.Listener
	w *world
}

func (s *stallable) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.come++
	close(s.w.more)
	s.w.more = make(chan struct{})
	return &stalling{conn, s.w}, nil
}

// came is how often the service has been reached, by as many tunnels.
func (w *world) came() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.come
}

// reached waits until the service has been reached n times.
func (w *world) reached(ctx context.Context, n uint64) error {
	for {
		w.mu.Lock()
		come, more := w.come, w.more
		w.mu.Unlock()
		if come >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type stalling struct {
	net.Conn
	w *world
}

func (s *stalling) Write(b []byte) (int, error) {
	s.w.mu.Lock()
	wait := s.w.stall
	s.w.mu.Unlock()
	<-wait
	return s.Conn.Write(b)
}

func (w *world) standStill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stall = make(chan struct{})
}

func (w *world) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.stall:
	default:
		close(w.stall)
	}
}

// gateway starts one that hands TLS connections to serve, and returns where.
func (w *world) gateway(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l := w.listen(t)
	config := &tls.Config{Certificates: []tls.Certificate{w.identity}}
	return w.accept(t, l, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		if secure.Handshake() == nil {
			serve(secure)
		}
		_ = secure.Close()
	})
}

// accept serves l until the test ends, and every connection with it.
func (w *world) accept(t testing.TB, l net.Listener, serve func(net.Conn)) string {
	var under sync.WaitGroup
	under.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns[conn] = struct{}{}
			w.mu.Unlock()
			under.Go(func() {
				serve(conn)
				_ = conn.Close()
				w.mu.Lock()
				delete(w.conns, conn)
				w.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut(func(int) bool { return true })
		under.Wait()
	})
	return l.Addr().String()
}

// cut ends the connections for whose number in some order which is true.
func (w *world) cut(which func(i int) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := 0
	for conn := range w.conns {
		if which(i) {
			_ = conn.Close()
		}
		i++
	}
}

// socks is SOCKS5 over TLS, by the library that naive gateways are made of.
func (w *world) socks(t testing.TB) string {
	t.Helper()
	server, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{"device": goodTicket},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.gateway(t, func(conn net.Conn) { _ = server.ServeConn(conn) })
}

// https is HTTP CONNECT over TLS.
func (w *world) https(t testing.TB) string {
	t.Helper()
	return w.gateway(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		switch {
		case err != nil:
			return
		case request.Header.Get("Proxy-Authorization") != "Bearer "+goodTicket:
			_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		case request.Host != w.service:
			_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		w.relay(conn)
	})
}

// tls ends TLS, and forwards.
func (w *world) tls(t testing.TB) string { return w.gateway(t, w.relay) }

// demanding wants a client certificate, of which a client of TLS 1.3 hears only when
// it thinks that the handshake is over.
func (w *world) demanding(t testing.TB) string {
	config := &tls.Config{Certificates: []tls.Certificate{w.identity}, ClientAuth: tls.RequireAnyClientCert}
	return w.accept(t, w.listen(t), func(conn net.Conn) {
		if tls.Server(conn, config).Handshake() != nil {
			drain(conn) // closing with bytes unread would reset, and the alert be lost
		}
	})
}

func (w *world) relay(conn net.Conn) {
	service, err := net.Dial("tcp", w.service)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(service, conn)
		_ = service.Close()
		close(done)
	}()
	_, _ = io.Copy(conn, service)
	_ = conn.Close()
	<-done
}

// plan is one with everything that every plan needs.
func (w *world) plan(way, address string, s Scenario) Plan {
	return Plan{
		Scenario: s, Service: w.service, Of: 1, Seed: 1, MaxInFlight: 1000, Patience: 5 * time.Second,
		Endpoint: Endpoint{Name: way, Way: way, Address: address, ServerName: "gateway.example.com",
			CA: w.ca, User: "device", Tickets: []string{goodTicket}},
	}
}

// together does f for 0 to n-1, some at a time: they wait more than they work. Unlike
// parallel subtests they do not share their turns with other tests.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	turns := make(chan struct{}, 4)
	for i := range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			f(i)
		})
	}
	all.Wait()
}

// run runs a plan that must not end with an error. Whatever is run has the rows that
// its kind has, and no others.
func run(t testing.TB, p Plan) Result {
	t.Helper()
	r, err := Run(t.Context(), p, Observer{})
	if err != nil {
		t.Error(err)
	}
	if r.Scheduled != r.Done+r.Failed+r.Unfinished+r.Lived {
		t.Errorf("%d scheduled, but %d done, %d failed, %d unfinished, %d lived", r.Scheduled, r.Done, r.Failed, r.Unfinished, r.Lived)
	}
	for _, o := range r.Operations {
		if !slices.Contains(Rows(p.Scenario.Kind), o.Name) {
			t.Errorf("%s has a row %q", p.Scenario.Kind, o.Name)
		}
	}
	return r
}

// rowOf is an operation's, empty if there is none.
func rowOf(r Result, name string) Operation {
	for _, o := range r.Operations {
		if o.Name == name {
			return o
		}
	}
	return Operation{}
}
