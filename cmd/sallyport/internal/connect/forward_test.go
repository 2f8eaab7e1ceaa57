package connect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startOrigin starts a real web server that tells what reached it.
func startOrigin(t *testing.T, answer http.HandlerFunc) (addr string, seen chan *http.Request) {
	t.Helper()
	seen = make(chan *http.Request, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), seen
}

// A request in absolute form arrives as it was meant, without what concerns one
// hop only, and alone.
func TestForwarding(t *testing.T) {
	origin, seen := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %q, %v", body, err)
	})
	g := startGateway(t)
	g.routes["traveler.example.com:80"] = origin
	p, told := startHTTP(t, g.config(Off))
	request := "POST http://traveler.example.com/traveler/Microsoft-Server-ActiveSync?Cmd=Ping;x&%zz HTTP/1.1\r\n" +
		"Host: another.example.com\r\nConnection: X-Private, close\r\nX-Private: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n" +
		"TE: trailers\r\nUpgrade: h2c\r\nX-End: to end\r\nTransfer-Encoding: chunked\r\n" + basic(localSecret) +
		"\r\n5\r\nhello\r\n0\r\n\r\n"
	// Behind it lies a second request, which must not get anywhere.
	request += "GET http://secret.example.com/ HTTP/1.1\r\nHost: secret.example.com\r\n\r\n"
	conn, response, body := say(t, p, request)
	if response.StatusCode != http.StatusOK || body != `got "hello", <nil>` || !response.Close {
		t.Errorf("%s %q, closing %t", response.Status, body, response.Close)
	}
	if rest, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
		t.Errorf("behind the answer came %q, %v", rest, err)
	}
	r := <-seen
	if r.Host != "traveler.example.com" || r.RequestURI != "/traveler/Microsoft-Server-ActiveSync?Cmd=Ping;x&%zz" {
		t.Errorf("the origin saw %s of %s", r.RequestURI, r.Host)
	}
	var names []string
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"Connection", "X-End"}) || r.Header.Get("Connection") != "close" || r.Header.Get("X-End") != "to end" {
		t.Errorf("the origin saw %v", r.Header)
	}
	if got := <-told; got.Destination.String() != "traveler.example.com:80" || got.Err != nil {
		t.Errorf("told %+v", got)
	}
	if n := len(g.visits()); n != 1 || len(seen) > 0 {
		t.Errorf("the gateway saw %d streams, and %d requests are left", n, len(seen))
	}
}

// What a service says of its own hop does not reach the application, and its
// connection is not kept.
func TestForwardedAnswerHeaders(t *testing.T) {
	g := startGateway(t)
	g.routes["traveler.example.com:80"] = misfit(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: theirs\r\nKeep-Alive: timeout=5\r\n"+
				"Proxy-Authenticate: Basic realm=theirs\r\nX-End: to end\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled")
		}
	})
	p, _ := startHTTP(t, g.config(Off))
	conn, response, body := say(t, p, "GET http://traveler.example.com/ HTTP/1.1\r\nHost: x\r\n"+basic(localSecret)+"\r\n")
	for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate"} {
		if response.Header.Get(name) != "" {
			t.Errorf("the answer has %s", name)
		}
	}
	if response.StatusCode != http.StatusOK || body != "ok" || !response.Close || response.Header.Get("X-End") != "to end" {
		t.Errorf("%s %q %v", response.Status, body, response.Header)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("behind the answer came %q, %v", rest, err)
	}
}

// An interim answer, a large one, and one to HEAD.
func TestForwardedAnswers(t *testing.T) {
	origin, _ := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "5")
			return
		}
		_, _ = io.Copy(w, r.Body) // which makes net/http answer 100
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	g := startGateway(t)
	g.routes["traveler.example.com:8080"] = origin
	p, _ := startHTTP(t, g.config(Off))
	transport := &http.Transport{
		Proxy:                 http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword(LocalUser, localSecret), Host: p.addr.String()}),
		ExpectContinueTimeout: 5 * time.Second,
	}
	defer transport.CloseIdleConnections()
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://traveler.example.com:8080/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Expect", "100-continue")
	response, err := transport.RoundTrip(post)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || len(body) != 4+1<<20 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	head, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://traveler.example.com:8080/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err = transport.RoundTrip(head); err != nil || response.ContentLength != 5 {
		t.Errorf("HEAD: %v, %v", response, err)
	}
}

// An application that goes away takes its request with it, and so does the end
// of the program.
func TestForwardingEnds(t *testing.T) {
	for _, how := range []string{"the application goes", "the program ends"} {
		t.Run(how, func(t *testing.T) {
			gone := make(chan struct{})
			origin, seen := startOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				close(gone)
			})
			g := startGateway(t)
			g.routes["traveler.example.com:80"] = origin
			p, err := New(g.config(Off))
			if err != nil {
				t.Fatal(err)
			}
			p.httpListen = "127.0.0.1:0"
			ln, err := p.ListenHTTP(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			served := make(chan error, 1)
			go func() { served <- p.ServeHTTPProxy(ctx, ln) }()
			conn := rawProxy(t, &runningProxy{p, ln.Addr()})
			if _, err := io.WriteString(conn, "GET http://traveler.example.com/ HTTP/1.1\r\nHost: x\r\n"+basic(localSecret)+"\r\n"); err != nil {
				t.Fatal(err)
			}
			<-seen
			if how == "the program ends" {
				cancel()
			} else {
				_ = conn.Close()
			}
			<-gone
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}
