package httpconnect

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"encoding/pem"

	"github.com/sallyport/sallyport/tunnel"
)

const authorized = "Proxy-Authorization: " + bearer0 + "\r\n"

// What could be read in two ways is refused; what is plain is served.
func TestShapesOfHTTP1(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	const host = "Host: echo.test:443\r\n"
	const line = "CONNECT echo.test:443 HTTP/1.1\r\n"
	for _, test := range []struct{ name, say, status string }{
		{"plain", line + host + authorized + "\r\n", "200 Connection established"},
		{"bare line feeds", "CONNECT echo.test:443 HTTP/1.1\nHost: echo.test:443\nProxy-Authorization: " + bearer0 + "\n\n", "200 Connection established"},
		{"HTTP/1.0 without Host", "CONNECT echo.test:443 HTTP/1.0\r\n" + authorized + "\r\n", "200 Connection established"},
		{"Host in capitals", line + "Host: ECHO.test:443\r\n" + authorized + "\r\n", "200 Connection established"},
		{"no Host", line + authorized + "\r\n", "400"},
		{"two Hosts", line + host + host + authorized + "\r\n", "400"},
		{"another Host", line + "Host: mail.test:443\r\n" + authorized + "\r\n", "400"},
		{"Host without port", line + "Host: echo.test\r\n" + authorized + "\r\n", "400"},
		{"a length", line + host + authorized + "Content-Length: 4\r\n\r\nbody", "400"},
		{"a length of nothing", line + host + authorized + "Content-Length: 0\r\n\r\n", "400"},
		{"two lengths", line + host + authorized + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", "400"},
		{"chunks", line + host + authorized + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		{"chunks and length", line + host + authorized + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "400"},
		{"chunks misspelt", line + host + authorized + "Transfer-Encoding: xchunked\r\n\r\n", "400"},
		{"chunks behind a blank", line + host + authorized + "Transfer-Encoding : chunked\r\n\r\n", "400"},
		{"chunks folded", line + host + authorized + "Transfer-Encoding:\r\n chunked\r\n\r\n", "400"},
		{"a folded header", line + host + authorized + "X-Y: a\r\n b\r\n\r\n", "400"},
		{"a folded first header", line + " X: y\r\n" + host + authorized + "\r\n", "400"},
		{"a bare CR", line + host + authorized + "X: a\rTransfer-Encoding: chunked\r\n\r\n", "400"},
		{"a NUL", line + host + authorized + "X: a\x00b\r\n\r\n", "400"},
		{"no colon", line + host + authorized + "nonsense\r\n\r\n", "400"},
		{"no name", line + host + authorized + ": x\r\n\r\n", "400"},
		{"two credentials", line + host + authorized + authorized + "\r\n", "400"},
		{"credentials joined", line + host + "Proxy-Authorization: Bearer x, Bearer y\r\n\r\n", "400"},
		{"an empty credential", line + host + "Proxy-Authorization: \r\n\r\n", "400"},
		{"a long credential", line + host + "Proxy-Authorization: Bearer " + strings.Repeat("x", 4097) + "\r\n\r\n", "400"},
		{"a longest credential", line + host + "Proxy-Authorization: Bearer " + strings.Repeat("x", 4096) + "\r\n\r\n", "407"},
		{"no port", "CONNECT echo.test HTTP/1.1\r\nHost: echo.test\r\n" + authorized + "\r\n", "400"},
		{"a user", "CONNECT me@echo.test:443 HTTP/1.1\r\nHost: me@echo.test:443\r\n" + authorized + "\r\n", "400"},
		{"a path", "CONNECT echo.test:443/x HTTP/1.1\r\nHost: echo.test:443/x\r\n" + authorized + "\r\n", "400"},
		{"only a path", "CONNECT /x HTTP/1.1\r\n" + host + authorized + "\r\n", "400"},
		{"a URL", "CONNECT https://echo.test:443 HTTP/1.1\r\n" + host + authorized + "\r\n", "400"},
		{"a ticket for a name", "CONNECT ;40;STA01;X:443 HTTP/1.1\r\nHost: ;40;STA01;X:443\r\n" + authorized + "\r\n", "400"},
		{"plain proxying", "GET http://echo.test/ HTTP/1.1\r\nHost: echo.test\r\n" + authorized + "\r\n", "405"},
		{"a page", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		{"DNS, which is off", "GET /dns-query?dns=AAAA HTTP/1.1\r\nHost: x\r\n" + authorized + "\r\n", "404"},
		{"a banner hunt", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		{"HTTP/2 without ALPN", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		{"HTTP/0.9", "GET /\r\n\r\n", "400"},
		{"the PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + line + host + authorized + "\r\n", "400"},
		{"garbage", "\x16\x03\x01\x02\x00\r\n\r\n", "400"},
		{"a huge header", line + host + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "431"},
		{"many headers", line + host + strings.Repeat("X: y\r\n", 10000) + "\r\n", "431"},
		{"an end in the middle", line + host, "400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := w.dialTLS(t)
			go func() { _, _ = io.WriteString(conn, test.say); _ = conn.CloseWrite() }()
			heard, _ := io.ReadAll(conn) // a client that goes on saying things is cut off in the end
			if !strings.HasPrefix(string(heard), "HTTP/1.1 "+test.status) {
				t.Errorf("%q", heard)
			}
			if strings.Contains(strings.ToLower(string(heard)), "server:") {
				t.Errorf("it says who it is: %q", heard)
			}
		})
	}
}

// Asked for a credential, a client sends one on the same connection, and what it
// sends ahead reaches the service after success.
func TestAskedOnTheSameConnection(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	const request = "CONNECT echo.test:443 HTTP/1.1\r\nHost: echo.test:443\r\n"
	for _, test := range []struct {
		unasked int
		last    bool
	}{{0, false}, {1, false}, {2, false}, {3, true}} {
		conn := w.dialTLS(t)
		in := bufio.NewReader(conn)
		// All at once: what is behind a request has to wait its turn.
		_, _ = io.WriteString(conn, strings.Repeat(request+"\r\n", test.unasked)+request+authorized+"\r\nahead")
		for i := range test.unasked {
			r, err := http.ReadResponse(in, nil)
			if err != nil || r.StatusCode != 407 || r.Close != (i == maxUnasked-1) {
				t.Fatalf("%d of %d: %+v, %v", i, test.unasked, r, err)
			}
			_, _ = io.Copy(io.Discard, r.Body)
		}
		if test.last {
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
			if label := <-w.labels; label != tunnel.LabelNoCredential {
				t.Error(label)
			}
			continue
		}
		heard := make([]byte, len(established)+5)
		if _, err := io.ReadFull(in, heard); err != nil || string(heard) != established+"ahead" {
			t.Errorf("%q, %v", heard, err)
		}
		if label := <-w.labels; label != "" {
			t.Error(label)
		}
	}
}

// Headers that come slowly are bounded in time, on HTTP/1.1 and HTTP/2.
func TestSlowHeaders(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{SetupTimeout: 100 * time.Millisecond})
	for _, test := range []struct{ protocol, say string }{
		{"http/1.1", "CONNECT echo.test:443 HTTP/1.1\r\nHos"},
		{"h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x40\x00\x01\x00"},
	} {
		conn := w.dialTLS(t, test.protocol)
		_, _ = io.WriteString(conn, test.say)
		heard, err := io.ReadAll(conn)
		if test.protocol == "http/1.1" && (err != nil || !strings.HasPrefix(string(heard), "HTTP/1.1 408 ")) {
			t.Errorf("%q, %v", heard, err)
		}
		if os.IsTimeout(err) {
			t.Error("the connection is still there")
		}
	}
}

func TestTransport(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	for _, secret := range []string{testTicket, "wrong"} {
		transport := &http.Transport{
			Proxy:           http.ProxyURL(&url.URL{Scheme: "https", Host: w.tcp, User: url.UserPassword("jürgen", secret)}),
			TLSClientConfig: clientTLS(),
		}
		w.leads("pages.test", func(c *net.TCPConn) { // TLS inside TLS is too much for this test: it only has to get there
			_, _ = io.Copy(io.Discard, io.LimitReader(c, 1))
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://pages.test/", nil)
		_, err := transport.RoundTrip(r)
		cancel()
		label := <-w.labels
		if err == nil || (label == "") != (secret == testTicket) {
			t.Errorf("%q, %v", label, err)
		}
		if secret != testTicket && !strings.Contains(err.Error(), "Proxy Authentication Required") {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	}
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Config{}, tunnel.Config{})
	w.leads("pages.test", func(c *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"+r.URL.Path)
		}
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCertificate().Certificate[0]})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(w.tcp)
	for _, test := range []struct {
		name  string
		flags []string
		want  string
	}{
		{"a handle in a header", []string{"--proxy-header", "Proxy-Authorization: " + bearer0}, "/page"},
		{"Basic at once", []string{"--proxy-basic", "--proxy-user", "user:" + testTicket}, "/page"},
		{"any scheme, when asked", []string{"--proxy-anyauth", "--proxy-user", "user:" + testTicket}, "/page"},
		{"a wrong ticket", []string{"--proxy-user", "user:wrong"}, "response 407"},
		{"none", nil, "response 407"},
	} {
		args := append([]string{"-sS", "--max-time", "5", "--proxytunnel", "--proxy-cacert", ca, "--proxy", "https://" + testName + ":" + port,
			"--resolve", testName + ":" + port + ":127.0.0.1"}, test.flags...)
		heard, _ := exec.CommandContext(t.Context(), curl, append(args, "http://pages.test/page")...).CombinedOutput()
		if !strings.Contains(string(heard), test.want) {
			t.Errorf("%s: %s", test.name, heard)
		}
	}
}

// The inside door asks for nothing, and hears those who may and nobody else.
func TestInside(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	l, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.run(t, Inside(l, func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }))
	ask := func(from, say string) string {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, say)
		_ = conn.(*net.TCPConn).CloseWrite()
		heard, err := io.ReadAll(conn)
		if os.IsTimeout(err) {
			t.Error(err)
		}
		return string(heard)
	}
	const request = "CONNECT echo.test:443 HTTP/1.1\r\nHost: echo.test:443\r\n"
	const forged = "Forwarded: for=127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
	for _, test := range []struct{ name, from, say, want, label string }{
		{"allowed", "127.0.0.1", request + "\r\nahead", established + "ahead", ""},
		{"a ticket is not looked at", "127.0.0.1", request + "Proxy-Authorization: Bearer a,b\r\n\r\n", established, ""},
		{"another destination", "127.0.0.1", "CONNECT mail.test:443 HTTP/1.1\r\nHost: mail.test:443\r\n\r\n", "HTTP/1.1 403 ", "not_listed"},
		{"PROXY", "127.0.0.1", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + request + "\r\n", "HTTP/1.1 400 ", LabelMalformed},
		{"a page", "127.0.0.1", "GET http://echo.test/ HTTP/1.1\r\nHost: echo.test\r\n\r\n", "HTTP/1.1 405 ", LabelUnsupported},
		{"a body", "127.0.0.1", request + "Content-Length: 3\r\n\r\nabc", "HTTP/1.1 400 ", LabelMalformed},
		{"too much", "127.0.0.1", request + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", "HTTP/1.1 431 ", tunnel.LabelTooMuch},
		{"nothing", "127.0.0.1", "", "", tunnel.LabelHungUp},
	} {
		if heard := ask(test.from, test.say); !strings.HasPrefix(heard, test.want) || (test.label == "" && heard != test.want) {
			t.Errorf("%s: %q", test.name, heard)
		}
		if label := <-w.labels; label != test.label {
			t.Errorf("%s: %s", test.name, label)
		}
		if peer := <-w.peers; peer.Carrier != CarrierInside || peer.Remote.Addr().String() != "127.0.0.1" {
			t.Errorf("%+v", peer)
		}
	}
	if heard := ask("127.0.0.2", request+forged); heard != "" {
		t.Errorf("a stranger heard %q", heard)
	}
}
