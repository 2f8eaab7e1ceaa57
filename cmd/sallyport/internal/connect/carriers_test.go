package connect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
)

// Where QUIC works it is taken, all tunnels share one connection, and none is asked
// for twice.
func TestAutoTakesQUIC(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	for _, carrier := range []Carrier{Auto, QUIC} {
		c := g.config(Off)
		if carrier == QUIC {
			c.Pin, c.RootCAs = g.leaf, x509.NewCertPool()
		}
		client := startClient(t, c, carrier)
		client.links.timing.headStart = never
		before := len(g.visits())
		first, second := dial(t, client), dial(t, client)
		exchange(t, first, "one")
		exchange(t, second, "two")
		visits := g.visits()[before:]
		if len(visits) != 2 || visits[0].peer.Carrier != quic.Carrier || visits[0].peer.Remote != visits[1].peer.Remote {
			t.Errorf("%v: %+v", carrier, visits)
		}
		if peer := visits[0].peer; peer.ServerName != gatewayName || peer.ALPN != tunnel.ALPN {
			t.Errorf("%v: %+v", carrier, peer)
		}
	}
}

func TestTunnelSaysItsCarrier(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	for carrier, want := range map[Carrier]string{
		QUIC: "AG policy Intercepting mail.example.com:443 for STA tunneling, over QUIC",
		TCP:  "AG policy Intercepting mail.example.com:443 for STA tunneling",
	} {
		c := g.config(Off)
		c.Carrier = carrier
		p, told := startProxy(t, c)
		conn, err := dialProxy(t, p, "mail.example.com", 443)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, conn, "hello")
		if tn := <-told; tn.Carrier != carrier || tn.String() != want {
			t.Errorf("%v: %v", tn.Carrier, tn)
		}
	}
}

// Where UDP leads nowhere, TCP is taken after the head start, and at once from the
// second tunnel on.
func TestUDPIsBlocked(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	g.udp.let(nothing)
	client := g.client(t, Auto)
	client.links.timing.headStart = 20 * time.Millisecond
	exchange(t, dial(t, client), "by TCP")
	client.links.timing.headStart = never
	exchange(t, dial(t, client), "at once")
	g.wantCarriers(t, tunnel.CarrierSOCKS5, tunnel.CarrierSOCKS5)
	if n := g.takeShown(); n != 2 {
		t.Errorf("the ticket was presented %d times for two tunnels", n)
	}
}

// The default head start is what it says; TCP's own time comes on top.
func TestHeadStart(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	g.udp.let(nothing)
	began := time.Now()
	dial(t, g.client(t, Auto))
	if took := time.Since(began); took < defaultTiming.headStart || took > defaultTiming.headStart+3*time.Second {
		t.Errorf("the first tunnel took %v", took)
	}
}

// A network that begins to block UDP costs one wait. The tunnels that were there wait
// for better times, and live to see them.
func TestUDPIsBlockedLater(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := g.client(t, Auto)
	client.links.timing.headStart = never
	old := dial(t, client)
	client.links.timing.answer = 20 * time.Millisecond
	g.udp.let(nothing)
	exchange(t, dial(t, client), "beside")
	client.links.timing.answer = never
	exchange(t, dial(t, client), "at once")
	g.wantCarriers(t, quic.Carrier, tunnel.CarrierSOCKS5, tunnel.CarrierSOCKS5)
	g.udp.let(everything)
	exchange(t, old, "still here")
}

// A gateway that is slow to judge a ticket is not taken for a network that blocks.
func TestSlowVerdict(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	release := make(chan struct{})
	g.mu.Lock()
	g.hold = func(ctx context.Context, peer tunnel.Peer) {
		if peer.Carrier == quic.Carrier {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	}
	g.mu.Unlock()
	client := g.client(t, Auto)
	client.links.timing.headStart = never
	// A connection first, whose handshake is no part of this.
	if _, err := client.links.link(t.Context()); err != nil {
		t.Fatal(err)
	}
	exchange(t, dial(t, client), "beside")
	close(release)
	client.links.timing.answer = never
	exchange(t, dial(t, client), "again")
	g.wantCarriers(t, tunnel.CarrierSOCKS5, quic.Carrier)
}

// One packet in twenty is lost, and no byte.
func TestLoss(t *testing.T) {
	const size = 8 << 20
	g := startQUICGateway(t)
	g.udp.let(lossy(0.05))
	g.routes["mail.example.com:443"] = misfit(t, func(conn net.Conn) {
		sum := sha256.New()
		_, _ = io.Copy(sum, conn)
		_, _ = conn.Write(sum.Sum(nil))
	})
	client := g.client(t, Auto)
	client.links.timing.headStart, client.links.timing.answer = never, never
	stream := dial(t, client)
	_ = stream.SetDeadline(time.Now().Add(30 * time.Second))
	sent := sha256.New()
	began := time.Now()
	_, err := io.CopyN(io.MultiWriter(stream, sent), mathrand.NewChaCha8([32]byte{7}), size)
	if err = errors.Join(err, stream.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, sent.Sum(nil)) {
		t.Errorf("other bytes came, or none: %v", err)
	}
	t.Logf("%d MiB in %v", size>>20, time.Since(began))
	g.wantCarriers(t, quic.Carrier)
}

// When the wait is over, QUIC is tried beside a tunnel, and comes back.
func TestQUICComesBack(t *testing.T) {
	g := startQUICGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	g.udp.let(nothing)
	client := g.client(t, Auto)
	clock, back := newFakeClock(), make(chan netip.Addr, 1)
	client.networks.now = clock.Now
	client.links.worked = func(network netip.Addr) {
		client.networks.works(network)
		back <- network
	}
	client.links.timing.headStart = 20 * time.Millisecond
	dial(t, client)
	client.links.timing.headStart = never
	forgetDial(client) // or the first try, which is still under way, would succeed
	g.udp.let(everything)
	clock.advance(firstAvoidance / 2)
	dial(t, client)
	if client.links.current(t.Context()) != nil || client.links.underWay() != nil {
		t.Error("QUIC was tried before its time")
	}
	clock.advance(firstAvoidance)
	exchange(t, dial(t, client), "meanwhile")
	if network := <-back; network != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("QUIC works on %v", network)
	}
	exchange(t, dial(t, client), "back")
	g.wantCarriers(t, tunnel.CarrierSOCKS5, tunnel.CarrierSOCKS5, tunnel.CarrierSOCKS5, quic.Carrier)
}

// forgetDial waits for the dial that is under way, and makes it fail first.
func forgetDial(c *Client) {
	if d := c.links.underWay(); d != nil {
		d.cancel()
		<-d.done
	}
}

func (p *links) underWay() *dialing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialing
}

// A gateway that cannot show who it is, on either way, is an error at once; the other
// way is not tried instead.
func TestWrongCertificate(t *testing.T) {
	other := certificate(t, gatewayName, time.Now().Add(time.Hour))
	wrongUDP := startGateway(t).withQUIC(t, quic.Config{}, other)
	wrongTCP := startQUICGateway(t)
	wrongTCP.udp.let(nothing)
	wrongRoots := wrongTCP.config(Off)
	wrongRoots.RootCAs = wrongUDP.config(Off).RootCAs
	pinned := wrongUDP.config(Off)
	pinned.Pin = wrongUDP.leaf
	for name, c := range map[string]Config{"QUIC": wrongUDP.config(Off), "TCP": wrongRoots, "QUIC, pinned": pinned} {
		for _, carrier := range []Carrier{Auto, QUIC} {
			if carrier == QUIC && name == "TCP" {
				continue
			}
			client := startClient(t, c, carrier)
			client.links.timing.headStart = 2 * time.Second
			if name == "TCP" {
				client.links.timing.headStart = 0
			}
			if err := reach(t, client, "mail.example.com:443"); !errors.Is(err, ErrTLS) {
				t.Errorf("%s, %v: %v", name, carrier, err)
			}
		}
	}
	if wrongUDP.takeShown()+wrongTCP.takeShown() > 0 {
		t.Error("the ticket was presented")
	}
}

// A refused ticket is refused by QUIC as by TCP, and is not tried on the other.
func TestTicketRefusedByQUIC(t *testing.T) {
	g := startQUICGateway(t)
	for _, carrier := range []Carrier{Auto, QUIC} {
		c := g.config(Off)
		c.Ticket = func() (string, error) { return strings.Repeat("X", 32), nil }
		client := startClient(t, c, carrier)
		client.links.timing.headStart = never
		err := reach(t, client, "mail.example.com:443")
		if n := g.takeShown(); n != 1 || !errors.Is(err, ErrTicketRefused) {
			t.Errorf("%v: %v, presented %d times", carrier, err, n)
		}
	}
}

// Without UDP the carrier quic fails, and says why.
func TestQUICAloneDoesNotFallBack(t *testing.T) {
	g := startQUICGateway(t)
	g.udp.let(nothing)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := g.client(t, QUIC).Dial(ctx, "tcp", "mail.example.com:443")
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "by QUIC, over UDP") {
		t.Errorf("%v", err)
	}
	if g.takeShown() != 0 {
		t.Error("TCP was taken")
	}
}

// When neither leads anywhere, both are told.
func TestNeitherIsReached(t *testing.T) {
	c := idleConfig(t, Off)
	c.Gateway = "127.0.0.1:" + closedUDPPort(t)
	client := startClient(t, c, Auto)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := client.Dial(ctx, "tcp", "mail.example.com:443")
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "by QUIC") {
		t.Errorf("%v", err)
	}
	if client.networks.avoided[netip.MustParseAddr("127.0.0.1")] != nil {
		t.Error("a network where nothing works is remembered as one without UDP")
	}
}

// closedUDPPort is one where nobody listens, by UDP or TCP.
func closedUDPPort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(closedPort(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Whoever breaks off, the other side hears what was said, and then no good end.
func TestBreakingOff(t *testing.T) {
	for _, carrier := range []Carrier{TCP, QUIC} {
		service, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		g := startQUICGateway(t)
		g.routes["mail.example.com:443"] = service.Addr().String()
		c := g.config(Off)
		c.Carrier = carrier
		p, _ := startProxy(t, c)
		for _, first := range []string{"the service", "the application"} {
			app, err := dialProxy(t, p, "mail.example.com", 443)
			if err != nil {
				t.Fatal(err)
			}
			far, err := service.Accept()
			if err != nil {
				t.Fatal(err)
			}
			breaks, hears := far.(*net.TCPConn), app
			if first == "the application" {
				breaks, hears = hears, breaks
			}
			if _, err := breaks.Write([]byte("half a sen")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 10)
			if _, err := io.ReadFull(hears, got); err != nil {
				t.Fatal(err)
			}
			_ = breaks.SetLinger(0)
			_ = breaks.Close()
			if n, err := hears.Read(got); n > 0 || err == nil || err == io.EOF {
				t.Errorf("%v, %s breaks off: %d bytes, %v", carrier, first, n, err)
			}
			_ = hears.Close()
		}
	}
}
