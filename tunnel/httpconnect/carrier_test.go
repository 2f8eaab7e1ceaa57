package httpconnect

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/tunnel"
)

func basicOf(user, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

// A tunnel is the same over each version, many on one connection where there may be.
func TestTunnel(t *testing.T) {
	onEach(t, Config{Header: "X-Ticket"}, func(t *testing.T, w *world, c client) {
		for _, header := range [][]string{
			{"Proxy-Authorization", bearer0},
			{"Proxy-Authorization", basicOf("jürgen€", testTicket)},
			{"X-Ticket", testTicket},
			{"X-Ticket", bearer0},
		} {
			r := c.connect(t, "echo.test:443", header...)
			if r.status != http.StatusOK {
				t.Fatal(r.status)
			}
			r.echoes(t, "hello")
			r.echoes(t, strings.Repeat("0123456789abcdef", 20<<10)[:20<<10])
			if err := r.closeWrite(); err != nil {
				t.Fatal(err)
			}
			if rest := r.all(t); rest != "" {
				t.Errorf("%q", rest)
			}
			if result := <-w.ended; result.Reason != tunnel.ClientClosed || result.Up != 5+20<<10 || result.Up != result.Down {
				t.Errorf("%+v", result)
			}
			peer := <-w.peers
			if !slices.Contains([]string{CarrierHTTP1, CarrierHTTP2, CarrierHTTP3}, peer.Carrier) || peer.ServerName != testName ||
				!peer.Remote.IsValid() || !peer.Local.IsValid() || peer.Deadline.IsZero() {
				t.Errorf("%+v", peer)
			}
		}
	})
}

// What is wrong with a ticket cannot be seen from outside; everything else has words.
func TestRefusals(t *testing.T) {
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		var bad []string
		for _, test := range []struct {
			target, authorization, label string
			status                       int
			says                         string
		}{
			{"echo.test:443", "", tunnel.LabelNoCredential, 407, "ticket"},
			{"echo.test:443", "Negotiate abc", tunnel.LabelNoCredential, 407, "ticket"},
			{"echo.test:443", "Bearer wrong", "ticket_wrong", 407, "ticket"},
			{"echo.test:443", "Bearer ;40;STA01;x", "ticket_;40;STA01;x", 407, "ticket"},
			{"echo.test:443", basicOf("u", "unknown"), "ticket_unknown", 407, "ticket"},
			{"other.test:443", bearer0, "not_listed", 403, "not on the list"},
			{"unknown.test:443", bearer0, "name_not_found", 502, "no such name"},
			{"busy.test:443", bearer0, "no_ports", 503, "Try again"},
			{"echo.test:443", "Bearer a,Bearer b", LabelMalformed, 400, "malformed"},
			{"echo.test:443", "Basic !!", LabelMalformed, 400, "malformed"},
			{"echo.test:0", bearer0, LabelMalformed, 400, "malformed"},
		} {
			var header []string
			if test.authorization != "" {
				header = []string{"Proxy-Authorization", test.authorization}
			}
			r := c.connect(t, test.target, header...)
			body := r.all(t)
			if r.status != test.status || !strings.Contains(body, test.says) {
				t.Errorf("%+v: %d %q", test, r.status, body)
			}
			r.close() // of an unasked one over HTTP/1.1 we hear only then
			if label := <-w.labels; label != test.label {
				t.Errorf("%+v: %s", test, label)
			}
			if (r.header.Get("Retry-After") != "") != (r.status == 503) || r.header.Get("Server") != "" {
				t.Errorf("%+v: %v", test, r.header)
			}
			if r.status == 407 {
				if !slices.Equal(r.header["Proxy-Authenticate"], challenges) {
					t.Error(r.header)
				}
				bad = append(bad, body)
			}
		}
		if len(slices.Compact(bad)) != 1 {
			t.Errorf("answers differ: %q", bad)
		}
	})
}

// What is neither CONNECT nor DNS is not here.
func TestNothingHere(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	h2, h3 := w.http2(t), w.http3(t)
	for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD", "TRACE"} {
		for _, over := range []http.RoundTripper{h2.conn, h3.conn} {
			r, _ := http.NewRequest(method, "https://"+testName+"/dns-query", nil)
			response, err := over.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != 404 || len(body) > 0 || response.Header.Get("Server") != "" || response.Header.Get("Content-Type") != "" {
				t.Errorf("%s: %s %v %q", method, response.Proto, response.Header, body)
			}
		}
	}
}

// A page of another host is none of ours to fetch, whoever asks, and the answer is a
// sentence for the person in front of the browser.
func TestNoPlainProxy(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	h2, h3 := w.http2(t), w.http3(t)
	for _, host := range []string{"echo.test", "echo.test:443", testName + ".evil.example", "[2001:db8::1]:80"} {
		for _, ticket := range []string{"", bearer0, "Bearer wrong"} {
			for _, over := range []http.RoundTripper{h2.conn, h3.conn} {
				r, _ := http.NewRequest("GET", "https://"+host+"/", nil)
				if ticket != "" {
					r.Header.Set("Proxy-Authorization", ticket)
				}
				response, err := over.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				if response.StatusCode != 405 || !bytes.Equal(body, noPlainProxy().body) || response.Header.Get("Allow") != "CONNECT" {
					t.Errorf("%s with %q: %s %s %q", host, ticket, response.Proto, response.Status, body)
				}
			}
		}
	}
	for _, ours := range []string{strings.ToUpper(testName), testName + ".", testName + ":8443"} {
		r, _ := http.NewRequest("GET", "https://"+ours+"/", nil)
		if response, err := h2.conn.RoundTrip(r); err != nil || response.StatusCode != 404 {
			t.Errorf("%s: %v, %v", ours, response, err)
		}
	}
	conn := w.dialTLS(t)
	_, _ = io.WriteString(conn, "GET http://echo.test/ HTTP/1.1\r\nHost: echo.test\r\n\r\n")
	if heard, _ := io.ReadAll(conn); !bytes.HasPrefix(heard, []byte("HTTP/1.1 405 ")) || !bytes.HasSuffix(heard, noPlainProxy().body) {
		t.Errorf("%q", heard)
	}
}

// The service ends first, and the client hears all of it and the end.
func TestServiceEndsFirst(t *testing.T) {
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		heard := make(chan string, 1)
		w.leads("closer.test", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, strings.Repeat("bye ", 10<<10))
			_ = c.CloseWrite()
			rest, _ := io.ReadAll(c)
			heard <- string(rest)
		})
		r := c.connect(t, "closer.test:443", "Proxy-Authorization", bearer0)
		if rest := r.all(t); len(rest) != 40<<10 {
			t.Errorf("%d bytes", len(rest))
		}
		want := ""
		if _, ok := c.(clientHTTP2); !ok { // whose library hears no more
			want = "and you"
			_, _ = io.WriteString(r, want)
		}
		_ = r.closeWrite()
		if result := <-w.ended; result.Reason != tunnel.ServiceClosed {
			t.Errorf("%+v", result)
		}
		if rest := <-heard; rest != want {
			t.Errorf("the service heard %q", rest)
		}
	})
}

// A client ends first, and hears the answer; a client that goes away ends its tunnel.
func TestClientEnds(t *testing.T) {
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		w.leads("late.test", func(c *net.TCPConn) {
			said, _ := io.ReadAll(c)
			_, _ = c.Write(append(said, '!'))
		})
		r := c.connect(t, "late.test:443", "Proxy-Authorization", bearer0)
		_, _ = io.WriteString(r, "question")
		_ = r.closeWrite()
		if answer := r.all(t); answer != "question!" {
			t.Errorf("%q", answer)
		}
		if result := <-w.ended; result.Reason != tunnel.ClientClosed {
			t.Errorf("%+v", result)
		}
		r = c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
		r.echoes(t, "here")
		r.close()
		if result := <-w.ended; result.Up != 4 {
			t.Errorf("%+v", result)
		}
	})
}

// An abort ends a stream whose client takes nothing, and no other stream.
func TestAbort(t *testing.T) {
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		full := make(chan struct{})
		w.leads("flood.test", func(c *net.TCPConn) {
			defer close(full)
			piece := make([]byte, 64<<10)
			for {
				if _, err := c.Write(piece); err != nil {
					return
				}
			}
		})
		r := c.connect(t, "flood.test:443", "Proxy-Authorization", bearer0)
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		other := &reply{}
		if _, ok := c.(clientHTTP1); !ok { // or the connection would end, too
			<-w.peers
			w.spare <- struct{}{}
			other = c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
		}
		close(w.revoked)
		if result := <-w.ended; result.Reason != tunnel.Cut {
			t.Errorf("%+v", result)
		}
		<-full
		if _, err := io.Copy(io.Discard, r); err == nil {
			t.Error("the client took it for an end")
		}
		if other.status != 0 {
			other.echoes(t, "still here")
			if r := c.connect(t, "other.test:443", "Proxy-Authorization", bearer0); r.status != 403 {
				t.Error(r.status)
			}
		}
	})
}

type handlerFunc func(context.Context, tunnel.Negotiation)

func (f handlerFunc) ServeTunnel(ctx context.Context, n tunnel.Negotiation) { f(ctx, n) }

// Whoever still uses a stream that has ended is told so, and waits for nothing; and
// a step out of order is an error.
func TestUseAfterTheEnd(t *testing.T) {
	for _, end := range []func(tunnel.Stream){
		func(s tunnel.Stream) { _ = s.Close() },
		tunnel.Abort,
	} {
		answered, done := make(chan struct{}), make(chan struct{})
		w := newWorld(t, Config{}, tunnel.Config{Handler: handlerFunc(func(ctx context.Context, n tunnel.Negotiation) {
			defer func() { done <- struct{}{} }()
			if _, err := n.Destination(ctx); !errors.Is(err, errOrder) {
				t.Error(err)
			}
			if _, err := n.Succeed(); !errors.Is(err, errOrder) {
				t.Error(err)
			}
			_, err := n.Credential(ctx)
			if _, again := n.Credential(ctx); err != nil || !errors.Is(again, errOrder) {
				t.Error(err, again)
			}
			_, err = n.Destination(ctx)
			s, failed := n.Succeed()
			if err != nil || failed != nil {
				t.Error(err, failed)
				return
			}
			<-answered
			end(s)
			for range 100 { // until the handler has returned, and after
				if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write: %v", err)
				}
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read: %v", err)
				}
			}
			n.Refuse(errOrder)
			_ = s.Close()
			tunnel.Abort(s)
		})})
		w.overQUIC(t)
		for _, c := range []client{w.http2(t), w.http3(t)} {
			r := c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
			answered <- struct{}{}
			_, _ = io.ReadAll(r)
			<-done
		}
	}
}

// echoes writes and hears the same.
func (r *reply) echoes(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(r, text); err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, len(text))
	if _, err := io.ReadFull(r, heard); err != nil || string(heard) != text {
		t.Fatalf("%q, %v, want %q", heard, err, text)
	}
}

func (r *reply) all(t testing.TB) string {
	t.Helper()
	heard, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("after %q: %v", heard, err)
	}
	return string(heard)
}
