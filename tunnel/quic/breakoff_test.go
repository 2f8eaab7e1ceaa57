package quic

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// A side that breaks off is heard to the end, and then the other is told, in the terms
// of its protocol. The connection is still the other tunnels'.
func TestBreakingOff(t *testing.T) {
	const size = 50_000
	words, reset := make([]byte, size), make(chan struct{}) // nobody changes words
	ended := make(chan error, 1)
	g := serve(t, Config{}, map[string]any{
		"echo": relayed(echo),
		"breaker": relayed(func(conn *net.TCPConn) {
			_, _ = conn.Write(words)
			<-reset
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}),
		"hearer": relayed(func(conn *net.TCPConn) {
			_, err := io.CopyN(io.Discard, conn, size)
			if err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
			ended <- err
			_ = conn.Close()
		}),
	})
	conn := g.dial(t)
	beside := open(t, conn, "echo")

	s := open(t, conn, "breaker")
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	close(reset)
	if result := receive(t, g.results); result.Reason != tunnel.ServiceError || result.Down != size {
		t.Errorf("%+v", result)
	}
	n, err := io.Copy(io.Discard, s)
	var told *quicgo.StreamError
	if n != size-1 || !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &told) || Code(told.ErrorCode) != CodeBroken {
		t.Errorf("%d bytes, %v", n, err)
	}

	s = open(t, conn, "hearer")
	if _, err := s.Write(words); err != nil {
		t.Fatal(err)
	}
	tunnel.Break(s)
	if _, err := s.Write(words); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write behind the end: %v", err)
	}
	if err := receive(t, ended); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the service reads %v", err)
	}
	if result := receive(t, g.results); result.Reason != tunnel.ClientError || result.Up != size {
		t.Errorf("%+v", result)
	}

	say(t, beside, "still here")
	hear(t, beside, "still here")
}

// A direction that has come to a good end keeps it, though the tunnel breaks off.
func TestBreakBehindAnEnd(t *testing.T) {
	end := make(chan struct{})
	g := serve(t, Config{}, map[string]any{"bye": host(func(s tunnel.Stream) {
		_, _ = io.WriteString(s, "bye")
		_ = s.CloseWrite()
		<-end
		tunnel.Break(s)
	})})
	s := open(t, g.dial(t), "bye")
	hear(t, s, "bye")
	close(end)
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
