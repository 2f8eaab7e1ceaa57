package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
)

// never is longer than any test.
const never = time.Hour

// quicGateway is a gateway with QUIC at the same port, which is reached through a
// relay that can be a bad network.
type quicGateway struct {
	*gateway
	listener *quic.Listener
	udp      *udpRelay
}

func startQUICGateway(t testing.TB) *quicGateway {
	t.Helper()
	g := startGateway(t)
	return g.withQUIC(t, quic.Config{}, g.cert)
}

func (g *gateway) withQUIC(t testing.TB, config quic.Config, cert tls.Certificate) *quicGateway {
	t.Helper()
	config.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	socket := udpSocket(t, "127.0.0.1:0")
	at := socket.LocalAddr().(*net.UDPAddr)
	listener, err := quic.Listen(context.Background(), socket, config)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.server.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		_ = g.server.Close()
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("gateway: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = listener.Shutdown(ctx)
	})
	return &quicGateway{gateway: g, listener: listener, udp: startUDPRelay(t, g.addr, at)}
}

// client is one of the gateway's, with the carrier.
func (g *quicGateway) client(t testing.TB, carrier Carrier) *Client {
	t.Helper()
	return startClient(t, g.config(Off), carrier)
}

func startClient(t testing.TB, c Config, carrier Carrier) *Client {
	t.Helper()
	c.Carrier = carrier
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	if client.links != nil {
		client.links.timing.linger = 10 * time.Millisecond
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// carriers are what the tunnels so far came by.
func (g *gateway) carriers() []string {
	var all []string
	for _, v := range g.visits() {
		all = append(all, v.peer.Carrier)
	}
	return all
}

func (g *gateway) wantCarriers(t testing.TB, want ...string) {
	t.Helper()
	if got := g.carriers(); !slices.Equal(got, want) {
		t.Fatalf("tunnels were asked for by %v, want %v", got, want)
	}
}

func dial(t testing.TB, c *Client) tunnel.Stream {
	t.Helper()
	conn, err := c.Dial(t.Context(), "tcp", "mail.example.com:443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(tunnel.Stream)
}

func udpSocket(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

// udpRelay is the network between devices and the gateway's UDP port.
type udpRelay struct {
	front   *net.UDPConn
	back    *net.UDPAddr
	running sync.WaitGroup
	sources chan netip.AddrPort // each when it is first heard

	mu     sync.Mutex
	passes func(from netip.AddrPort) bool // for each packet of either direction; from is the device
	paths  map[netip.AddrPort]*net.UDPConn
}

func everything(netip.AddrPort) bool { return true }
func nothing(netip.AddrPort) bool    { return false }

// lossy drops that share of the packets, the same ones each time.
func lossy(share float64) func(netip.AddrPort) bool {
	dice := rand.New(rand.NewPCG(1, 2))
	return func(netip.AddrPort) bool { return dice.Float64() >= share }
}

func startUDPRelay(t testing.TB, at string, back *net.UDPAddr) *udpRelay {
	t.Helper()
	r := &udpRelay{
		front: udpSocket(t, at), back: back, sources: make(chan netip.AddrPort, 64),
		passes: everything, paths: make(map[netip.AddrPort]*net.UDPConn),
	}
	r.running.Go(r.forth)
	t.Cleanup(func() {
		_ = r.front.Close()
		r.mu.Lock()
		for _, path := range r.paths {
			_ = path.Close()
		}
		r.mu.Unlock()
		r.running.Wait()
	})
	return r
}

func (r *udpRelay) let(passes func(netip.AddrPort) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passes = passes
}

// path is a device's, made at need; nil if this packet is lost.
func (r *udpRelay) path(from netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.passes(from) {
		return nil
	}
	path := r.paths[from]
	if path == nil {
		var err error
		if path, err = net.DialUDP("udp", nil, r.back); err != nil {
			return nil
		}
		r.paths[from] = path
		r.sources <- from
		r.running.Go(func() { r.backTo(from, path) })
	}
	return path
}

func (r *udpRelay) forth() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n == 0 {
			continue // a knock
		}
		if path := r.path(from); path != nil {
			_, _ = path.Write(buf[:n])
		}
	}
}

func (r *udpRelay) backTo(to netip.AddrPort, path *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := path.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && r.path(to) != nil {
			_, _ = r.front.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

// fakeClock is what time it is.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newFakeClock() *fakeClock { return &fakeClock{now: time.Unix(1_800_000_000, 0)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeNetwork is the address that the kernel would use.
type fakeNetwork struct {
	mu sync.Mutex
	at netip.Addr
}

func (n *fakeNetwork) move(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = netip.MustParseAddr(to)
}

func (n *fakeNetwork) local(netip.AddrPort) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at, nil
}

func onNetwork(c *Client, at string) *fakeNetwork {
	n := &fakeNetwork{at: netip.MustParseAddr(at)}
	c.links.local = n.local
	return n
}
