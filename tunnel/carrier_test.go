package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
)

// carriedPipe is a stream of another carrier, in memory.
type carriedPipe struct {
	net.Conn
	aborted chan struct{}
}

func (c *carriedPipe) CloseWrite() error                   { return c.Close() }
func (c *carriedPipe) Abort()                              { close(c.aborted); _ = c.Close() }
func (c *carriedPipe) Peer() Peer                          { return Peer{Carrier: "pipe", ServerName: testName} }
func (c *carriedPipe) Negotiation(a Admission) Negotiation { return SOCKS5(c, a) }

// carrying is a listener of such streams.
type carrying struct{ *pipeListener }

func (l carrying) Accept() (net.Conn, error) {
	conn, err := l.pipeListener.Accept()
	if err != nil {
		return nil, err
	}
	return &carriedPipe{Conn: conn, aborted: make(chan struct{})}, nil
}

// A stream of another carrier takes the same steps, in the same limits, as a
// connection of the server's own.
func TestCarried(t *testing.T) {
	peers, labels := make(chan Peer, 2), make(chan string, 2)
	server := newTestServer(t, Config{MaxStreams: 1, Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		peers <- n.Peer()
		c, _, s, err := walk(ctx, n)
		labels <- labelOf(err)
		if err != nil {
			n.Refuse(err)
			return
		}
		_, _ = io.WriteString(s, c.Secret)
		hearOut(s)
	})})
	l := carrying{newPipeListener()}
	serve(t, server, l)
	first := l.dial()
	say := func(conn net.Conn) { _, _ = io.WriteString(conn, greeting+userPass+connect+"ahead") }
	go say(first)
	hear(t, first, chosen+welcome+connected+"password")
	if p := <-peers; p.Carrier != "pipe" || p.ServerName != testName || p.Accepted.IsZero() || !p.Deadline.After(p.Accepted) {
		t.Errorf("%+v", p)
	}
	if label := <-labels; label != "" {
		t.Error(label)
	}
	second := l.dial()
	go say(second)
	hear(t, second, chosen+welcome+refusal(1))
	if label := <-labels; label != LabelFull {
		t.Errorf("the second one: %s", label)
	}
	_, _ = first.Close(), second.Close()
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	heard := make([]byte, len(want))
	if _, err := io.ReadFull(conn, heard); err != nil || string(heard) != want {
		t.Fatalf("%q, %v, want %q", heard, err, want)
	}
}

// What speaks HTTP goes to Web, by ALPN or by its first byte, and the rest to
// SOCKS5. What the request's reader took too much of comes out of the stream.
func TestWebSharesThePort(t *testing.T) {
	config := Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		if err != nil {
			n.Refuse(err)
			return
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})}
	config.Web = func(_ context.Context, d *Door) Negotiation {
		in := bufio.NewReaderSize(d, 16)
		request, err := http.ReadRequest(in)
		if err != nil {
			d.Refuse([]byte(labelOf(d.Failed("request", err))))
			return nil
		}
		d.Unread(in.Buffered())
		s, err := d.Succeed([]byte(request.Host + " " + d.Peer().ALPN + "\n"))
		if err != nil {
			t.Error(err)
			return nil
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
		return nil
	}
	server := newTestServer(t, config)
	server.config.TLS = ServerTLS(&tls.Config{Certificates: []tls.Certificate{testCertificate()}}, WebProtocols()...)
	addr := serve(t, server, listenLoopback(t))
	const request = "CONNECT mail.example.com:443 HTTP/1.1\r\nHost: mail.example.com:443\r\n\r\nahead"
	for _, test := range []struct {
		name     string
		offers   []string
		say      string
		want     string
		protocol string
	}{
		{"HTTP without ALPN", nil, request, "mail.example.com:443 \nahead", ""},
		{"HTTP/1.1 by ALPN", []string{"http/1.1"}, request, "mail.example.com:443 http/1.1\nahead", "http/1.1"},
		{"SOCKS5 without ALPN", nil, greeting + userPass + connect + "ahead", chosen + welcome + connected + "ahead", ""},
		{"SOCKS5 by ALPN", []string{"h2", ALPN}, greeting + userPass + connect, chosen + welcome + connected, ALPN},
		{"the server's order", []string{"http/1.1", "h2"}, request, "mail.example.com:443 h2\nahead", "h2"},
		{"what is neither", nil, "?", LabelConnection, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := testClientTLS()
			config.NextProtos = test.offers
			conn, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.ConnectionState().NegotiatedProtocol; got != test.protocol {
				t.Errorf("agreed on %q", got)
			}
			_, _ = io.WriteString(conn, test.say)
			_ = conn.CloseWrite()
			heard, err := io.ReadAll(conn)
			if err != nil || string(heard) != test.want {
				t.Errorf("%q, %v, want %q", heard, err, test.want)
			}
		})
	}
}
