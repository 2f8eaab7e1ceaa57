package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const serverName = "dns.corp.example"

// authority signs the certificates of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = template
	a.cert, _ = x509.ParseCertificate(a.sign(template, &key.PublicKey))
	return a
}

func (a *authority) sign(template *x509.Certificate, key any) []byte {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// leaf is a server's config with a certificate for the name and 127.0.0.1, but
// for what edit changes.
func (a *authority) leaf(edit func(*x509.Certificate)) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{serverName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{a.sign(template, &key.PublicKey)}, PrivateKey: key}}}
}

// serveTLS answers over DoT, and counts connections.
func serveTLS(t *testing.T, config *tls.Config, do behaviour) (Server, func() int) {
	t.Helper()
	var mu sync.Mutex
	conns := 0
	server := rawServer(t, func(raw net.Conn) {
		mu.Lock()
		conns++
		mu.Unlock()
		conn := tls.Server(raw, config)
		if conn.Handshake() == nil {
			serveStream(conn, do)
		}
	})
	server.Network = "tls"
	return server, func() int { mu.Lock(); defer mu.Unlock(); return conns }
}

// The ways in which a certificate, or the protocol, can be wrong.
func wrongLeaves(a *authority) map[string]struct {
	config *tls.Config
	says   string
} {
	old := a.leaf(nil)
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	weak := a.leaf(nil)
	weak.MaxVersion = tls.VersionTLS12
	weak.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	return map[string]struct {
		config *tls.Config
		says   string
	}{
		"wrong name":        {a.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"dns.corp.example.evil"} }), "certificate is valid for"},
		"expired":           {a.leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "expired"},
		"unknown authority": {newAuthority(a.t).leaf(nil), "unknown authority"},
		"TLS 1.1":           {old, "protocol version"},
		"CBC":               {weak, "handshake failure"},
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	byAddress, conns := serveTLS(t, a.leaf(nil), honest)
	byName := byAddress
	byName.Name = serverName
	for _, server := range []Server{byAddress, byName} {
		p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
		wantHonest(t, p, server)
		wantHonest(t, p, server)
	}
	if conns() != 2 {
		t.Errorf("%d connections, want 2", conns())
	}
	other := byAddress
	other.Name = "other.corp.example"
	p := pool(t, Config{Servers: []Server{other}, RootCAs: a.pool()})
	wantError(t, p, ErrFailed, "certificate is valid for", other.String())
	p = pool(t, Config{Servers: []Server{byName}}) // the system's roots
	wantError(t, p, ErrFailed, "unknown authority")
	for name, wrong := range wrongLeaves(a) {
		server, _ := serveTLS(t, wrong.config, honest)
		server.Name = serverName
		p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
		t.Run(name, func(t *testing.T) { wantError(t, p, ErrFailed, wrong.says) })
	}
}

// What a stranger writes into a certificate, or at the end of a connection, is
// not kept with the failure, and does not fill or break lines of a log.
func TestErrorsAreBrief(t *testing.T) {
	a := newAuthority(t)
	server, _ := serveTLS(t, a.leaf(func(c *x509.Certificate) {
		c.DNSNames = []string{"a\nb"}
		for range 90 {
			c.DNSNames = append(c.DNSNames, strings.Repeat("x", 1000))
		}
	}), honest)
	server.Name = serverName
	p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
	_, err := p.Ask(t.Context(), mailA)
	if err == nil || !strings.Contains(err.Error(), "a?b") || len(err.Error()) > 2*maxCause {
		t.Errorf("%v", err)
	}
	if evidence := (*tls.CertificateVerificationError)(nil); errors.As(err, &evidence) {
		t.Error("the error holds the certificate")
	}
	if text := brief(errors.New(strings.Repeat("x", 1<<20))).Error(); len(text) != maxCause {
		t.Errorf("%d bytes", len(text))
	}
}

// serveHTTPS starts a DoH server; its HTTP/2 can be had away.
func serveHTTPS(t *testing.T, config *tls.Config, http2 bool, handler http.HandlerFunc) Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS, server.EnableHTTP2 = config, http2
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return Server{Network: "https", Addr: addrPort(server.Listener), Name: serverName, Path: "/dns-query"}
}

// answerHTTP answers as RFC 8484 has it, with the message that change makes.
func answerHTTP(t *testing.T, change func([]byte) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/dns-query" || r.ProtoMajor != 2 || r.Header.Get("Content-Type") != dnsMessage ||
			r.Header.Get("Cookie") != "" || r.Header.Get("User-Agent") != "" || len(query)%padTo != 0 || !strings.HasPrefix(r.Host, serverName+":") {
			t.Errorf("asked: %s %s %s %v, %d bytes", r.Method, r.Host, r.URL, r.Header, len(query))
		}
		w.Header().Set("Content-Type", dnsMessage)
		http.SetCookie(w, &http.Cookie{Name: "follow", Value: "me"})
		w.Write(change(answerTo(query, nil)))
	}
}

func same(m []byte) []byte { return m }

func TestHTTPS(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	a := newAuthority(t)
	var mu sync.Mutex
	from := make(map[string]bool)
	good := answerHTTP(t, same)
	server := serveHTTPS(t, a.leaf(nil), true, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from[r.RemoteAddr] = true
		mu.Unlock()
		good(w, r)
	})
	p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() { wantHonestHere(t, p) })
	}
	asking.Wait()
	wantHonest(t, p, server)
	if len(from) != 1 {
		t.Errorf("%d connections", len(from))
	}
	for name, wrong := range wrongLeaves(a) {
		if name == "CBC" {
			continue // the server's HTTP/2 refuses to start with it
		}
		server := serveHTTPS(t, wrong.config, true, good)
		p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
		t.Run(name, func(t *testing.T) { wantError(t, p, ErrFailed, wrong.says) })
	}
}

func TestHostileHTTPS(t *testing.T) {
	a := newAuthority(t)
	followed := serveHTTPS(t, a.leaf(nil), true, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, c := range map[string]struct {
		http2 bool
		do    http.HandlerFunc
		says  string
	}{
		"500": {true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		"redirect": {true, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+followed.Addr.String()+"/dns-query", http.StatusTemporaryRedirect)
		}, "status 307"},
		"wrong type": {true, func(w http.ResponseWriter, r *http.Request) {
			query, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/html")
			w.Write(answerTo(query, nil))
		}, "another type"},
		"oversize": {true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", dnsMessage)
			for range 1000 {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, "longer"},
		"wrong id":       {true, answerHTTP(t, wrongID), "wrong id"},
		"wrong question": {true, answerHTTP(t, wrongQuestion), "wrong question"},
		"empty":          {true, answerHTTP(t, nothing), "wrong garbage"},
		"garbled":        {true, answerHTTP(t, func(m []byte) []byte { return m[:len(m)-3] }), "cannot be read"},
		"cut off": {true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", dnsMessage)
			w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "stream error"},
		"HTTP/1.1": {false, func(http.ResponseWriter, *http.Request) {}, "no application protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveHTTPS(t, a.leaf(nil), c.http2, c.do)
			p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
			wantError(t, p, ErrFailed, c.says, server.String())
		})
	}
}

// A server that negotiates nothing does not get a question.
func TestHTTPSWithoutALPN(t *testing.T) {
	a := newAuthority(t)
	server, _ := serveTLS(t, a.leaf(nil), func([]byte, func([]byte)) { t.Error("it was spoken to") })
	server.Network, server.Path = "https", "/dns-query"
	p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
	wantError(t, p, ErrFailed, "HTTP/2")
}

// A server may close its connection, or say goodbye on it, at any time.
func TestHTTPSRedial(t *testing.T) {
	a := newAuthority(t)
	good := answerHTTP(t, same)
	server := httptest.NewUnstartedServer(good)
	server.TLS, server.EnableHTTP2 = a.leaf(nil), true
	server.StartTLS()
	defer server.Close()
	to := Server{Network: "https", Addr: addrPort(server.Listener), Name: serverName, Path: "/dns-query"}
	p := pool(t, Config{Servers: []Server{to}, RootCAs: a.pool()})
	for range 3 {
		wantHonest(t, p, to)
		server.CloseClientConnections()
	}
}

// One large answer, and one that says there is nothing, over every network.
func TestEveryNetworkAnswers(t *testing.T) {
	a := newAuthority(t)
	answers := map[string]struct {
		edit  func(*dns.Msg)
		rrs   int
		rcode int
	}{
		"large": {func(m *dns.Msg) {
			for len(m.Answer) < 4050 {
				m.Answer = append(m.Answer, m.Answer[0])
			}
		}, 4050, 0},
		"no name": {func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil }, 0, dns.RcodeNameError},
		"no data": {func(m *dns.Msg) { m.Answer = nil }, 0, 0},
	}
	for name, want := range answers {
		plain := serve(t, says(want.edit), says(want.edit))
		dot, _ := serveTLS(t, a.leaf(nil), says(want.edit))
		doh := serveHTTPS(t, a.leaf(nil), true, func(w http.ResponseWriter, r *http.Request) {
			query, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", dnsMessage+"; charset=binary")
			w.Write(answerTo(query, want.edit))
		})
		for _, server := range []Server{plain.over("udp"), plain.over("tcp"), dot, doh} {
			p := pool(t, Config{Servers: []Server{server}, RootCAs: a.pool(), Attempts: 1})
			reply, err := p.Ask(t.Context(), mailA)
			if err != nil || len(reply.Msg.Answer) != want.rrs || reply.Msg.Rcode != want.rcode {
				t.Errorf("%s over %s: %v, %v", name, server.Network, reply, err)
			}
		}
	}
}
