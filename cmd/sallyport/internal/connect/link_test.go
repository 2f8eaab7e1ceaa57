package connect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// hearFrom waits until the gateway has heard from a device at this address.
func (g *quicGateway) hearFrom(t testing.TB, addr string) {
	t.Helper()
	for receive(t, g.udp.sources).Addr() != netip.MustParseAddr(addr) {
	}
}

// A device that changes its network takes its tunnels with it.
func TestMove(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := g.client(t, QUIC)
	network := onNetwork(client, "127.0.0.1")
	client.links.timing.poll = 5 * time.Millisecond
	old := dial(t, client)
	g.hearFrom(t, "127.0.0.1")
	network.move("127.0.0.2")
	g.hearFrom(t, "127.0.0.2")
	exchange(t, old, "moved")
	exchange(t, dial(t, client), "as well")
	// The one that is moved to just before it is needed need not wait for the poll.
	client.links.timing.poll = never
	another := dial(t, client)
	network.move("127.0.0.3")
	exchange(t, dial(t, client), "at once")
	g.hearFrom(t, "127.0.0.3")
	exchange(t, another, "and this")
	if n := len(client.links.all); n != 1 {
		t.Errorf("%d connections, want the one", n)
	}
}

// Where UDP leads nowhere the connection is not moved to, and no new tunnel waits for
// it. Those that it has come back when the device does.
func TestMoveFails(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	g.udp.let(func(from netip.AddrPort) bool { return from.Addr() == netip.MustParseAddr("127.0.0.1") })
	client := g.client(t, Auto)
	client.links.timing.headStart, client.links.timing.answer = never, never // but where it is said
	network := onNetwork(client, "127.0.0.1")
	old := dial(t, client)
	client.links.timing.move = 50 * time.Millisecond
	client.links.timing.headStart = 20 * time.Millisecond
	network.move("127.0.0.2")
	exchange(t, dial(t, client), "by TCP")
	g.wantCarriers(t, quic.Carrier, tunnel.CarrierSOCKS5)
	network.move("127.0.0.1")
	exchange(t, old, "back")
	client.links.timing.headStart = never
	exchange(t, dial(t, client), "anew")
	g.wantCarriers(t, quic.Carrier, tunnel.CarrierSOCKS5, quic.Carrier)
}

// A tunnel that is no longer wanted does not wait for a move that it asked for.
func TestMoveOutlastsWhoAsked(t *testing.T) {
	service := startService(t).String() // before the gateway, whom Close's goodbye does not reach
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = service
	client := g.client(t, QUIC)
	client.links.timing.poll, client.links.timing.move = never, never
	network := onNetwork(client, "127.0.0.1")
	dial(t, client)
	moving := make(chan struct{}, 1)
	g.udp.let(func(from netip.AddrPort) bool {
		select {
		case moving <- struct{}{}:
		default:
		}
		return false
	})
	network.move("127.0.0.2")
	ctx, unwanted := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := client.Dial(ctx, "tcp", "mail.example.com:443")
		ended <- err
	}()
	receive(t, moving)
	unwanted()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	_ = client.Close() // which waits for all that was started, the move among it
}

// A connection without tunnels is not moved: another one is made.
func TestUnusedIsNotMoved(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := g.client(t, QUIC)
	network := onNetwork(client, "127.0.0.1")
	_ = dial(t, client).Close()
	first := client.links.current(t.Context())
	network.move("127.0.0.2")
	exchange(t, dial(t, client), "elsewhere")
	if client.links.current(t.Context()) == first {
		t.Error("it is the same connection")
	}
	receive(t, first.conn.Context().Done())
}

// What the gateway closes, or is about to, is replaced, and nobody notices.
func TestConnectionIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *Client, *fakeClock){
		"closed by the gateway": func(t *testing.T, c *Client, _ *fakeClock) {
			receive(t, c.links.current(t.Context()).conn.Context().Done())
		},
		"unused for long": func(_ *testing.T, _ *Client, clock *fakeClock) { clock.advance(quic.DefaultUnused) },
		"full": func(_ *testing.T, c *Client, _ *fakeClock) {
			c.links.live.tunnels = maxLinkStreams
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := quic.Config{}
			if name == "closed by the gateway" {
				config.Unused = 10 * time.Millisecond
			}
			g := startGateway(t)
			g.routes["mail.example.com:443"] = startService(t).String()
			udp := g.withQUIC(t, config, g.cert)
			client := udp.client(t, QUIC)
			clock := newFakeClock()
			client.links.now = clock.Now
			first := dial(t, client)
			exchange(t, first, "first")
			_ = first.Close()
			spoil(t, client, clock)
			exchange(t, dial(t, client), "second")
			visits := g.visits()
			if len(visits) != 2 || visits[0].peer.Remote == visits[1].peer.Remote {
				t.Errorf("%+v", visits)
			}
		})
	}
}

// A connection that has just been given up takes nobody with it.
func TestRetiredLinkTakesNobody(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := g.client(t, QUIC)
	first, err := client.links.link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client.links.retire(first)
	if _, err := first.open(t.Context(), socks.Auth{Password: goodTicket}, &progress{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	exchange(t, dial(t, client), "on another")
	receive(t, first.conn.Context().Done())
	if n := g.takeShown(); n != 1 {
		t.Errorf("the ticket was presented %d times", n)
	}
}

// A gateway that drains keeps its tunnels and resets new streams; they go elsewhere,
// here by TCP.
func TestDraining(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := g.client(t, Auto)
	client.links.timing.headStart, client.links.timing.answer = never, never
	old := dial(t, client)
	link := client.links.current(t.Context())
	_ = g.listener.Close()
	exchange(t, dial(t, client), "elsewhere")
	g.wantCarriers(t, quic.Carrier, tunnel.CarrierSOCKS5)
	exchange(t, old, "still here")
	_ = old.Close()
	receive(t, link.conn.Context().Done())
}

// Close ends tunnels and tries, and nothing begins after it.
func TestClientClose(t *testing.T) {
	service := startService(t).String() // before the gateway, whom Close's goodbye does not reach
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = service
	client := g.client(t, Auto)
	client.links.timing.headStart, client.links.timing.answer = never, never
	open := dial(t, client)
	ended := make(chan error, 2)
	go func() {
		_, err := open.Read(make([]byte, 1))
		ended <- err
	}()
	first, dialled := receive(t, g.udp.sources), make(chan netip.AddrPort, 1)
	g.udp.let(func(from netip.AddrPort) bool {
		select {
		case dialled <- from:
		default:
		}
		return false
	})
	client.links.retire(client.links.current(t.Context())) // the next one must dial, in vain
	go func() {
		_, err := client.Dial(t.Context(), "tcp", "mail.example.com:443")
		ended <- err
	}()
	for receive(t, dialled) == first {
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := receive(t, ended); err == nil || err == io.EOF {
			t.Errorf("%v", err)
		}
	}
	if _, err := client.Dial(t.Context(), "tcp", "mail.example.com:443"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}
