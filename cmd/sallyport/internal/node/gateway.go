package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// gatewayPart is the part of a node that serves tunnels.
type gatewayPart struct {
	*gateway.Gateway
	server *tunnel.Server
	addr   netip.AddrPort
}

// defaultPolicy is the name of the policy that gateway.policy describes.
const defaultPolicy = "default"

func (n *Node) startGateway(ctx context.Context, c *config.Config) (*gatewayPart, error) {
	listener, err := listen(ctx, c, c.Gateway.Listen)
	if err != nil {
		return nil, err
	}
	g := &gatewayPart{addr: listener.Addr().(*net.TCPAddr).AddrPort()}
	follower, err := g.assemble(n, c)
	if err != nil {
		listener.Close()
		return nil, err
	}
	if !n.certs.CoversName(c.Gateway.FQDN) {
		n.log.Warn().Str("event", "certificate_lacks_name").Str("fqdn", c.Gateway.FQDN).
			Msg("no certificate covers gateway.fqdn: devices will refuse the gateway")
	}
	n.run("revocations", func() error { return follower.Run(ctx) })
	n.run("gateway", func() error { return g.server.Serve(ctx, listener) })
	n.log.Info().Str("event", "gateway_ready").Str("fqdn", c.Gateway.FQDN).Stringer("listen", g.addr).
		Msg("the gateway accepts tunnels")
	return g, nil
}

// assemble makes the gateway, its server, and what follows the authority for
// it. Nothing runs yet.
func (g *gatewayPart) assemble(n *Node, c *config.Config) (*follow.Follower, error) {
	follower, err := follow.New(follow.Config{
		Gateway: c.Node, Audience: c.Gateway.FQDN,
		Source: n.authority, Keys: n.authority.keys,
		Cut:  func(r *ticket.Revocation) int { return g.Cut(r) },
		Lost: n.revocationsLost,
	})
	if err != nil {
		return nil, err
	}
	snapshot, err := n.snapshot(c, g.addr)
	if err != nil {
		return nil, err
	}
	g.Gateway, err = gateway.New(gateway.Config{
		Redeemer: follower, Snapshot: snapshot,
		Relay: tunnel.Limits{Idle: c.Gateway.IdleTimeout},
		Hooks: n.tunnelHooks(),
	})
	if err != nil {
		return nil, err
	}
	g.server, err = tunnel.NewServer(tunnel.Config{
		TLS:          tunnel.ServerTLS(&tls.Config{GetCertificate: n.certs.GetCertificate}),
		Handler:      g.Gateway,
		SetupTimeout: c.Gateway.SetupTimeout,
		MaxStreams:   c.Gateway.MaxTunnels,
		Hooks:        n.carrierHooks(),
	})
	return follower, err
}

// use puts the policy and names of c in force for new tunnels.
func (g *gatewayPart) use(n *Node, c *config.Config) error {
	snapshot, err := n.snapshot(c, g.addr)
	if err != nil {
		return err
	}
	g.Use(snapshot)
	n.log.Info().Str("event", "policy_in_force").Str("snapshot", snapshot.Policy.Snapshot()).
		Int("services", len(snapshot.Policy.Services())).Msg("this policy decides on new tunnels")
	return nil
}

// snapshot compiles everything that decides on destinations. listening is where
// the gateway itself listens.
func (n *Node) snapshot(c *config.Config, listening netip.AddrPort) (gateway.Snapshot, error) {
	p := c.Gateway.Policy
	compiled, err := policy.Compile(defaultPolicy, policy.Spec{
		NetworkAccess: p.NetworkAccess, ExchangeServers: p.ExchangeServer,
		Services: p.BackgroundServices, EWSHost: p.EWSHost, PushRegion: p.PushRegion,
		SplitTunnel: p.SplitTunnel, SplitDNS: p.SplitDNS,
	})
	if err != nil {
		return gateway.Snapshot{}, err
	}
	local, err := localAddresses()
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
			Own: ownListeners(c, listening, n.AuthorityAddr()), Local: local, Pinned: c.SplitDNS.Hosts,
		}),
	}, nil
}

// ownListeners are the addresses that no tunnel may lead to: those in the file
// and those in fact, which differ where the file says port 0.
func ownListeners(c *config.Config, listening ...netip.AddrPort) []netip.AddrPort {
	own := slices.Clone(listening)
	own = append(own, c.Gateway.Listen, c.Health.Listen)
	if c.STA != nil {
		own = append(own, c.STA.Listen)
	}
	if c.Admin != nil {
		own = append(own, c.Admin.Listen)
	}
	return slices.DeleteFunc(own, func(a netip.AddrPort) bool { return !a.IsValid() || a.Port() == 0 })
}

func localAddresses() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("this machine's addresses: %w", err)
	}
	var local []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			local = append(local, prefix.Addr())
		}
	}
	return local, nil
}

// close ends every tunnel and stops listening.
func (g *gatewayPart) close() {
	g.EndAll()
	_ = g.server.Close()
}
