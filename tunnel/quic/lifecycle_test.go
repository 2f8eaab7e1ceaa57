package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// A connection without a tunnel ends, one with a tunnel does not, and after its last
// tunnel it ends again. A stream that comes to nothing does not keep it.
func TestUnused(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{Unused: 500 * time.Millisecond}, map[string]any{"echo": relayed(echo)})
	if code := unusedAfter(t, g.dial(t)); code != CodeUnused {
		t.Errorf("without a tunnel: %v", code)
	}
	conn := g.dial(t)
	s := open(t, conn, "echo")
	// A second connection comes and goes meanwhile.
	if code := unusedAfter(t, g.dial(t)); code != CodeUnused {
		t.Errorf("without a tunnel: %v", code)
	}
	say(t, s, "still here")
	hear(t, s, "still here")
	_ = s.Close()
	if code := unusedAfter(t, conn); code != CodeUnused {
		t.Errorf("after its tunnel: %v", code)
	}
}

func unusedAfter(t *testing.T, conn *Conn) Code {
	t.Helper()
	receive(t, conn.Context().Done())
	return appCode(conn.Err())
}

// A closed listener lets nobody in, and what lives lives on.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	conn, idle := g.dial(t), g.dial(t)
	s := open(t, conn, "echo")
	if err := g.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	late, err := conn.Open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	say(t, late, "\x05") // or the gateway would not hear of it
	_, err = late.Read(make([]byte, 1))
	var reset *quicgo.StreamError
	if !errors.As(err, &reset) || Code(reset.ErrorCode) != CodeDraining {
		t.Errorf("a late stream: %v", err)
	}
	receive(t, idle.Context().Done())
	if code := appCode(idle.Err()); code != CodeDraining {
		t.Errorf("an idle connection: %v", code)
	}
	_, err = (&Dialer{TLS: testClientTLS()}).Dial(within(t), g.addr)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection: %v", err)
	}
	say(t, s, "last words")
	_ = s.CloseWrite()
	if words, err := io.ReadAll(s); err != nil || string(words) != "last words" {
		t.Errorf("%q, %v", words, err)
	}
	if err := g.listener.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	receive(t, conn.Context().Done())
	if code := appCode(conn.Err()); code != CodeDraining {
		t.Errorf("after its last tunnel: %v", code)
	}
}

// Shutdown that may not wait ends everything.
func TestShutdownAtOnce(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	conn := g.dial(t)
	s := open(t, conn, "echo")
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("no time")
	cancel(why)
	if err := g.listener.Shutdown(ctx); err != why {
		t.Error(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	receive(t, conn.Context().Done())
	if code := appCode(conn.Err()); code != CodeShutdown {
		t.Errorf("%v", code)
	}
	if result := receive(t, g.results); result.Reason != tunnel.Cut {
		t.Errorf("%+v", result)
	}
}

// The end of Listen's context is the end of everything, and a socket that fails that
// of Accept.
func TestListenEnds(t *testing.T) {
	for name, end := range map[string]func(context.CancelFunc, net.PacketConn){
		"context": func(cancel context.CancelFunc, _ net.PacketConn) { cancel() },
		"socket":  func(_ context.CancelFunc, socket net.PacketConn) { _ = socket.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			l, err := Listen(ctx, socket, Config{TLS: testServerTLS()})
			if err != nil {
				t.Fatal(err)
			}
			end(cancel, socket)
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			if err := l.Shutdown(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Abort wakes a stream that waits in its negotiation, and one that Accept has not had
// yet is over with its connection.
func TestPendingStreamsEnd(t *testing.T) {
	g := listen(t, Config{})
	conn := g.dial(t)
	dialled := func() tunnel.Stream {
		s, err := conn.Open(within(t))
		if err != nil {
			t.Fatal(err)
		}
		say(t, s, "\x05\x01\x02")
		return s
	}
	client := dialled()
	accepted, err := g.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	negotiation := accepted.(tunnel.Carried).Negotiation(tunnel.Admission{
		MaxPreAuthBytes: 8192, Settle: func() error { return nil },
		Peer: tunnel.Peer{Deadline: time.Now().Add(patience)},
	})
	failed := make(chan error, 1)
	go func() { _, err := negotiation.Credential(context.Background()); failed <- err }()
	hear(t, client, "\x05\x02")
	accepted.(tunnel.Carried).Abort()
	accepted.(tunnel.Carried).Abort()
	_ = accepted.Close()
	if err := receive(t, failed); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if conn.Context().Err() != nil {
		t.Error("the connection went with a stream that was no tunnel")
	}
	dialled() // nobody accepts this one
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = g.listener.Shutdown(ctx)
	receive(t, conn.Context().Done())
}

// A client that comes back resumes its session, which the tunnel's Peer tells, and
// sends nothing before its handshake is complete.
func TestResumption(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	config := testClientTLS()
	cache := &tellingCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), put: make(chan struct{}, 8)}
	config.ClientSessionCache = cache
	dialer := &Dialer{TLS: config}
	for _, resumed := range []bool{false, true} {
		conn, err := dialer.Dial(within(t), g.addr)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, conn, "echo")
		say(t, s, "hello")
		hear(t, s, "hello")
		if peer := receive(t, g.peers); peer.Resumed != resumed {
			t.Errorf("%+v", peer)
		}
		if conn.quic.ConnectionState().Used0RTT {
			t.Error("0-RTT")
		}
		receive(t, cache.put)
		_ = conn.Close()
	}
	early, err := quicgo.DialAddrEarly(within(t), g.addr.String(), clientTLS(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer early.CloseWithError(0, "")
	<-early.HandshakeComplete()
	if early.ConnectionState().Used0RTT {
		t.Error("0-RTT")
	}
}

// tellingCache tells of every session that it gets.
type tellingCache struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *tellingCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state != nil {
		c.put <- struct{}{}
	}
}

// Connections that agree on h3 go to HTTP3, and streams of the others do not.
func TestHTTP3(t *testing.T) {
	peers := make(chan tunnel.Peer, 1)
	ended := make(chan struct{})
	g := serve(t, Config{HTTP3: func(ctx context.Context, conn *quicgo.Conn, peer tunnel.Peer, _ func()) {
		defer close(ended)
		peers <- peer
		s, err := conn.AcceptStream(ctx)
		if err == nil {
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}
		<-ctx.Done()
	}}, map[string]any{"echo": relayed(echo)})
	conn := g.raw(t, ALPNH3, nil)
	s, err := conn.OpenStreamSync(within(t))
	if err != nil {
		t.Fatal(err)
	}
	say(t, s, "hello")
	hear(t, s, "hello")
	if peer := receive(t, peers); peer.Carrier != CarrierH3 || peer.ALPN != ALPNH3 {
		t.Errorf("%+v", peer)
	}
	ours := g.dial(t)
	tunnelled := open(t, ours, "echo")
	if _, err := ours.quic.OpenUniStream(); err != nil {
		t.Errorf("HTTP/3's streams of one direction: %v", err)
	}
	say(t, tunnelled, "hello")
	hear(t, tunnelled, "hello")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = g.listener.Shutdown(ctx)
	receive(t, ended)
	<-conn.Context().Done()
	if code := appCode(context.Cause(conn.Context())); code != h3NoError {
		t.Errorf("closed with %#x", uint64(code))
	}
}

func TestConfig(t *testing.T) {
	for name, config := range map[string]Config{
		"no TLS":         {},
		"negative limit": {TLS: testServerTLS(), MaxPerSource: -1},
	} {
		if _, err := Listen(context.Background(), nil, config); err == nil {
			t.Error(name)
		}
	}
	if _, err := (&Dialer{}).Dial(context.Background(), netip.AddrPort{}); err == nil {
		t.Error("a dialer without TLS")
	}
}
