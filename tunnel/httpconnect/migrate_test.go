package httpconnect

import (
	"crypto/sha256"
	"io"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/tunnel"
)

// socketFor is a client's own, for QUIC.
func socketFor(t *testing.T) *quic.Transport {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	t.Cleanup(func() { _ = transport.Close(); _ = socket.Close() })
	return transport
}

// A download by HTTP/3 goes on, and loses nothing, while its client moves to another
// socket, and a tunnel that is opened then is told to be from there.
func TestMigrationOfHTTP3(t *testing.T) {
	const size = 2 << 20
	noise := func() io.Reader { return io.LimitReader(mathrand.NewChaCha8([32]byte{1}), size) }
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	w.leads("source.test", func(c *net.TCPConn) {
		_, _ = io.Copy(c, noise())
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	home, away := socketFor(t), socketFor(t)
	conn, err := home.Dial(t.Context(), w.udp.Addr(), clientTLS("h3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	c := clientHTTP3{(&http3.Transport{}).NewClientConn(conn)}

	down := c.connect(t, "source.test:443", "Proxy-Authorization", bearer0)
	sum := sha256.New()
	if _, err := io.CopyN(sum, down, size/8); err != nil {
		t.Fatal(err)
	}
	path, err := conn.AddPath(away)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := path.Switch(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if n, err := io.Copy(sum, down); err != nil || n != size-size/8 {
		t.Fatalf("%d bytes came after the move, %v", n, err)
	}
	want := sha256.New()
	_, _ = io.Copy(want, noise())
	if [32]byte(sum.Sum(nil)) != [32]byte(want.Sum(nil)) {
		t.Error("other bytes came")
	}
	t.Logf("moved after %d of %d KiB, the rest came in %v", size>>13, size>>10, time.Since(began).Round(time.Millisecond))

	if peer := <-w.peers; int(peer.Remote.Port()) != home.Conn.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("the client began at %v", peer.Remote)
	}
	c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0).echoes(t, "from there")
	if peer := <-w.peers; int(peer.Remote.Port()) != away.Conn.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("the client is believed to be at %v, and is at %v", peer.Remote, away.Conn.LocalAddr())
	}
}
