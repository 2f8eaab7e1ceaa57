package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// insideCarrier makes a listener of tunnels out of one of connections, and closes
// those that are not from an allowed address.
type insideCarrier func(l net.Listener, allowed func(netip.Addr) bool) net.Listener

// insideDoor is where servers within come to the gateway, without a ticket. A nil one
// is that of a file which has none, and does nothing.
//
//	openInside ──► assemble, with the gateway ──► serve ──► drainBoth, close
//
// It listens before there is a gateway, whose address rules must know where.
type insideDoor struct {
	listener net.Listener // of tunnels
	at       netip.AddrPort
	server   *tunnel.Server        // from assemble on
	stranger func(from netip.Addr) // is told who is no source; from assemble on
}

func openInside(ctx context.Context, c *config.Config, carrier insideCarrier) (*insideDoor, error) {
	inside := c.Gateway.Inside
	if inside == nil {
		return nil, nil
	}
	if c.Certs.Mode == "dev" {
		if err := certs.CheckLoopback(inside.Listen); err != nil {
			return nil, fmt.Errorf("gateway.inside.listen: %w", err)
		}
	}
	// Unlike a phone, a server costs nothing to be asked whether it is still there.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4,
	}}
	listener, err := lc.Listen(ctx, "tcp", inside.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("gateway.inside.listen: %w", err)
	}
	d := &insideDoor{at: listener.Addr().(*net.TCPAddr).AddrPort()}
	d.listener = carrier(listener, func(from netip.Addr) bool {
		admitted := inside.Admits(from)
		if !admitted {
			d.stranger(from)
		}
		return admitted
	})
	return d, nil
}

// address is where it listens in fact; zero if it does not.
func (d *insideDoor) address() netip.AddrPort {
	if d == nil {
		return netip.AddrPort{}
	}
	return d.at
}

// assemble makes the door's server. Its bound is beside that of devices: neither can
// take the other's room.
func (d *insideDoor) assemble(n *Node, c *config.Config, g *gateway.Gateway) (err error) {
	if d == nil {
		return nil
	}
	hooks, told := n.carrierHooks(), new(oncePerMinute)
	hooks.Full = func() {
		if told.due(time.Now()) {
			n.log.Warn().Str("event", "tunnels_full").
				Msg("gateway.inside.max_tunnels are taken; further servers are refused at the inside door")
		}
	}
	d.stranger = n.turnedAwayFrom(d.at.Addr())
	d.server, err = tunnel.NewServer(tunnel.Config{
		Handler: g.Inside(), SetupTimeout: c.Gateway.SetupTimeout, MaxStreams: c.Gateway.Inside.MaxTunnels, Hooks: hooks,
	})
	return err
}

func (d *insideDoor) serve(ctx context.Context, n *Node, c *config.Config) {
	if d == nil {
		return
	}
	n.run("inside door", func() error { return d.server.Serve(ctx, d.listener) })
	n.log.Info().Str("event", "inside_ready").Stringer("listen", d.at).Int("sources", len(c.Gateway.Inside.Sources)).
		Msg("servers from these sources need no ticket here")
}

// noteInside tells of a list of the inside door that a reload has put in the place of
// another one. A door whose section is gone has none, and opens nothing.
func (n *Node) noteInside(before, now *policy.Policy) {
	version := func(p *policy.Policy) (snapshot string, services int) {
		if p == nil {
			return "", 0
		}
		return p.Snapshot(), len(p.Services())
	}
	old, _ := version(before)
	snapshot, services := version(now)
	if old == snapshot {
		return
	}
	n.log.Info().Str("event", "inside_in_force").Str("snapshot", snapshot).Int("services", services).
		Msg("this list decides on new tunnels at the inside door")
}

// drainBoth stops accepting at both doors at once, and waits until the last tunnel
// of either has ended or ctx has.
func drainBoth(ctx context.Context, devices *tunnel.Server, inside *insideDoor) error {
	if inside == nil {
		return devices.Shutdown(ctx)
	}
	var draining sync.WaitGroup
	var failed error
	draining.Go(func() { failed = inside.server.Shutdown(ctx) })
	err := devices.Shutdown(ctx)
	draining.Wait()
	return errors.Join(err, failed)
}

// close stops listening, and ends what is still being set up.
func (d *insideDoor) close() {
	switch {
	case d == nil:
	case d.server == nil:
		_ = d.listener.Close()
	default:
		_ = d.server.Close()
		_ = d.listener.Close() // should it never have been served
	}
}
