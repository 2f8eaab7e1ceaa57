package quic

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// What a client says ahead of the replies reaches the service, and the handler knows
// who it is.
func TestTunnelWithEarlyBytes(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	conn := g.dial(t)
	s, err := conn.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	request := "\x05\x01\x02" + "\x01\x01u\x0a" + password + "\x05\x01\x00\x03\x04echo\x01\xbb" + "early"
	say(t, s, request)
	hear(t, s, "\x05\x02"+"\x01\x00"+"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"+"early")
	peer := receive(t, g.peers)
	if peer.Carrier != Carrier || peer.ALPN != tunnel.ALPN || peer.TLSVersion != tls.VersionTLS13 ||
		peer.ServerName != testName || peer.Local != g.addr || peer.Remote.Port() != addrPort(conn.LocalAddr()).Port() ||
		!peer.Remote.Addr().IsLoopback() || peer.Accepted.IsZero() || peer.Resumed {
		t.Errorf("%+v", peer)
	}
	if err := s.CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if result := receive(t, g.results); result.Reason != tunnel.ClientClosed || result.Up != 5 || result.Down != 5 || result.Err != nil {
		t.Errorf("%+v", result)
	}
}

// Each direction ends apart, whoever is first.
func TestHalfClose(t *testing.T) {
	heard := make(chan string, 1)
	g := serve(t, Config{}, map[string]any{
		"sink": relayed(sink),
		"bye": relayed(func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, "bye")
			_ = conn.CloseWrite()
			rest, _ := io.ReadAll(conn)
			heard <- string(rest)
			_ = conn.Close()
		}),
	})
	conn := g.dial(t)

	first := open(t, conn, "sink")
	const size = 1 << 20
	if _, err := io.CopyN(first, noise(), size); err != nil {
		t.Fatal(err)
	}
	_ = first.CloseWrite()
	if sum, err := io.ReadAll(first); err != nil || !bytes.Equal(sum, sumOfNoise(size)) {
		t.Errorf("%x, %v", sum, err)
	}
	if result := receive(t, g.results); result.Reason != tunnel.ClientClosed || result.Up != size {
		t.Errorf("%+v", result)
	}

	second := open(t, conn, "bye")
	if words, err := io.ReadAll(second); err != nil || string(words) != "bye" {
		t.Errorf("%q, %v", words, err)
	}
	say(t, second, "and a last word")
	_ = second.CloseWrite()
	if words := receive(t, heard); words != "and a last word" {
		t.Errorf("%q", words)
	}
	if result := receive(t, g.results); result.Reason != tunnel.ServiceClosed || result.Err != nil {
		t.Errorf("%+v", result)
	}
}

// A tunnel that is aborted takes nobody with it but the last one: then the connection
// is closed as well.
func TestAbort(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo), "source": relayed(source)})
	conn := g.dial(t)
	busy := open(t, conn, "source")
	ask(t, busy, 1<<40)
	busyTunnel := receive(t, g.tunnels)
	other := open(t, conn, "echo")
	otherTunnel := receive(t, g.tunnels)
	if _, err := io.CopyN(io.Discard, busy, 1<<20); err != nil {
		t.Fatal(err)
	}
	busyTunnel.Abort()
	_, err := io.Copy(io.Discard, busy)
	var reset *quicgo.StreamError
	if !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) || !errors.As(err, &reset) || Code(reset.ErrorCode) != CodeCut {
		t.Errorf("the aborted one: %v", err)
	}
	if result := receive(t, g.results); result.Reason != tunnel.Cut {
		t.Errorf("%+v", result)
	}
	say(t, other, "still here")
	hear(t, other, "still here")

	otherTunnel.Abort()
	_, err = io.Copy(io.Discard, other)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the last one: %v", err)
	}
	<-conn.Context().Done()
	if err := conn.Err(); appCode(err) != CodeCut {
		t.Errorf("the connection: %v", err)
	}
	if code := receive(t, g.closed); code != CodeCut {
		t.Errorf("closed with %v", code)
	}
	if _, err := conn.Open(within(t)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("opening another one: %v", err)
	}
}

// A stream is refused without harm to others. Sixteen in a row, and none that is
// granted, end the connection, but the last one hears its answer all the same.
func TestRefusedStreams(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	try := func(conn *Conn, secret string) error {
		s, err := conn.Open(within(t))
		if err != nil {
			return err
		}
		defer s.Close()
		return socks.ClientHandshake(within(t), s, socks.Auth{User: "u", Password: secret}, "echo", 443)
	}
	conn := g.dial(t)
	live := open(t, conn, "echo")
	for range maxFailures + 4 {
		if err := try(conn, "wrong"); !errors.Is(err, socks.ErrAuth) {
			t.Fatal(err)
		}
	}
	say(t, live, "still here")
	hear(t, live, "still here")

	stranger := g.dial(t)
	for range maxFailures {
		if err := try(stranger, "wrong"); !errors.Is(err, socks.ErrAuth) {
			t.Fatal(err)
		}
	}
	<-stranger.Context().Done()
	if err := stranger.Err(); appCode(err) != CodeFailures {
		t.Error(err)
	}
}

// Our own ends are told from the peer's.
func TestFaults(t *testing.T) {
	streams := make(chan tunnel.Stream)
	over := make(chan struct{})
	g := serve(t, Config{}, map[string]any{"hold": host(func(s tunnel.Stream) {
		streams <- s
		<-over
	})})
	defer close(over)
	conn := g.dial(t)
	pair := func() (client *stream, server tunnel.Stream) {
		client = open(t, conn, "hold").(*stream)
		return client, receive(t, streams)
	}
	read := func(s tunnel.Stream) error { _, err := s.Read(make([]byte, 1)); return err }
	keep, _ := pair() // so that the connection is not cut with the last tunnel
	defer keep.Close()

	client, server := pair()
	client.quic.CancelWrite(7)
	if err := read(server); !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		t.Errorf("reading what the peer reset: %v", err)
	}
	client.quic.CancelRead(7)
	if _, err := io.Copy(server, noise()); !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to a peer that wants no more: %v", err)
	}
	if err := server.CloseWrite(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ending it: %v", err)
	}

	// A write that waits for a client that does not read ends with Close.
	client, server = pair()
	failed := make(chan error, 1)
	go func() { _, err := io.Copy(server, noise()); failed <- err }()
	if _, err := io.ReadFull(client, make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if err := receive(t, failed); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing while it is closed: %v", err)
	}
	if err := read(server); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading what is closed: %v", err)
	}
	if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to what is closed: %v", err)
	}

	client, server = pair()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to what our client closed: %v", err)
	}
	if err := read(server); err != io.EOF {
		t.Errorf("a clean end: %v", err)
	}

	_, server = pair()
	_ = conn.quic.CloseWithError(9, "secret \x1b[2J words")
	if err := read(server); !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) || bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("the peer closed the connection: %v", err)
	}
	if code := receive(t, g.closed); code != CodeNone {
		t.Errorf("closed with %v", code)
	}
}

// What is sent is what arrives, both ways at once, over many streams.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	conn := g.dial(t)
	const streams, size = 12, 128 << 10
	done := make(chan error, streams)
	for i := range streams {
		s := open(t, conn, "echo")
		go func() {
			heard := sha256.New()
			go func() {
				_, _ = io.CopyN(s, noise(), int64(size+i))
				_ = s.CloseWrite()
			}()
			n, err := io.Copy(heard, s)
			if err == nil && (n != int64(size+i) || !bytes.Equal(heard.Sum(nil), sumOfNoise(n))) {
				err = errors.New("other bytes")
			}
			_ = s.Close()
			done <- err
		}()
	}
	for range streams {
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
}
