package quic

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/tunnel"
)

// gtlsclient runs ngtcp2's client, with GnuTLS: another QUIC, and another TLS.
func (g *testGateway) gtlsclient(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("gtlsclient")
	if err != nil {
		t.Fatalf("%v (package ngtcp2-client)", err)
	}
	args = append(args, "--handshake-timeout=5s", "--timeout=5s", "--no-http-dump", "--exit-on-all-streams-close",
		g.addr.Addr().String(), strconv.Itoa(int(g.addr.Port())), "https://"+testName+"/")
	client := exec.CommandContext(within(t), path, args...)
	out, err := client.CombinedOutput()
	return string(out), err
}

// An HTTP/3 client that knows nothing of us comes as far as HTTP3, and fetches
// something while it changes its port.
func TestIndependentClient(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	froms := make(chan netip.AddrPort, 1024)
	peers := make(chan tunnel.Peer, 1)
	web := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.CopyN(w, noise(), size)
	})}
	g := listen(t, Config{HTTP3: func(ctx context.Context, conn *quicgo.Conn, peer tunnel.Peer, _ func()) {
		peers <- peer
		over := context.AfterFunc(ctx, func() { _ = conn.CloseWithError(h3NoError, "") })
		defer over()
		_ = web.ServeQUICConn(conn)
		froms <- addrPort(conn.RemoteAddr())
	}})
	dir := t.TempDir()
	out, err := g.gtlsclient(t, "--quiet", "--download="+dir, "--change-local-addr=30ms")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	peer := receive(t, peers)
	if peer.Carrier != CarrierH3 || peer.ALPN != ALPNH3 {
		t.Errorf("%+v", peer)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 1 {
		t.Fatalf("%v: %s", files, out)
	}
	got, err := os.ReadFile(files[0])
	want, _ := io.ReadAll(io.LimitReader(noise(), size))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d other bytes, %v", len(got), err)
	}
	if from := receive(t, froms); from.Port() == peer.Remote.Port() {
		t.Error("the client did not change its port")
	}
}

// Without HTTP3 it is told by TLS that there is no protocol in common.
func TestIndependentClientWithoutHTTP3(t *testing.T) {
	g := listen(t, Config{})
	out, _ := g.gtlsclient(t) // it exits with 0 whatever happens
	if !strings.Contains(out, "no_application_protocol") && !strings.Contains(out, "0x178") {
		t.Error(out)
	}
	if r := receive(t, g.refusals); r.Label != tunnel.LabelTLS {
		t.Errorf("%+v", r)
	}
	if _, ok := g.listener.Addr().(*net.UDPAddr); !ok {
		t.Error(g.listener.Addr())
	}
}
