package httpconnect

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
)

// watched runs steps on a connection in fake time, and gives when it was ended.
func watched(t *testing.T, steps func(*shared)) (lived time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ended := make(chan time.Duration, 10)
		c := New(Config{MaxStreams: 1})
		defer c.Close()
		s := &shared{carrier: c, end: func() { ended <- time.Since(began) }}
		s.watch()
		steps(s)
		lived = <-ended
		s.unwatch()
	})
	return lived
}

func enter(t *testing.T, s *shared) *place {
	t.Helper()
	p, free := s.enter()
	if !free {
		t.Fatal("there is no place")
	}
	return p
}

// Tunnels keep a connection open, and requests that come to nothing do not.
func TestWatch(t *testing.T) {
	const idle = DefaultIdle + time.Second
	for _, test := range []struct {
		name  string
		steps func(*testing.T, *shared)
		want  time.Duration
	}{
		{"nothing", func(*testing.T, *shared) {}, idle},
		{"two of one may be under way", func(t *testing.T, s *shared) {
			first, second := enter(t, s), enter(t, s)
			if _, free := s.enter(); free {
				t.Error("there is a third")
			}
			first.leave(false)
			first.leave(false)
			enter(t, s).leave(false)
			second.leave(false)
		}, idle},
		{"refused requests", func(t *testing.T, s *shared) {
			for range 29 {
				time.Sleep(time.Second)
				enter(t, s).leave(true)
			}
		}, idle},
		{"a tunnel", func(t *testing.T, s *shared) {
			p := enter(t, s)
			p.settled()
			time.Sleep(time.Hour)
			p.leave(false)
			time.Sleep(20 * time.Second)
			enter(t, s).leave(false)
		}, time.Hour + idle},
		{"requests that wait", func(t *testing.T, s *shared) {
			enter(t, s)
			enter(t, s)
		}, idle + tunnel.DefaultSetupTimeout},
		{"a request that succeeds late", func(t *testing.T, s *shared) {
			p := enter(t, s)
			time.Sleep(idle + time.Second)
			p.settled()
			time.Sleep(time.Hour)
			p.leave(false)
		}, time.Hour + 2*idle + time.Second},
		{"an abort of the last tunnel", func(t *testing.T, s *shared) {
			first, second := enter(t, s), enter(t, s)
			first.settled()
			second.settled()
			first.leave(true)
			time.Sleep(time.Hour)
			second.leave(true)
		}, time.Hour},
		{"success after the end", func(t *testing.T, s *shared) {
			p := enter(t, s)
			p.leave(true)
			p.settled()
		}, idle},
	} {
		t.Run(test.name, func(t *testing.T) {
			if lived := watched(t, func(s *shared) { test.steps(t, s) }); lived != test.want {
				t.Errorf("%v, want %v", lived, test.want)
			}
		})
	}
}

// A stranger on HTTP/3 has so many tries, and a client with a ticket has no bound.
func TestTriesOnHTTP3(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	try := func(c clientHTTP3, i int) {
		t.Helper()
		if r := c.connect(t, "echo.test:443", "Proxy-Authorization", fmt.Sprintf("Bearer %032d", i)); r.status != 407 {
			t.Fatal(i, r.status)
		}
	}
	known := w.http3(t)
	if r := known.connect(t, "echo.test:443", "Proxy-Authorization", bearer0); r.status != 200 {
		t.Fatal(r.status)
	}
	<-w.settled
	stranger := w.http3(t)
	for i := range maxFailures {
		try(stranger, i)
		try(known, i)
	}
	select {
	case <-stranger.conn.Context().Done():
	case <-time.After(patience):
		t.Error("the stranger is still there")
	}
	try(known, maxFailures)
	select {
	case <-w.settled:
		t.Error("settled without a tunnel, or twice")
	default:
	}
}

// A client whose last tunnel is cut off is rid of its connection, too.
func TestCutOfTheLast(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	h2, h3 := w.framed(t), w.http3(t)
	id, _ := h2.begin(connectTo("echo.test:443")...)
	if got := h2.answer(t, id); got != "200" {
		t.Fatal(got)
	}
	h3.connect(t, "echo.test:443", "Proxy-Authorization", bearer0).echoes(t, "here")
	close(w.revoked)
	for range 2 {
		if result := <-w.ended; result.Reason != tunnel.Cut {
			t.Errorf("%+v", result)
		}
	}
	if got := h2.answer(t, 0); strings.Contains(got, "timeout") { // up to the connection's end, or its deadline
		t.Error("HTTP/2's connection is still there")
	}
	select {
	case <-h3.conn.Context().Done():
	case <-time.After(patience):
		t.Error("HTTP/3's connection is still there")
	}
}

// deaf opens tunnels for a client that takes nothing any more, the last of them to a
// service that has more to say than there is room for.
func (w *world) deaf(t *testing.T, targets ...string) *framed {
	t.Helper()
	full := make(chan struct{})
	w.leads("flood.test", func(c *net.TCPConn) {
		piece := make([]byte, 64<<10)
		for err := error(nil); err == nil; {
			_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // far longer than it takes here
			_, err = c.Write(piece)
		}
		close(full)
		_, _ = c.Read(piece)
	})
	c := w.framed(t)
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	_ = c.WriteWindowUpdate(0, 1<<30)
	for _, target := range targets {
		id, _ := c.begin(connectTo(target)...)
		if got := c.answer(t, id); got != "200" {
			t.Fatal(got)
		}
	}
	<-full
	return c
}

// end waits for the end of a tunnel.
func (w *world) end(t *testing.T) {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		t.Fatal("a tunnel is not over")
	}
}

// A tunnel that is cut off is over soon, though its client takes no byte of anything
// and has another.
func TestCutOfADeafClient(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.spare <- struct{}{}
	w.deaf(t, "echo.test:443", "flood.test:443")
	close(w.revoked)
	w.end(t)
	w.end(t) // the other has gone with the connection
}

// Nor does such a client hold up its next tunnel's success.
func TestSuccessToADeafClient(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	c := w.deaf(t, "flood.test:443")
	if label := <-w.labels; label != "" {
		t.Error(label)
	}
	if _, err := c.begin(connectTo("echo.test:443")...); err != nil {
		t.Fatal(err)
	}
	select {
	case label := <-w.labels:
		if label != "" {
			t.Error(label)
		}
	case <-time.After(patience):
		t.Error("it waits")
	}
}

// roaming is where a connection is.
type roaming struct{ remote *net.UDPAddr }

func (roaming) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 443}
}
func (r roaming) RemoteAddr() net.Addr { return r.remote }

// A stream's peer is where the client is now, and an IPv4 address is one.
func TestPeerMoves(t *testing.T) {
	at := &roaming{&net.UDPAddr{IP: net.ParseIP("::ffff:198.51.100.1"), Port: 1}}
	e := &exchange{shared: &shared{at: at, peer: tunnel.Peer{Remote: netip.MustParseAddrPort("203.0.113.1:1"), ServerName: testName}}}
	for _, want := range []string{"198.51.100.1:1", "[2001:db8::1]:2"} {
		to := netip.MustParseAddrPort(want)
		at.remote = net.UDPAddrFromAddrPort(to)
		at.remote.IP = at.remote.IP.To16() // as a socket of both families says it
		peer := e.Peer()
		if peer.Remote != to || peer.Local != netip.MustParseAddrPort("192.0.2.1:443") || peer.ServerName != testName {
			t.Errorf("%+v, want %s", peer, want)
		}
	}
}
