package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// A peer that does not read has us hold its own window and little else, and one whose
// bytes nobody reads can send only our window.
func TestFlowControlStalls(t *testing.T) {
	t.Parallel()
	const bound = 50 * time.Millisecond
	pour := func(s tunnel.Stream) int64 {
		_ = s.SetWriteDeadline(time.Now().Add(bound))
		n, err := io.Copy(s, noise())
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, then %v", n, err)
		}
		return n
	}
	down, over := make(chan int64), make(chan struct{})
	defer close(over)
	g := serve(t, Config{}, map[string]any{
		"source": host(func(s tunnel.Stream) { down <- pour(s); <-over }),
		"mute":   host(func(tunnel.Stream) { <-over }),
	})
	const window = 100 << 10
	conn := g.raw(t, tunnel.ALPN, &quicgo.Config{InitialStreamReceiveWindow: window, MaxStreamReceiveWindow: window})
	s, err := conn.OpenStreamSync(within(t))
	if err != nil {
		t.Fatal(err)
	}
	say(t, s, "\x05\x01\x02\x01\x01u\x0a"+password+"\x05\x01\x00\x03\x06source\x01\xbb")
	const slack = 4 << 10 // what a Write may leave behind, and the replies
	if n := receive(t, down); n < window-slack || n > window+slack {
		t.Errorf("%d bytes went to a client that does not read", n)
	}
	ours := g.dial(t)
	if n := pour(open(t, ours, "mute")); n < streamWindow-slack || n > streamWindow+slack {
		t.Errorf("%d bytes came in for nobody", n)
	}
	// All streams of a connection together have no more than its window.
	var streams []tunnel.Stream
	for range 2 * connWindow / streamWindow {
		streams = append(streams, open(t, ours, "mute"))
	}
	var all int64
	for _, s := range streams {
		all += pour(s)
	}
	if all > connWindow {
		t.Errorf("%d bytes came in for nobody", all)
	}
}

// There are no more streams at once than there may be, and whose place is free again
// can be had.
func TestStreamCap(t *testing.T) {
	g := serve(t, Config{MaxStreams: 3}, map[string]any{"echo": relayed(echo)})
	conn := g.dial(t)
	first := open(t, conn, "echo")
	open(t, conn, "echo")
	open(t, conn, "echo")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	_ = first.Close()
	fourth := open(t, conn, "echo")
	say(t, fourth, "hello")
	hear(t, fourth, "hello")
}

// Streams of one direction and datagrams are not offered.
func TestWhatIsNotOffered(t *testing.T) {
	g := serve(t, Config{}, nil)
	conn := g.raw(t, tunnel.ALPN, &quicgo.Config{EnableDatagrams: true})
	if _, err := conn.OpenUniStream(); !errors.As(err, new(*quicgo.StreamLimitReachedError)) {
		t.Errorf("a stream of one direction: %v", err)
	}
	if conn.ConnectionState().SupportsDatagrams.Remote {
		t.Error("datagrams are taken")
	}
	for _, protocol := range []string{ALPNH3, "sallyport/2"} {
		_, err := quicgo.DialAddr(within(t), g.addr.String(), testClientTLS(protocol), nil)
		var alert *quicgo.TransportError
		if !errors.As(err, &alert) || alert.ErrorCode != 0x100+120 { // no_application_protocol
			t.Errorf("%s: %v", protocol, err)
		}
		if r := receive(t, g.refusals); r.Label != tunnel.LabelTLS {
			t.Errorf("%s: %+v", protocol, r)
		}
	}
	none := testClientTLS()
	if _, err := quicgo.DialAddr(within(t), g.addr.String(), none, nil); err == nil {
		t.Error("no ALPN was taken")
	}
}

// Connections are bounded altogether, and without a tunnel for each source.
func TestConnectionCaps(t *testing.T) {
	g := serve(t, Config{MaxPerSource: 2, MaxConnections: 4}, map[string]any{"echo": relayed(echo)})
	refused := func(label string) {
		t.Helper()
		conn, err := (&Dialer{TLS: testClientTLS()}).Dial(within(t), g.addr)
		if err == nil { // the handshake came first
			<-conn.Context().Done()
			if code := appCode(conn.Err()); code != CodeBusy {
				t.Errorf("closed with %v", code)
			}
			_ = conn.Close()
		}
		if r := receive(t, g.refusals); r.Label != label {
			t.Errorf("%+v, want %s", r, label)
		}
	}
	first, second := g.dial(t), g.dial(t)
	refused(LabelSource)
	open(t, first, "echo") // a device that has a tunnel makes room for others
	third := g.dial(t)
	refused(LabelSource)
	open(t, second, "echo")
	open(t, third, "echo")
	g.dial(t)
	refused(LabelConnections)
}

// An HTTP/3 connection counts with its source until it says that it has a tunnel.
func TestSourceOfHTTP3(t *testing.T) {
	settle := make(chan func(), 8)
	g := serve(t, Config{MaxPerSource: 2, HTTP3: func(ctx context.Context, _ *quicgo.Conn, _ tunnel.Peer, settled func()) {
		settle <- settled
		<-ctx.Done()
	}}, nil)
	dial := func() *quicgo.Conn {
		conn, err := quicgo.DialAddr(within(t), g.addr.String(), testClientTLS(ALPNH3), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseWithError(h3NoError, "") })
		return conn
	}
	dial()
	first := receive(t, settle)
	dial()
	receive(t, settle)
	<-dial().Context().Done()
	if r := receive(t, g.refusals); r.Label != LabelSource {
		t.Errorf("%+v, want %s", r, LabelSource)
	}
	first()
	first() // to say it twice frees no further place
	dial()
	receive(t, settle)
	<-dial().Context().Done()
	if r := receive(t, g.refusals); r.Label != LabelSource {
		t.Errorf("%+v, want %s", r, LabelSource)
	}
}

// The numbers of an IPv6 customer are one source, and no IPv4 address is two.
func TestSourceOf(t *testing.T) {
	udp := func(s string) net.Addr { return &net.UDPAddr{IP: net.ParseIP(s), Port: 1} }
	if sourceOf(udp("2001:db8::1")) != sourceOf(udp("2001:db8::2:0:0:1")) || sourceOf(udp("2001:db8::1")) == sourceOf(udp("2001:db8:0:1::1")) {
		t.Error("an IPv6 source is a /64")
	}
	if sourceOf(udp("192.0.2.1")) != sourceOf(udp("::ffff:192.0.2.1")) || sourceOf(udp("192.0.2.1")) == sourceOf(udp("192.0.2.2")) {
		t.Error("an IPv4 source is an address")
	}
}

// tap counts what a server is sent, and answers.
type tap struct {
	net.Conn
	out, in int
	kinds   map[byte]int // of long headers' answers, by the first four bits
}

func (g *testGateway) tap(t *testing.T) *tap {
	t.Helper()
	conn, err := net.Dial("udp", g.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &tap{Conn: conn, kinds: make(map[byte]int)}
}

func (c *tap) send(t *testing.T, p []byte) {
	t.Helper()
	n, err := c.Write(p)
	if err != nil {
		t.Fatal(err)
	}
	c.out += n
}

// listen hears the server out until it is quiet.
func (c *tap) listen(quiet time.Duration) {
	p := make([]byte, 2048)
	for {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		n, err := c.Read(p)
		if err != nil {
			return
		}
		c.in += n
		c.kinds[p[0]>>4]++
	}
}

// initials are the first packets of as many clients, all of them valid.
func initials(t *testing.T, count int) [][]byte {
	t.Helper()
	hole, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	config := testClientTLS(tunnel.ALPN)
	config.CurvePreferences = []tls.CurveID{tls.X25519} // so that one packet has it all
	packets := make([][]byte, 0, count)
	for range count {
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = quicgo.DialAddr(ctx, hole.LocalAddr().String(), config, nil)
		}()
		p := make([]byte, 2048)
		n, _, err := hole.ReadFrom(p)
		cancel()
		<-over
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p[:n])
	}
	return packets
}

// Whoever forges addresses gets no more than three times what he sends, is asked for
// a proof once there are many of him, and keeps nobody out.
func TestHalfOpenHandshakes(t *testing.T) {
	const unproven, count = 16, 200
	g := serve(t, Config{MaxUnproven: unproven}, map[string]any{"echo": relayed(echo)})
	live := g.dial(t)
	s := open(t, live, "echo")
	flood := g.tap(t)
	for i, p := range initials(t, count) {
		flood.send(t, p)
		if i%8 == 7 { // not faster than the server's queue, or they would merely be lost
			flood.listen(2 * time.Millisecond)
		}
	}
	flood.listen(100 * time.Millisecond)
	retries := flood.kinds[0xf]
	t.Logf("%d initials, %d bytes: %d bytes back, %d of them retries", count, flood.out, flood.in, retries)
	if flood.in > 3*flood.out {
		t.Errorf("%d bytes for %d", flood.in, flood.out)
	}
	if retries < count/2 || retries > count-unproven {
		t.Errorf("%d retries", retries)
	}
	g.listener.gate.mu.Lock()
	held, all := g.listener.gate.unproven, g.listener.gate.all
	g.listener.gate.mu.Unlock()
	if held > unproven || all > unproven+1 {
		t.Errorf("%d handshakes are held, %d connections", held, all)
	}
	say(t, s, "still here")
	hear(t, s, "still here")
	again := open(t, g.dial(t), "echo") // by way of a Retry
	say(t, again, "hello")
	hear(t, again, "hello")
}

// One initial costs what it may cost, and so does the same again.
func TestAmplification(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, nil)
	var all []*tap
	for _, p := range initials(t, 4) {
		spoofed := g.tap(t)
		spoofed.send(t, p)
		all = append(all, spoofed)
	}
	for _, spoofed := range all {
		spoofed.listen(500 * time.Millisecond) // there are retransmissions
		if spoofed.in == 0 || spoofed.in > 3*spoofed.out {
			t.Errorf("%d bytes for %d", spoofed.in, spoofed.out)
		}
	}
}

// What is no QUIC, or none that we speak, is answered shortly or not at all.
func TestGarbage(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	s := open(t, g.dial(t), "echo")
	random := mathrand.NewChaCha8([32]byte{2})
	for _, test := range []struct {
		name string
		make func(p []byte) []byte
		most int // bytes back, in percent of those sent
	}{
		{"noise", func(p []byte) []byte { return p }, 10},
		{"short noise", func(p []byte) []byte { return p[:1+int(p[0])%40] }, 10},
		{"unknown versions", func(p []byte) []byte { p[0] |= 0xc0; p[5], p[6+int(p[5]&7)] = p[5]&7, 8; return p }, 30},
		{"an initial of noise", func(p []byte) []byte {
			copy(p, "\xc3\x00\x00\x00\x01\x08")
			copy(p[14:], "\x08")
			copy(p[23:], "\x00\x44\x80")
			return p
		}, 100},
		{"stateless resets", func(p []byte) []byte { p[0] = p[0]&0x3f | 0x40; return p[:60] }, 110},
	} {
		c := g.tap(t)
		for i := range 300 {
			p := make([]byte, 1200)
			_, _ = random.Read(p)
			c.send(t, test.make(p))
			if i%10 == 9 {
				c.listen(time.Millisecond)
			}
		}
		c.listen(50 * time.Millisecond)
		t.Logf("%s: %d bytes, %d back", test.name, c.out, c.in)
		if c.in*100 > c.out*test.most {
			t.Errorf("%s: %d bytes, %d back", test.name, c.out, c.in)
		}
	}
	say(t, s, "still here")
	hear(t, s, "still here")
	again := open(t, g.dial(t), "echo")
	say(t, again, "hello")
	hear(t, again, "hello")
}
