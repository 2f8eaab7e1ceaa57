package node

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/tunnel"
)

// gatewayPart is the part of a node that serves tunnels.
type gatewayPart struct {
	*gateway.Gateway
	trust  *trust
	server *tunnel.Server
	addr   netip.AddrPort

	mu     sync.Mutex // guards what the snapshot in force was made of
	file   *config.Config
	around surroundings
}

// defaultPolicy is the name of the policy that gateway.policy describes.
const defaultPolicy = "default"

func (n *Node) startGateway(ctx context.Context, c *config.Config) (*gatewayPart, error) {
	listener, err := listen(ctx, c, c.Gateway.Listen)
	if err != nil {
		return nil, err
	}
	g := &gatewayPart{addr: listener.Addr().(*net.TCPAddr).AddrPort()}
	if err := g.assemble(n, c); err != nil {
		listener.Close()
		return nil, err
	}
	if !n.certs.CoversName(c.Gateway.FQDN) {
		n.log.Warn().Str("event", "certificate_lacks_name").Str("fqdn", c.Gateway.FQDN).
			Msg("no certificate covers gateway.fqdn: devices will refuse the gateway")
	}
	g.trust.run(ctx, n)
	n.run("own addresses", func() error { return g.watchAddresses(ctx, n) })
	n.run("gateway", func() error { return g.server.Serve(ctx, listener) })
	n.log.Info().Str("event", "gateway_ready").Str("fqdn", c.Gateway.FQDN).Stringer("listen", g.addr).
		Msg("the gateway accepts tunnels")
	return g, nil
}

// assemble makes the gateway, its server, and what follows the authorities for
// it. Nothing runs yet.
func (g *gatewayPart) assemble(n *Node, c *config.Config) (err error) {
	if g.trust, err = n.openTrust(c, g); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = g.trust.close()
		}
	}()
	if g.around.local, err = localAddresses(); err != nil {
		return err
	}
	g.file = c
	snapshot, err := n.snapshot(c, &g.around, g.addr)
	if err != nil {
		return err
	}
	g.Gateway, err = gateway.New(gateway.Config{
		Redeemer: g.trust, Snapshot: snapshot,
		Relay: tunnel.Limits{Idle: c.Gateway.IdleTimeout},
		Hooks: n.tunnelHooks(),
	})
	if err != nil {
		return err
	}
	g.server, err = tunnel.NewServer(tunnel.Config{
		TLS:          tunnel.ServerTLS(&tls.Config{GetCertificate: n.certs.GetCertificate}),
		Handler:      g.Gateway,
		SetupTimeout: c.Gateway.SetupTimeout,
		MaxStreams:   c.Gateway.MaxTunnels,
		Hooks:        n.carrierHooks(),
	})
	return err
}

// use puts the policy and names of c in force for new tunnels.
func (g *gatewayPart) use(n *Node, c *config.Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	snapshot, err := n.snapshot(c, &g.around, g.addr)
	if err != nil {
		return err
	}
	g.file = c
	g.Use(snapshot)
	n.log.Info().Str("event", "policy_in_force").Str("snapshot", snapshot.Policy.Snapshot()).
		Int("services", len(snapshot.Policy.Services())).Msg("this policy decides on new tunnels")
	return nil
}

// watchAddresses keeps the address rules up to date with the machine's
// addresses and the gateway's name, until ctx ends.
func (g *gatewayPart) watchAddresses(ctx context.Context, n *Node) error {
	every := time.NewTicker(lookAroundEvery)
	defer every.Stop()
	for {
		if err := g.noteAddresses(ctx, n); err != nil {
			n.log.Error().Str("event", "addresses_unknown").Err(err).Msg("the address rules go by the old addresses")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (g *gatewayPart) noteAddresses(ctx context.Context, n *Node) error {
	g.mu.Lock()
	file, around := g.file, g.around
	g.mu.Unlock()
	now, err := around.lookAround(ctx, file)
	if err != nil || now.equal(&around) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	snapshot, err := n.snapshot(g.file, &now, g.addr)
	if err != nil {
		return err
	}
	g.around = now
	g.Use(snapshot)
	return nil
}

// snapshot compiles everything that decides on destinations. listening is where
// the gateway itself listens.
func (n *Node) snapshot(c *config.Config, around *surroundings, listening netip.AddrPort) (gateway.Snapshot, error) {
	p := c.Gateway.Policy
	compiled, err := policy.Compile(defaultPolicy, policy.Spec{
		NetworkAccess: p.NetworkAccess, ExchangeServers: p.ExchangeServer,
		Services: p.BackgroundServices, EWSHost: p.EWSHost, PushRegion: p.PushRegion,
		SplitTunnel: p.SplitTunnel, SplitDNS: p.SplitDNS,
	})
	if err != nil {
		return gateway.Snapshot{}, err
	}
	resolver, err := splitdns.New(splitdns.Config{Hosts: c.SplitDNS.Hosts})
	if err != nil {
		return gateway.Snapshot{}, err
	}
	return gateway.Snapshot{
		Policy:   compiled,
		Resolver: names{resolver},
		Address: policy.NewAddressRules(policy.AddressConfig{
			Own: n.ownListeners(c, around, listening), OwnNames: n.ownNames(c, listening),
			Local: around.local, Pinned: c.SplitDNS.Hosts,
		}),
	}, nil
}

// close ends every tunnel and stops listening.
func (g *gatewayPart) close() {
	g.EndAll()
	_ = g.server.Close()
}
