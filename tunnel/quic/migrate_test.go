package quic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func udpSocket(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

// pauses is a reader that knows the longest time between two of its reads.
type pauses struct {
	io.Reader
	last    time.Time
	longest time.Duration
	read    atomic.Int64
}

func (p *pauses) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if now := time.Now(); !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
		p.last = now
	} else {
		p.last = now
	}
	p.read.Add(int64(n))
	return n, err
}

// A download goes on, and loses nothing, while its client moves from socket to socket,
// to another address among them.
func TestMigration(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"source": relayed(source), "echo": relayed(echo)})
	conn, err := (&Dialer{TLS: testClientTLS(), Listen: func(context.Context) (net.PacketConn, error) {
		return udpSocket(t, "127.0.0.1:0"), nil
	}}).Dial(within(t), g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	idle := open(t, conn, "echo")
	s := open(t, conn, "source")
	ask(t, s, download)
	in := &pauses{Reader: s}
	done := make(chan []byte)
	go func() {
		sum := sha256.New()
		_, _ = io.CopyBuffer(sum, in, make([]byte, 64<<10))
		done <- sum.Sum(nil)
	}()
	moved := 0
	for _, from := range []string{"127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0", "127.0.0.3:0"} {
		if err := conn.Migrate(within(t), udpSocket(t, from)); err != nil {
			t.Fatal(err)
		}
		if in.read.Load() < download {
			moved++
		}
		say(t, idle, "still here")
		hear(t, idle, "still here")
	}
	if sum := receive(t, done); !bytes.Equal(sum, sumOfNoise(download)) {
		t.Error("other bytes came")
	}
	if moved == 0 {
		t.Error("the download was over before the first move")
	}
	t.Logf("%d MiB, moved %d times meanwhile, longest pause %v", download>>20, moved, in.longest)
	if got := addrPort(s.LocalAddr()); got.Addr() != netip.MustParseAddr("127.0.0.3") || got != addrPort(conn.LocalAddr()) {
		t.Errorf("the client believes to be at %v", got)
	}
	// A stream that is opened now is told to be from where the client is now.
	for len(g.peers) > 0 {
		<-g.peers
	}
	open(t, conn, "echo")
	if peer := receive(t, g.peers); peer.Remote != addrPort(conn.LocalAddr()) {
		t.Errorf("the gateway believes the client to be at %v, which is at %v", peer.Remote, conn.LocalAddr())
	}
}

// A move that does not succeed leaves the connection where it is; there are not too
// many; and none is left when the connection is over.
func TestMigrationFails(t *testing.T) {
	t.Parallel()
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	conn := g.dial(t)
	s := open(t, conn, "echo")
	gone := udpSocket(t, "[::1]:0") // from there is no way to the gateway
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := conn.Migrate(ctx, gone); err == nil {
		t.Error("moved to nowhere")
	}
	say(t, s, "still here")
	hear(t, s, "still here")
	for range maxSockets - 2 {
		if err := conn.Migrate(within(t), udpSocket(t, "127.0.0.1:0")); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Migrate(within(t), udpSocket(t, "127.0.0.1:0")); !errors.Is(err, ErrTooManySockets) {
		t.Error(err)
	}
	say(t, s, "still here")
	hear(t, s, "still here")
	_ = conn.Close()
	if err := conn.Migrate(within(t), udpSocket(t, "127.0.0.1:0")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A network that is gone for a moment loses packets, and not the connection.
func TestLossOfNetwork(t *testing.T) {
	for _, err := range []error{syscall.ENETUNREACH, syscall.EPERM} {
		if !isLoss(&net.OpError{Op: "write", Err: err}) {
			t.Error(err)
		}
	}
	for _, err := range []error{syscall.EMSGSIZE, syscall.EIO, net.ErrClosed} {
		if isLoss(err) {
			t.Errorf("%v means something to quic-go", err)
		}
	}
}
