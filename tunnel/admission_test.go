package tunnel

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// granting lets everybody in, and echoes.
func granting(t *testing.T) Handler {
	return handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		if err != nil {
			n.Refuse(err)
			return
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
}

func dialFrom(t *testing.T, source, addr string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// setUp makes conn a tunnel.
func setUp(t *testing.T, conn net.Conn) (*tls.Conn, error) {
	secured := tls.Client(conn, testClientTLS())
	auth := socks.Auth{User: "user", Password: "password"}
	return secured, socks.ClientHandshake(t.Context(), secured, auth, "mail.example.com", 443)
}

// empty checks that nobody is counted who is not there.
func empty(t *testing.T, s *Server) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.crowd
	if len(c.all)+len(c.pending)+len(c.sources)+c.leaving+c.live != 0 {
		t.Errorf("left behind: %d in all, %d pending from %d sources, %d leaving, %d live",
			len(c.all), len(c.pending), len(c.sources), c.leaving, c.live)
	}
}

// TestOneSourceShutsNobodyOut: silent strangers from one address take each
// other's place, the oldest's first, and a device's from elsewhere never, be it
// there before them or come later.
func TestOneSourceShutsNobodyOut(t *testing.T) {
	const pending, strangers = 8, 40
	var shed []netip.AddrPort // Hooks.Refused: under mu
	var mu sync.Mutex
	server := newTestServer(t, Config{
		MaxStreams: 100, MaxPending: pending, SetupTimeout: time.Minute, Handler: granting(t),
		Hooks: Hooks{Refused: func(p Peer, r *Refusal) {
			mu.Lock()
			defer mu.Unlock()
			if r.Label == LabelShed {
				shed = append(shed, p.Remote)
			}
		}},
	})
	addr := serve(t, server, listenLoopback(t))
	began := time.Now()
	first := dialFrom(t, "127.0.0.1", addr)
	var silent []net.Conn
	for range strangers {
		silent = append(silent, dialFrom(t, "127.0.0.2", addr))
	}
	later := dialFrom(t, "127.0.0.1", addr)
	for name, conn := range map[string]net.Conn{"first": first, "later": later} {
		tunnel, err := setUp(t, conn)
		if err != nil {
			t.Errorf("the device that came %s: %v", name, err)
		}
		_ = tunnel.Close()
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	// With both devices pending there was room for 6; one more may have come in
	// after they were through.
	for i, conn := range silent[:strangers-pending] {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("stranger %d of %d is still there: %v", i, strangers, err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(shed) < strangers-pending {
		t.Errorf("%d told of as shed", len(shed))
	}
	for _, remote := range shed {
		if remote.Addr() != netip.MustParseAddr("127.0.0.2") {
			t.Errorf("%v was shed", remote)
		}
	}
	empty(t, server)
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestShedInTheHandler: a step that waits fails with the label, what the
// handler does on its own is ended by the context, and Succeed gives no stream.
func TestShedInTheHandler(t *testing.T) {
	for _, where := range []string{"Credential", "handler", "Succeed"} {
		t.Run(where, func(t *testing.T) {
			inside := make(chan struct{}, 1)
			label := make(chan string, 1)
			server := newTestServer(t, Config{
				MaxPending: 1, SetupTimeout: time.Minute,
				Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
					inside <- struct{}{}
					_, err := n.Credential(ctx)
					if err == nil {
						_, err = n.Destination(ctx)
					}
					if err == nil {
						<-ctx.Done()
						if where == "Succeed" {
							_, err = n.Succeed()
						} else {
							err = refuse(ctx, "dialling", ctx.Err())
						}
					}
					label <- labelOf(err)
					n.Refuse(err)
				}),
			})
			addr := serve(t, server, listenLoopback(t))
			first := tls.Client(dialFrom(t, "127.0.0.1", addr), testClientTLS())
			if err := first.Handshake(); err != nil {
				t.Fatal(err)
			}
			<-inside
			if where != "Credential" {
				if _, err := io.WriteString(first, greeting+userPass+connect); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(first, make([]byte, len(chosen+welcome))); err != nil {
					t.Fatal(err)
				}
			}
			second := tls.Client(dialFrom(t, "127.0.0.1", addr), testClientTLS())
			if err := second.Handshake(); err != nil {
				t.Error(err)
			}
			if got := <-label; got != LabelShed {
				t.Errorf("label %q", got)
			}
		})
	}
}

// TestStubbornHandler: one that heeds neither its context nor its connection
// keeps its place, and the next victim makes room instead.
func TestStubbornHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks, refused := refusals(1)
		inside, release := make(chan struct{}), make(chan struct{})
		server := newTestServer(t, Config{MaxPending: 2, Hooks: hooks, Handler: handlerFunc(func(context.Context, Negotiation) {
			close(inside)
			<-release
		})})
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(t.Context(), l) }()
		first := tls.Client(l.dial(), testClientTLS())
		if err := first.Handshake(); err != nil {
			t.Error(err)
		}
		<-inside
		began := time.Now()
		second, third := l.dial(), l.dial()
		if r := <-refused; r.Label != LabelShed || time.Since(began) != leaveBound {
			t.Errorf("%q after %v", r.Label, time.Since(began))
		}
		if _, err := second.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the second: %v", err)
		}
		close(release)
		_ = third.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		empty(t, server)
	})
}

// TestMaxStreams: a tunnel too many is refused in words, is told of, and holds
// nobody up who comes behind it; the end of one lets another in.
func TestMaxStreams(t *testing.T) {
	var full atomic.Int64
	labels := make(chan string, 9)
	server := newTestServer(t, Config{
		MaxStreams: 2, MaxPending: 5, Hooks: Hooks{Full: func() { full.Add(1) }},
		Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
			_, _, s, err := walk(ctx, n)
			labels <- labelOf(err)
			if err != nil {
				n.Refuse(err)
				return
			}
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}),
	})
	addr := serve(t, server, listenLoopback(t))
	var tunnels []*tls.Conn
	for range 2 {
		tunnel, err := setUp(t, dialFrom(t, "127.0.0.1", addr))
		if err != nil {
			t.Fatal(err)
		}
		tunnels = append(tunnels, tunnel)
		if label := <-labels; label != "" {
			t.Errorf("refused as %q", label)
		}
	}
	for i := range 3 {
		if hear := converse(t, addr, greeting+userPass+connect); hear != chosen+welcome+refusal(byte(socks.GeneralFailure)) {
			t.Errorf("one too many heard %q", hear)
		}
		if label := <-labels; label != LabelFull || full.Load() != int64(i+1) {
			t.Errorf("refused as %q, told of %d times", label, full.Load())
		}
	}
	_ = tunnels[0].Close()
	for { // until the server has seen it
		tunnel, err := setUp(t, dialFrom(t, "127.0.0.1", addr))
		if <-labels == "" && err == nil {
			_ = tunnel.Close()
			break
		}
	}
	_ = tunnels[1].Close()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	empty(t, server)
}

func TestSourceAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":          "192.0.2.7",
		"::ffff:192.0.2.7":   "192.0.2.7",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::",
		"2001:db8:1:2::":     "2001:db8:1:2::",
		"2001:db8:1:3::":     "2001:db8:1:3::",
		"fe80::1%lo":         "fe80::",
		"2001:db8::ffff:1:1": "2001:db8::",
	} {
		remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 1))
		if got := sourceAddr(remote); got.String() != want {
			t.Errorf("%s counts with %s, want %s", addr, got, want)
		}
	}
	if got := sourceAddr(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a Unix socket counts with %v", got)
	}
}

// TestCrowd plays at random against counts made afresh each time.
func TestCrowd(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := newCrowd()
	var here []*visitor
	for range 5000 {
		if len(here) < 40 && random.IntN(2) == 0 {
			v := &visitor{source: netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(4))})}
			c.enter(v)
			here = append(here, v)
		} else if len(here) > 0 {
			i := random.IntN(len(here))
			c.leave(here[i])
			here = append(here[:i], here[i+1:]...)
		}
		sources := make(map[netip.Addr]int)
		for _, v := range here {
			sources[v.source]++
			if c.pending[v.index] != v {
				t.Fatal("a visitor is not where it believes to be")
			}
		}
		for source, n := range sources {
			if c.sources[source] != n {
				t.Fatalf("%v has %d, counted %d", source, n, c.sources[source])
			}
		}
		if len(c.sources) != len(sources) || len(c.pending) != len(here) {
			t.Fatalf("%d pending from %d sources, want %d from %d", len(c.pending), len(c.sources), len(here), len(sources))
		}
		if len(here) > 0 && len(here) <= sampleSize {
			oldest := slices.MinFunc(here, func(a, b *visitor) int {
				return cmp.Or(cmp.Compare(sources[b.source], sources[a.source]), cmp.Compare(a.number, b.number))
			})
			if c.worst() != oldest {
				t.Fatal("another victim than the oldest of the largest source")
			}
		}
	}
}

// TestSamplingFindsTheCulprit: whoever has nearly all is found among many.
func TestSamplingFindsTheCulprit(t *testing.T) {
	c := newCrowd()
	culprit := netip.MustParseAddr("192.0.2.1")
	for i := range 4000 {
		source := culprit
		if i%10 == 0 {
			source = netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
		}
		c.enter(&visitor{source: source})
	}
	for range 1000 { // missed once in 10 to the power of 16
		if v := c.worst(); v.source != culprit {
			t.Fatalf("%v would be shed", v.source)
		}
	}
}
