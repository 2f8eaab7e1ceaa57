package api_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta/api"
)

// oneConn is a listener with one connection to accept.
type oneConn struct {
	net.Listener // nil; nobody asks for the address
	conns        chan net.Conn
}

func (l oneConn) Accept() (net.Conn, error) {
	conn, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l oneConn) Close() error { return nil }

// certificate makes one for "door", and a pool that trusts it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"door"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, pool
}

// connect serves one connection, as it is done with a listener of crypto/tls,
// and gives the client's end of it. To be called in a bubble, and closed there.
func connect(t *testing.T, handler http.Handler) (conn net.Conn, roots *x509.CertPool, closeServer func()) {
	t.Helper()
	cert, roots := certificate(t)
	client, served := net.Pipe()
	listener := oneConn{conns: make(chan net.Conn, 1)}
	listener.conns <- served
	server := api.NewServer(handler)
	done := make(chan error)
	go func() {
		done <- server.Serve(tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
		}))
	}()
	return client, roots, func() {
		client.Close()
		close(listener.conns)
		<-done
		_ = server.Close()
	}
}

// secure speaks TLS on the client's end.
func secure(t *testing.T, conn net.Conn, roots *x509.CertPool, protocol string) net.Conn {
	t.Helper()
	secured := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "door", NextProtos: []string{protocol}})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return secured
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 §3.4

var (
	emptySettings = string([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})                         // §6.5
	ping          = string([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}) // §6.7
)

// A stranger who says nothing is gone within 16 s, however he begins.
func TestSilentConnectionsAreClosed(t *testing.T) {
	for name, test := range map[string]struct {
		protocol, first string
		every           string // sent each second from then on
	}{
		"no TLS":                      {},
		"HTTP/1.1":                    {protocol: "http/1.1"},
		"HTTP/1.1, drop by drop":      {protocol: "http/1.1", first: "GET / HTTP/1.1\r\nX: ", every: "x"},
		"HTTP/1.1, after one request": {protocol: "http/1.1", first: "GET / HTTP/1.1\r\nHost: door\r\n\r\n"},
		"HTTP/2 without a preface":    {protocol: "h2"},
		"HTTP/2":                      {protocol: "h2", first: preface + emptySettings},
		"HTTP/2 with nothing but pings": {
			protocol: "h2", first: preface + emptySettings, every: ping,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, roots, closeServer := connect(t, http.NotFoundHandler())
				defer closeServer()
				start := time.Now()
				if test.protocol != "" {
					conn = secure(t, conn, roots, test.protocol)
				}
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					_, _ = io.Copy(io.Discard, conn)
				}()
				if _, err := io.WriteString(conn, test.first); err != nil {
					t.Fatal(err)
				}
				turn := time.NewTicker(time.Second)
				defer turn.Stop()
				for open := true; open; {
					select {
					case <-closed:
						open = false
					case <-turn.C:
						_, _ = io.WriteString(conn, test.every)
					}
				}
				if took := time.Since(start); took > 16*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

// A connection holds few streams and small frames.
func TestHTTP2IsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, roots, closeServer := connect(t, http.NotFoundHandler())
		defer closeServer()
		secured := secure(t, conn, roots, "h2")
		go func() { _, _ = io.WriteString(secured, preface+emptySettings) }()
		header := make([]byte, 9)
		if _, err := io.ReadFull(secured, header); err != nil || header[3] != 4 {
			t.Fatalf("the first frame is %x, %v; want SETTINGS", header, err)
		}
		payload := make([]byte, int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(secured, payload); err != nil {
			t.Fatal(err)
		}
		most := map[uint16]uint32{3: 32, 4: api.MaxBody, 5: 16 << 10} // streams, window, frame: §6.5.2
		for ; len(payload) >= 6; payload = payload[6:] {
			id, value := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])
			if limit, bounded := most[id]; bounded && value > limit {
				t.Errorf("setting %d is %d, over %d", id, value, limit)
			}
			delete(most, id)
		}
		if len(most) > 0 {
			t.Errorf("settings left out: %v", most)
		}
	})
}
