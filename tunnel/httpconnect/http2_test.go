package httpconnect

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/tunnel"
)

// framed is a client of HTTP/2 that may send what no library would.
type framed struct {
	*http2.Framer
	conn   *tls.Conn
	packed bytes.Buffer
	pack   *hpack.Encoder
	next   uint32
}

func (w *world) framed(t testing.TB) *framed {
	t.Helper()
	c := &framed{conn: w.dialTLS(t, "h2"), next: 1}
	c.Framer = http2.NewFramer(c.conn, c.conn)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.pack = hpack.NewEncoder(&c.packed)
	_, _ = io.WriteString(c.conn, http2.ClientPreface)
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// block packs header fields.
func (c *framed) block(pairs ...string) []byte {
	c.packed.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = c.pack.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return c.packed.Bytes()
}

// begin sends a request without its end.
func (c *framed) begin(pairs ...string) (uint32, error) {
	id := c.next
	c.next += 2
	return id, c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(pairs...), EndHeaders: true})
}

func connectTo(target string) []string {
	return []string{":method", "CONNECT", ":authority", target, "proxy-authorization", bearer0}
}

// answer reads up to the answer of a stream: its status, or that it was reset.
func (c *framed) answer(t testing.TB, id uint32) string {
	t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return f.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			return "GOAWAY " + f.ErrCode.String()
		}
	}
}

// A short body that nobody wants does not cost the client its answer: there is no reset
// behind it. A long one, or one that does not come, is not waited for.
func TestUnwantedBody(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	post := []string{":method", "POST", ":scheme", "https", ":authority", testName, ":path", "/"}
	c := w.framed(t)
	id, err := c.begin(connectTo("echo.test:443")...) // so that it is known, and may send more
	if err != nil || c.answer(t, id) != "200" {
		t.Fatal(err)
	}
	for range 10 {
		id, err := c.begin(post...)
		if err != nil || c.WritePing(false, [8]byte{1}) != nil {
			t.Fatal(err)
		}
		c.pong(t, 1) // it has the headers
		if err := c.WriteData(id, true, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := c.answer(t, id); got != "404" {
			t.Fatal(got)
		}
		if err := c.WritePing(false, [8]byte{2}); err != nil {
			t.Fatal(err)
		}
		if reset := c.pong(t, 2); reset != "" {
			t.Fatalf("behind the answer: %s", reset)
		}
	}
	long, err := c.begin(post...)
	if err != nil || c.WriteData(long, false, make([]byte, 8<<10)) != nil {
		t.Fatal(err)
	}
	if got := c.answer(t, long); got != "404" {
		t.Error(got)
	}
	silent, err := c.begin(post...)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.answer(t, silent); got != "404" {
		t.Error(got)
	}
}

// pong waits for the answer to a ping, and says which reset came before it.
func (c *framed) pong(t testing.TB, of byte) (reset string) {
	t.Helper()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			reset = f.ErrCode.String()
		case *http2.PingFrame:
			if f.IsAck() && f.Data[0] == of {
				return reset
			}
		}
	}
}

// What the two request parsers of HTTP/2 and ours refuse, they refuse in words or by
// a reset, and never serve.
func TestShapesOfHTTP2(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	good := connectTo("echo.test:443")
	for _, test := range []struct {
		name  string
		pairs []string
		want  string
	}{
		{"plain", good, "200"},
		{"the same Host", append(good[:6:6], "host", "echo.test:443"), "200"},
		{"another Host", append(good[:6:6], "host", "mail.test:443"), "PROTOCOL_ERROR"},
		{"two Hosts", append(good[:6:6], "host", "echo.test:443", "host", "echo.test:443"), "PROTOCOL_ERROR"},
		{"two credentials", append(good[:6:6], "proxy-authorization", bearer0), "400"},
		{"a length", append(good[:6:6], "content-length", "3"), "400"},
		{"chunks", append(good[:6:6], "transfer-encoding", "chunked"), "400"},
		{"a connection header", append(good[:6:6], "connection", "close"), "400"},
		{"an expectation", append(good[:6:6], "expect", "100-continue"), "200"},
		{"a name in capitals", append(good[:6:6], "Proxy-Authorization", "x"), "PROTOCOL_ERROR"},
		{"a line break", append(good[:6:6], "x", "a\r\nb: c"), "PROTOCOL_ERROR"},
		{"a path", append([]string{":path", "/"}, good...), "PROTOCOL_ERROR"},
		{"another protocol", append([]string{":protocol", "websocket", ":path", "/", ":scheme", "https"}, good...), "PROTOCOL_ERROR"},
		{"no target", []string{":method", "CONNECT", "proxy-authorization", bearer0}, "PROTOCOL_ERROR"},
		{"no port", connectTo("echo.test"), "400"},
		{"a user", connectTo("me@echo.test:443"), "PROTOCOL_ERROR"},
		{"a ticket for a name", connectTo(";40;STA01;X:443"), "400"},
		{"15 KiB of headers", append(good[:6:6], "a", strings.Repeat("x", 5<<10), "b", strings.Repeat("x", 5<<10), "c", strings.Repeat("x", 5<<10)), "431"},
		{"a header of 15 KiB", append(good[:6:6], "x", strings.Repeat("x", 15<<10)), "GOAWAY COMPRESSION_ERROR"},
	} {
		c := w.framed(t)
		id, err := c.begin(connectTo("echo.test:443")...) // so that it is known
		if err != nil || c.answer(t, id) != "200" {
			t.Fatal(err)
		}
		if id, err = c.begin(test.pairs...); err != nil {
			t.Fatal(err)
		}
		if got := c.answer(t, id); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		_ = c.conn.Close()
	}
}

// Bytes that come with the request wait for success.
func TestEarlyDataOfHTTP2(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	c := w.framed(t)
	for range 2 { // as a stranger, and as one who is known
		id, _ := c.begin(connectTo("echo.test:443")...)
		if err := c.WriteData(id, true, []byte("early")); err != nil {
			t.Fatal(err)
		}
		if got := c.answer(t, id); got != "200" {
			t.Fatal(got)
		}
		for heard := ""; heard != "early"; {
			frame, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := frame.(*http2.DataFrame); ok {
				heard += string(data.Data())
			}
		}
	}
}

// A connection that carries tunnels takes a place of its own among them.
func TestPlaces(t *testing.T) {
	for places, want := range map[int][]string{1: {"503"}, 2: {"200", "503"}, 3: {"200", "200", "503"}} {
		w := newWorld(t, Config{}, tunnel.Config{MaxStreams: places, MaxPending: 10})
		c := w.framed(t)
		for _, want := range want {
			id, _ := c.begin(connectTo("echo.test:443")...)
			if got := c.answer(t, id); got != want {
				t.Errorf("of %d places: %s, want %s", places, got, want)
			}
		}
	}
}

// Once a tunnel has succeeded the connection outlives the time for set-up.
func TestKeptBeyondSetUp(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{SetupTimeout: 200 * time.Millisecond})
	known := w.http2(t)
	r := known.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
	stranger := w.dialTLS(t) // who comes later
	if heard, _ := io.ReadAll(stranger); strings.HasPrefix(string(heard), "HTTP/1.1 200") {
		t.Fatalf("%q", heard)
	}
	r.echoes(t, "still here")
	if r := known.connect(t, "echo.test:443", "Proxy-Authorization", bearer0); r.status != http.StatusOK {
		t.Error(r.status)
	}
}

// A connection without a tunnel is closed in the end.
func TestIdle(t *testing.T) {
	w := newWorld(t, Config{Idle: 20 * time.Millisecond}, tunnel.Config{})
	w.overQUIC(t)
	c := w.framed(t)
	id, _ := c.begin(connectTo("echo.test:443")...)
	if got := c.answer(t, id); got != "200" {
		t.Fatal(got)
	}
	_ = c.WriteRSTStream(id, http2.ErrCodeCancel)
	if got := c.answer(t, 0); got != "GOAWAY NO_ERROR" {
		t.Error(got)
	}
	h3 := w.http3(t)
	r := h3.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
	r.echoes(t, "here")
	r.close()
	select {
	case <-h3.conn.Context().Done():
	case <-time.After(patience):
		t.Error("HTTP/3's is still there")
	}
}

// A server that drains lets tunnels end, and tells their connections to go away.
func TestDrain(t *testing.T) {
	for _, version := range []string{CarrierHTTP2, CarrierHTTP3} {
		w := newWorld(t, Config{}, tunnel.Config{})
		var c client
		if version == CarrierHTTP2 {
			c = w.http2(t)
		} else {
			w.overQUIC(t)
			c = w.http3(t)
		}
		r := c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
		r.echoes(t, "before")
		drained := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		go func() { drained <- w.server.Shutdown(ctx) }()
		<-w.carrier.closing.Done()
		r.echoes(t, "meanwhile")
		_ = r.closeWrite()
		_ = r.all(t)
		if err := <-drained; err != nil {
			t.Errorf("%s: %v", version, err)
		}
		cancel()
		if _, err := w.carrier.Accept(); err == nil {
			t.Error("it accepts")
		}
	}
}

// blockedService says nothing until it is closed.
type blockedService struct {
	tunnel.Stream
	closed chan struct{}
	once   func()
}

func (s *blockedService) Read([]byte) (int, error)          { <-s.closed; return 0, io.EOF }
func (s *blockedService) Write(p []byte) (int, error)       { return len(p), nil }
func (s *blockedService) CloseWrite() error                 { return nil }
func (s *blockedService) Close() error                      { s.once(); return nil }
func (s *blockedService) SetReadDeadline(t time.Time) error { return nil }

type relayNothing struct{}

func (relayNothing) ServeTunnel(ctx context.Context, n tunnel.Negotiation) {
	if _, err := n.Credential(ctx); err != nil {
		return
	}
	if _, err := n.Destination(ctx); err != nil {
		return
	}
	if s, err := n.Succeed(); err == nil {
		closed := make(chan struct{})
		tunnel.Relay(s, &blockedService{closed: closed, once: sync.OnceFunc(func() { close(closed) })}, tunnel.Limits{})
	}
}

// What an idle tunnel over HTTP/2 costs, the relay's two goroutines and buffers
// included; go test -v prints it.
func TestIdleMemory(t *testing.T) {
	const conns, each = 4, 100
	w := &world{carrier: New(Config{})}
	var err error
	w.server, err = tunnel.NewServer(tunnel.Config{Handler: relayNothing{}, Web: w.carrier.Web, TLS: tunnel.ServerTLS(
		&tls.Config{Certificates: []tls.Certificate{testCertificate()}}, tunnel.WebProtocols()...)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.tcp = l.Addr().String()
	w.run(t, l, w.carrier)
	clients := make([]*framed, conns)
	for i := range clients {
		clients[i] = w.framed(t)
		id, _ := clients[i].begin(connectTo("x:1")...)
		if got := clients[i].answer(t, id); got != "200" {
			t.Fatal(got)
		}
	}
	before := held()
	for _, c := range clients {
		for range each - 1 {
			id, _ := c.begin(connectTo("x:1")...)
			if got := c.answer(t, id); got != "200" {
				t.Fatal(got)
			}
		}
	}
	perTunnel := float64(held()-before) / (conns * (each - 1)) / 1024
	t.Logf("an idle tunnel over HTTP/2: %.1f KiB of heap and stacks", perTunnel)
	if perTunnel > 48 {
		t.Errorf("%.1f KiB", perTunnel)
	}
}
