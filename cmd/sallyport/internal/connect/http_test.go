package connect

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/export"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// basic is the header line of the local password.
func basic(password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(LocalUser+":"+password)) + "\r\n"
}

// connectTo is a request for a tunnel.
func connectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n" + basic(localSecret) + "\r\n"
}

// say sends raw bytes to a proxy and reads one answer's head and body. The
// connection stays open.
func say(t testing.TB, p *runningProxy, text string) (*net.TCPConn, *http.Response, string) {
	t.Helper()
	conn := rawProxy(t, p)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	// One byte at a time: what follows the head is the tunnel's.
	response, err := http.ReadResponse(bufio.NewReaderSize(oneByte{conn}, 16), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	if method == http.MethodConnect && response.StatusCode == http.StatusOK {
		return conn, response, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	return conn, response, string(body)
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(1, len(b))]) }

// CONNECT, both ways: early bytes come first, and half-close is kept.
func TestConnectBothWays(t *testing.T) {
	g := startGateway(t)
	service := startService(t)
	g.routes["mail.example.com:443"] = service.String()
	g.routes["[2001:db8::1]:443"] = service.String()
	for _, tt := range []struct {
		target string
		mode   Mode
		via    Via
	}{
		{"mail.example.com:443", On, Gateway},
		{"[2001:db8::1]:443", Off, Gateway},
		{service.String(), On, Direct},
	} {
		p, told := startHTTP(t, g.config(tt.mode))
		conn, response, _ := say(t, p, connectTo(tt.target)+"early ")
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", tt.target, response.Status)
		}
		if _, err := io.WriteString(conn, "and late"); err != nil {
			t.Fatal(err)
		}
		finish(t, conn, "early and late")
		if got := <-told; got.Via != tt.via || got.Err != nil {
			t.Errorf("%s: told %+v", tt.target, got)
		}
	}
}

// A real client, whose password is in the proxy's URL.
func TestStandardClient(t *testing.T) {
	g := startGateway(t)
	origin := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer origin.Close()
	g.routes["mail.example.com:443"] = origin.Listener.Addr().String()
	p, _ := startHTTP(t, g.config(Off))
	transport := origin.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = nil // httptest's own leads past the proxy
	transport.TLSClientConfig.ServerName = "example.com"
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword(LocalUser, localSecret), Host: p.addr.String()})
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://mail.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		t.Errorf("got %q, %v", body, err)
	}
}

// What stood in the way is told by the status, and by a sentence.
func TestStatuses(t *testing.T) {
	tests := []struct {
		err    error
		status int
		text   string
	}{
		{&socks.ReplyError{Reply: socks.NotAllowed}, 403, "not allow"},
		{&socks.ReplyError{Reply: socks.HostUnreachable}, 502, "found or reached"},
		{&socks.ReplyError{Reply: socks.NetworkUnreachable}, 502, "found or reached"},
		{&socks.ReplyError{Reply: socks.ConnectionRefused}, 502, "destination refuses"},
		{&socks.ReplyError{Reply: socks.TTLExpired}, 504, "destination did not answer"},
		{&socks.ReplyError{Reply: socks.GeneralFailure}, 502, "could not be made"},
		{errNoHost, 403, "no host"},
		{ErrTicketRefused, 502, "refused the ticket"},
		{ErrNoTicket, 502, "no ticket"},
		{errors.Join(ErrTLS, context.DeadlineExceeded), 502, "TLS with the gateway"},
		{errors.Join(ErrUnreachable, syscall.ECONNREFUSED), 502, "gateway cannot be reached"},
		{errors.Join(ErrUnreachable, context.DeadlineExceeded), 504, "gateway did not answer"},
		{syscall.ECONNREFUSED, 502, "destination refuses"},
		{&net.DNSError{IsNotFound: true}, 502, "found or reached"},
		{&net.DNSError{IsTimeout: true}, 504, "destination did not answer"},
		{ErrProtocol, 502, "could not be made"},
	}
	for _, tt := range tests {
		if status, text := statusFor(tt.err); status != tt.status || !strings.Contains(text, tt.text) {
			t.Errorf("%v: %d %q, want %d %q", tt.err, status, text, tt.status, tt.text)
		}
	}
}

// The same over the wire, for both forms of a request.
func TestRefusalsOverHTTP(t *testing.T) {
	g := startGateway(t)
	g.reply["late.example.com:443"], g.reply["late.example.com:80"] = socks.TTLExpired, socks.TTLExpired
	bad := g.config(Off)
	bad.Ticket = func() (string, error) { return strings.Repeat("X", 32), nil }
	gone := g.config(Off)
	gone.Gateway = closedPort(t)
	for _, tt := range []struct {
		config Config
		host   string
		status int
		text   string
	}{
		{g.config(Off), "unlisted.example.com", 403, "not allow"},
		{g.config(Off), "late.example.com", 504, "did not answer"},
		{g.config(On), "127.1", 403, "no host"},
		{bad, "mail.example.com", 502, "refused the ticket"},
		{gone, "mail.example.com", 502, "gateway cannot be reached"},
	} {
		p, told := startHTTP(t, tt.config)
		for _, request := range []string{
			connectTo(tt.host + ":443"),
			"GET http://" + tt.host + "/ HTTP/1.1\r\nHost: x\r\n" + basic(localSecret) + "\r\n",
		} {
			_, response, body := say(t, p, request)
			if response.StatusCode != tt.status || !strings.Contains(body, tt.text) {
				t.Errorf("%s: %s %q", tt.host, response.Status, body)
			}
			if strings.Contains(body, tt.host) {
				t.Errorf("the answer repeats what was asked: %q", body)
			}
			if got := <-told; got.Err == nil {
				t.Errorf("%s: told of success", tt.host)
			}
		}
	}
}

// What is refused before anything is opened.
func TestHTTPRefusals(t *testing.T) {
	refused := make(chan error, 64)
	g := startGateway(t)
	c := g.config(Off)
	c.Hooks.Refused = func(err error) { refused <- err }
	p, _ := startHTTP(t, c)
	good := basic(localSecret)
	get := func(target, headers string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: mail.example.com\r\n" + headers + "\r\n"
	}
	post := func(headers string) string {
		return "POST http://mail.example.com/ HTTP/1.1\r\nHost: mail.example.com\r\n" + good + headers + "\r\n"
	}
	tests := []struct {
		name, say string
		status    int
		err       error // told, if not nil
	}{
		{"no password", "CONNECT mail.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 407, nil},
		{"no password, absolute", get("http://mail.example.com/", ""), 407, nil},
		{"wrong password", get("http://mail.example.com/", basic("wrong-password-of-the-tests")), 407, errPassword},
		{"empty password", get("http://mail.example.com/", basic("")), 407, errPassword},
		{"wrong user", get("http://mail.example.com/", "Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("root:"+localSecret))+"\r\n"), 407, errPassword},
		{"not base64", get("http://mail.example.com/", "Proxy-Authorization: Basic !\r\n"), 407, errPassword},
		{"another scheme", get("http://mail.example.com/", "Proxy-Authorization: Bearer "+localSecret+"\r\n"), 407, socks.NoMethod},
		{"two passwords", get("http://mail.example.com/", basic("wrong")+good), 400, errAmbiguous},
		{"for the origin only", get("http://mail.example.com/", strings.TrimPrefix(good, "Proxy-")), 407, nil},

		{"length and chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400, errAmbiguous},
		{"chunks and length", post("Transfer-Encoding: chunked\r\ncontent-length: 4\r\n"), 400, errAmbiguous},
		{"two lengths", post("Content-Length: 4\r\nContent-Length: 4\r\n"), 400, errAmbiguous},
		{"a list of lengths", post("Content-Length: 4, 5\r\n"), 400, errHead},
		{"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400, errAmbiguous},
		{"unknown coding", post("Transfer-Encoding: gzip\r\n"), 400, errHead},
		{"hidden coding", post("Transfer-Encoding : chunked\r\n"), 400, errAmbiguous},
		{"folded line", post("Content-Length: 0\r\n\tTransfer-Encoding: chunked\r\n"), 400, errAmbiguous},
		{"bare line feed", post("X: y\nTransfer-Encoding: chunked\r\n"), 400, errAmbiguous},
		{"bare carriage return", post("X: y\rTransfer-Encoding: chunked\r\n"), 400, errAmbiguous},
		{"NUL", post("X: \x00\r\n"), 400, errAmbiguous},
		{"no name", post(": y\r\n"), 400, errAmbiguous},
		{"no colon", post("X\r\n"), 400, errAmbiguous},
		{"coding in HTTP/1.0", "POST http://mail.example.com/ HTTP/1.0\r\n" + good + "Transfer-Encoding: chunked\r\n\r\n", 400, errAmbiguous},
		{"two hosts", get("http://mail.example.com/", "Host: other\r\n"+good), 400, errAmbiguous},
		{"no host", "GET http://mail.example.com/ HTTP/1.1\r\n" + good + "\r\n", 400, errAmbiguous},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", 400, errAmbiguous},
		{"HTTP/3", "GET http://mail.example.com/ HTTP/3.0\r\nHost: x\r\n" + good + "\r\n", 400, errHead},
		{"no request", "hello\r\n\r\n", 400, nil},
		{"a long head", get("http://mail.example.com/", "X: "+strings.Repeat("x", maxHead)+"\r\n"), 431, errHeadTooLong},
		{"CONNECT with a body", "CONNECT mail.example.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + good + "\r\nbody", 400, errAmbiguous},
		{"CONNECT with chunks", "CONNECT mail.example.com:443 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + good + "\r\n", 400, errAmbiguous},

		{"a fragment", get("http://mail.example.com/?q#f", good), 400, errTarget},
		{"a fragment behind the host", get("http://mail.example.com#f", good), 400, nil},
		{"a fragment in a request for the proxy", get("/proxy.pac#f", ""), 400, errTarget},
		{"https without CONNECT", get("https://mail.example.com/", good), 400, errTarget},
		{"ftp", get("ftp://mail.example.com/", good), 400, errTarget},
		{"user in the URL", get("http://user:secret@mail.example.com/", good), 400, errTarget},
		{"port 0", get("http://mail.example.com:0/", good), 400, errTarget},
		{"port 65536", get("http://mail.example.com:65536/", good), 400, errTarget},
		{"octal port", get("http://mail.example.com:0080/", good), 400, errTarget},
		{"no URL host", get("http:///x", good), 400, errTarget},
		{"opaque", get("http:mail.example.com", good), 400, errTarget},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n" + good + "\r\n", 400, errTarget},
		{"CONNECT without a port", connectTo("mail.example.com"), 400, errTarget},
		{"CONNECT with an empty port", connectTo("mail.example.com:"), 400, errTarget},
		{"CONNECT with a signed port", connectTo("mail.example.com:+443"), 400, nil},
		{"CONNECT with a path", connectTo("mail.example.com:443/x"), 400, errTarget},
		{"CONNECT with a user", connectTo("user@mail.example.com:443"), 400, errTarget},
		{"CONNECT to a URL", connectTo("http://mail.example.com:443"), 400, nil},
		{"CONNECT to a path", connectTo("/proxy.pac"), 400, nil},
		{"CONNECT to nothing", connectTo(":443"), 400, errTarget},
		{"CONNECT with a zone", connectTo("[fe80::1%25lo]:443"), 400, errTarget},
		{"CONNECT to IPv4 in brackets", connectTo("[127.0.0.1]:443"), 400, nil},
		{"CONNECT to IPv6 without brackets", connectTo("::1:443"), 400, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, response, body := say(t, p, tt.say)
			if response.StatusCode != tt.status {
				t.Errorf("%s %q, want %d", response.Status, body, tt.status)
			}
			if tt.status == 407 && response.Header.Get("Proxy-Authenticate") != challenge {
				t.Errorf("no challenge: %v", response.Header)
			}
			// The hook has been called before the answer was sent.
			var told error
			for len(refused) > 0 {
				told = <-refused
			}
			if tt.err != nil && !errors.Is(told, tt.err) {
				t.Errorf("told %v, want %v", told, tt.err)
			}
		})
	}
	if n := len(g.visits()); n != 0 {
		t.Errorf("the gateway saw %d streams", n)
	}
}

// A head that does not come is waited for no longer than a head may take.
func TestHeadLimit(t *testing.T) {
	p, err := New(idleConfig(t, Off))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	deadline := make(chan time.Time, 8)
	go p.serveHTTP(t.Context(), deadlineSpy{pipeStream{ours}, deadline}, nil)
	if got := time.Until(<-deadline); got > requestLimit || got < requestLimit-5*time.Second {
		t.Errorf("the head has %v", got)
	}
}

type pipeStream struct{ net.Conn }

func (pipeStream) CloseWrite() error { return nil }

type deadlineSpy struct {
	tunnel.Stream
	told chan time.Time
}

func (s deadlineSpy) SetDeadline(t time.Time) error {
	s.told <- t
	return s.Stream.Close() // the rest is not of interest
}

// The PAC file is for programs of this machine, says what the split says, and
// holds no secret.
func TestPACFile(t *testing.T) {
	c := startGateway(t).config(On)
	c.NetworkAccess, c.WebDomains, c.Suffixes = policy.AccessWebSSO, []string{"*.web.example.net"}, []string{"example.com"}
	p, _ := startHTTP(t, c)
	for _, host := range []string{p.addr.String(), "localhost:8118", "LOCALHOST", "127.0.0.1", "[::1]:8118"} {
		_, response, body := say(t, p, "GET /proxy.pac HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-ns-proxy-autoconfig" ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Fatalf("%s: %s, %v", host, response.Status, response.Header)
		}
		settings, proxies, err := export.ParsePAC([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if proxies.HTTP != p.addr.String() || proxies.SOCKS != "" || settings.Spec.SplitTunnel != "on" ||
			settings.Spec.Services != "mail.example.com:443,*.internal.example.com:443,192.0.2.7:443" ||
			!strings.HasPrefix(settings.Gateway, gatewayName+":") || !slices.Equal(settings.Spec.WebDomains, c.WebDomains) {
			t.Errorf("%+v, %+v", settings, proxies)
		}
		for _, secret := range []string{localSecret, goodTicket, c.User} {
			if strings.Contains(body, secret) {
				t.Error("the file holds a secret")
			}
		}
	}
	for request, status := range map[string]int{
		"GET /proxy.pac HTTP/1.1\r\nHost: evil.example:8118\r\n\r\n":                        403, // DNS rebinding
		"GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n":                   403,
		"GET /proxy.pac HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n":                                403,
		"GET /proxy.pac HTTP/1.1\r\nHost:\r\n\r\n":                                          403,
		"GET /proxy.pac HTTP/1.0\r\n\r\n":                                                   403,
		"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n": 403,
		"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n":  403,
		"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\n\r\n":        200,
		"HEAD /proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n":                               200,
		"POST /proxy.pac HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n":          405,
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":                                         404,
		"GET //proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n":                               404,
		"GET http://localhost/proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n":                407, // that is for a tunnel
		"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":          400,
	} {
		_, response, body := say(t, p, request)
		if response.StatusCode != status {
			t.Errorf("%q: %s", request, response.Status)
		}
		if status != 200 && strings.Contains(body, "mail.example.com") {
			t.Errorf("%q: the answer tells the list", request)
		}
	}
}

// Whichever proxy an application speaks to, it takes one of the same places, and
// without one it is not accepted.
func TestSharedPlaces(t *testing.T) {
	c := idleConfig(t, Off)
	synctest.Test(t, func(t *testing.T) {
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		p.slots = make(chan struct{}, 1)
		for _, serve := range []func(*Proxy, context.Context, net.Listener) error{(*Proxy).Serve, (*Proxy).ServeHTTPProxy} {
			p.slots <- struct{}{} // somebody's
			accepted := 0
			ln := &stubListener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, accept: func() (net.Conn, error) {
				accepted++
				return nil, net.ErrClosed
			}}
			served := make(chan error, 1)
			go func() { served <- serve(p, t.Context(), ln) }()
			synctest.Wait()
			if accepted != 0 {
				t.Error("accepted without a place")
			}
			<-p.slots
			if err := <-served; !errors.Is(err, net.ErrClosed) || accepted != 1 {
				t.Errorf("%v, accepted %d", err, accepted)
			}
		}
	})
}
