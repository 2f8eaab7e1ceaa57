package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
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
	pour := func(s tunnel.Stream) (all int64) {
		for n := int64(1); n > 0; all += n { // until nothing goes any more
			_ = s.SetWriteDeadline(time.Now().Add(bound))
			var err error
			if n, err = io.Copy(s, noise()); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes, then %v", n, err)
				return all + n
			}
		}
		return all
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
	udp := func(s string) netip.Addr { return addrPort(&net.UDPAddr{IP: net.ParseIP(s), Port: 1}).Addr() }
	if sourceOf(udp("2001:db8::1")) != sourceOf(udp("2001:db8::2:0:0:1")) || sourceOf(udp("2001:db8::1")) == sourceOf(udp("2001:db8:0:1::1")) {
		t.Error("an IPv6 source is a /64")
	}
	if sourceOf(udp("192.0.2.1")) != sourceOf(udp("::ffff:192.0.2.1")) || sourceOf(udp("192.0.2.1")) == sourceOf(udp("192.0.2.2")) {
		t.Error("an IPv4 source is an address")
	}
}
