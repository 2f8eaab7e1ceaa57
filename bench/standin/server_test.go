package standin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mailHost = "mail.example.com"
	ewsHost  = "ews.example.com"
	pushHost = "eu-west-1.pushreg.xm.citrix.com"
)

// identity makes a self-signed certificate for the hosts, valid in real and in
// synctest's time.
func identity(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{mailHost, ewsHost, pushHost, "other.example.com"},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// pipeListener accepts in-memory connections, so that synctest sees all waiting.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// running is a server with a client that reaches it under every name.
type running struct {
	*Server
	client *http.Client
}

// start serves on in-memory pipes with TLS, and ends everything with the test.
func start(t *testing.T, hooks *Hooks, http2 bool) running {
	t.Helper()
	cert, pool := identity(t)
	s := New(Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Hooks: hooks})
	ln := newPipeListener()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	transport := &http.Transport{
		DialContext:       ln.dial,
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2: http2,
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return running{s, &http.Client{Transport: transport}}
}

// answer is a response that has been read.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	proto   string
}

func (r running) do(t *testing.T, method, url, contentType, body string) answer {
	t.Helper()
	req := newRequest(t, method, url, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return r.send(t, req)
}

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (r running) send(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, resp.Trailer, string(got), resp.Proto}
}

// overBoth runs a test over HTTP/1.1 and over HTTP/2.
func overBoth(t *testing.T, body func(t *testing.T, r running)) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			r := start(t, nil, http2)
			if got := r.do(t, "GET", "https://"+mailHost+"/", "", ""); got.proto != proto {
				t.Fatalf("speaks %s, want %s", got.proto, proto)
			}
			body(t, r)
		})
	}
}

func TestHostsAndPaths(t *testing.T) {
	tests := []struct {
		method, url string
		status      int
		body        string // a part of it
	}{
		{"GET", mailHost + "/", 200, "mail stand-in"},
		{"HEAD", mailHost + "/", 200, ""},
		{"GET", mailHost + "/ews/exchange.asmx", 200, "EWS stand-in"},
		{"GET", ewsHost + "/EWS/Exchange.asmx", 200, "EWS stand-in"},
		{"GET", pushHost + "/", 200, "pushreg stand-in"},
		{"GET", mailHost + "/nothing", 404, ""},
		{"GET", ewsHost + "/Microsoft-Server-ActiveSync", 404, ""},
		{"GET", mailHost + "/Microsoft-Server-ActiveSync", 405, ""},
		{"DELETE", ewsHost + "/ews/exchange.asmx", 405, ""},
		{"DELETE", mailHost + "/bulk", 405, ""},
		{"GET", pushHost + "/register", 405, ""},
		{"GET", pushHost + "/bulk?bytes=1", 404, ""},
		{"GET", "other.example.com/", 421, ""},
	}
	overBoth(t, func(t *testing.T, r running) {
		for _, tt := range tests {
			got := r.do(t, tt.method, "https://"+tt.url, "", "")
			if got.status != tt.status || !strings.Contains(got.body, tt.body) {
				t.Errorf("%s %s: %d %q, want %d and %q", tt.method, tt.url, got.status, got.body, tt.status, tt.body)
			}
			if got.status == 405 && got.header.Get("Allow") == "" {
				t.Errorf("%s %s: 405 without Allow", tt.method, tt.url)
			}
		}
		st := r.Stats()
		if st.Requests[Page] != 6 || st.Requests[Refused] != 8 { // overBoth sent one page
			t.Errorf("counted %v", st.Requests)
		}
	})
}

func TestPartOf(t *testing.T) {
	tests := map[string]part{
		"mail.example.com": partMail, "MAIL.EXAMPLE.COM.:443": partMail, "mail.a": partMail,
		"ews.example.com": partEWS, pushHost: partPush, pushHost + ":8443": partPush,
		"mail": partNone, "": partNone, "pushreg.example.com": partNone, "a.pushreg": partNone,
		"mailx.example.com": partNone, "x.mail.example.com": partNone, "127.0.0.1:443": partNone, "[::1]:443": partNone,
	}
	for host, want := range tests {
		if got := partOf(host); got != want {
			t.Errorf("partOf(%q) = %d, want %d", host, got, want)
		}
	}
}

func TestServeWithoutTLS(t *testing.T) {
	ln := newPipeListener()
	if err := New(Config{}).Serve(ln); !errors.Is(err, ErrNoTLS) {
		t.Fatalf("got %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal("the listener is still open")
	}
}

func TestRequestHook(t *testing.T) {
	told := make(chan Request, 2)
	r := start(t, &Hooks{Request: func(q Request) { told <- q }}, false)
	r.do(t, "GET", "https://"+mailHost+"/", "", "")
	r.do(t, "POST", "https://"+mailHost+"/Microsoft-Server-ActiveSync?Cmd=Sync", "", "")
	if q := <-told; q.Kind != Page || q.Status != 200 {
		t.Errorf("told %+v", q)
	}
	if q := <-told; q.Kind != Refused || q.Status != 501 {
		t.Errorf("told %+v", q)
	}
}
