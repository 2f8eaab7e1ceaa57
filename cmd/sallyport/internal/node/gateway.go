package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/httpconnect"
	"github.com/sallyport/sallyport/tunnel/record"
)

// gatewayPart is the part of a node that serves tunnels.
type gatewayPart struct {
	*gateway.Gateway
	trust  *trust
	server *tunnel.Server
	relays *tunnel.Relays
	addr   netip.AddrPort
	doors  *doors
	inside *insideDoor // nil if the file has none
	// upstream is in every snapshot.
	upstream *gateway.Upstream

	mu       sync.Mutex // guards what the snapshot in force was made of
	file     *config.Config
	policies string    // the version
	since    time.Time // when its policies came into force
	names    *names    // of the file; closed when they and all snapshots with them are gone
	around   surroundings
	opens    *policy.Policy // what the inside door opens; nil: nothing
}

func (n *Node) startGateway(ctx context.Context, c *config.Config) (*gatewayPart, error) {
	doors, err := n.openDoors(ctx, c)
	if err != nil {
		return nil, err
	}
	inside, err := openInside(ctx, c, httpconnect.Inside)
	if err != nil {
		doors.close()
		return nil, err
	}
	g := &gatewayPart{doors: doors, addr: doors.address(), inside: inside}
	g.around.inside = inside.address()
	if err := g.assemble(n, c); err != nil {
		doors.close()
		inside.close()
		return nil, err
	}
	if !n.certs.CoversName(c.Gateway.FQDN) {
		n.log.Warn().Str("event", "certificate_lacks_name").Str("fqdn", c.Gateway.FQDN).
			Msg("no certificate covers gateway.fqdn: devices will refuse the gateway")
	}
	n.checkFiles(c)
	g.trust.run(ctx, n)
	g.noteAddresses(ctx, n) // before the first tunnel, which might lead there
	n.run("own addresses", func() error { return g.watchAddresses(ctx, n) })
	g.doors.serve(ctx, n, g.server)
	g.inside.serve(ctx, n, c)
	n.run("memory", func() error { return n.trim(ctx) })
	n.log.Info().Str("event", "gateway_ready").Str("fqdn", c.Gateway.FQDN).Stringer("listen", g.addr).
		Strs("carriers", g.doors.by()).Msg("the gateway accepts tunnels")
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
	g.file, g.since = c, time.Now()
	if g.names, err = n.openNames(c); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			g.names.close()
		}
	}()
	if g.upstream, err = n.openUpstream(c); err != nil {
		return err
	}
	snapshot, err := n.snapshot(c, g.since, g.names, &g.around, g.addr)
	if err != nil {
		return err
	}
	g.policies, g.opens = snapshot.Policies.Snapshot(), snapshot.Inside
	if g.relays, err = tunnel.NewRelays(n.relaysHooks()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = g.relays.Close()
		}
	}()
	g.Gateway, err = gateway.New(gateway.Config{
		Redeemer: g.trust, Snapshot: snapshot,
		Upstream: g.upstream, Relays: g.relays, Relay: tunnel.Limits{Idle: c.Gateway.IdleTimeout},
		Hooks: n.tunnelHooks(),
	})
	if err != nil {
		return err
	}
	server := tunnel.Config{
		Handler:      g.Gateway,
		SetupTimeout: c.Gateway.SetupTimeout,
		MaxStreams:   c.Gateway.MaxTunnels,
		Records:      n.records(c, record.SelfTest),
		Hooks:        n.carrierHooks(),
	}
	g.doors.tell(&server)
	if g.server, err = tunnel.NewServer(server); err != nil {
		return err
	}
	return g.inside.assemble(n, c, g.Gateway)
}

// openUpstream is the way to the services. It finds out whether this machine has the
// addresses that the file says.
func (n *Node) openUpstream(c *config.Config) (*gateway.Upstream, error) {
	u, err := gateway.NewUpstream(gateway.UpstreamConfig{
		Sources: c.Gateway.Upstream.Sources, UserTimeout: c.Gateway.Upstream.UserTimeout, PortsLow: n.portsLow,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway.upstream.sources: %w", err)
	}
	return u, nil
}

// use puts the policies and names of c in force for new tunnels. If anything is new
// about how names are resolved, that begins anew, and with it its cache: other
// servers may know other answers.
func (g *gatewayPart) use(n *Node, c *config.Config) error {
	names, err := n.openNames(c)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if names.isLike(g.names) {
		names.drop()
		names = g.names.take()
	}
	snapshot, err := n.snapshot(c, time.Now(), names, &g.around, g.addr)
	if err != nil {
		names.drop()
		return err
	}
	if snapshot.Policies.Snapshot() == g.policies {
		snapshot.Since = g.since // they are what they were
	}
	old, opened := g.names, g.opens
	g.opens = snapshot.Inside
	g.file, g.policies, g.since, g.names = c, snapshot.Policies.Snapshot(), snapshot.Since, names
	g.Use(snapshot)
	old.drop()
	all := snapshot.Policies.All()
	n.log.Info().Str("event", "policy_in_force").Str("snapshot", snapshot.Policies.Snapshot()).
		Int("policies", len(all)).Int("services", len(snapshot.Policies.Default().Services())).
		Msg("these policies decide on new tunnels")
	n.noteInside(opened, snapshot.Inside)
	return nil
}

// watchAddresses keeps the address rules up to date with the machine's
// addresses and the gateway's name, until ctx ends.
func (g *gatewayPart) watchAddresses(ctx context.Context, n *Node) error {
	every := time.NewTicker(lookAroundEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			g.noteAddresses(ctx, n)
		}
	}
}

func (g *gatewayPart) noteAddresses(ctx context.Context, n *Node) {
	if err := g.lookAround(ctx, n); err != nil {
		n.log.Error().Str("event", "addresses_unknown").Err(err).Msg("the address rules go by the old addresses")
	}
}

func (g *gatewayPart) lookAround(ctx context.Context, n *Node) error {
	g.mu.Lock()
	file, around, names := g.file, g.around, g.names.take()
	g.mu.Unlock()
	defer names.drop()
	now, err := around.lookAround(ctx, file, names.look)
	if err != nil || now.equal(&around) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.around = now
	g.UseAddress(n.addressRules(g.file, &now, g.addr))
	return nil
}

// snapshot compiles everything that decides on destinations. listening is where
// the gateway itself listens.
func (n *Node) snapshot(c *config.Config, since time.Time, names *names, around *surroundings, listening netip.AddrPort) (gateway.Snapshot, error) {
	policies, err := c.PolicySet()
	if err != nil {
		return gateway.Snapshot{}, err
	}
	inside, err := c.InsidePolicy()
	if err != nil {
		return gateway.Snapshot{}, err
	}
	names.take()
	return gateway.Snapshot{
		Policies: policies, Inside: inside, Since: since, Address: n.addressRules(c, around, listening),
		Resolver: names, DNS: names, Release: names.drop,
		Catalogue: names.madeOf.catalogue, Trusted: n.trustedPolicies(),
	}, nil
}

// addressRules are what may be dialled, by the file and by what there is around.
func (n *Node) addressRules(c *config.Config, around *surroundings, listening netip.AddrPort) *policy.AddressRules {
	rules := policy.AddressConfig{
		Own: n.ownListeners(c, around, listening), OwnNames: n.ownNames(c, listening),
		Local: around.local, Pinned: c.SplitDNS.Hosts, NAT64: c.SplitDNS.NAT64,
	}
	for _, zone := range c.SplitDNS.Zones {
		rules.Zones = append(rules.Zones, policy.Zone{Suffix: zone.Suffix, Allow: zone.Allow})
	}
	return policy.NewAddressRules(rules)
}

// trustedPolicies are those that authorities' tickets may have, for the authorities
// that may not give any. They are of the file that the node runs by: whom it trusts,
// and with what, does not change before a restart.
func (n *Node) trustedPolicies() map[string][]string {
	trusted := make(map[string][]string)
	for _, authority := range n.config.Gateway.Authorities {
		if authority.Policies != nil {
			trusted[authority.ID] = authority.Policies
		}
	}
	return trusted
}

// catalogueOf gives the addresses that stand for names, if that is switched on.
func catalogueOf(g *config.Gateway) (map[string][]netip.Addr, error) {
	if !g.MatchCatalogue {
		return nil, nil
	}
	facts := lint.DefaultFacts()
	if g.Facts != "" {
		text, err := os.ReadFile(g.Facts)
		if err != nil {
			return nil, err
		}
		if facts, err = lint.ParseFacts(text); err != nil {
			return nil, fmt.Errorf("%s: %w", g.Facts, err)
		}
	}
	return facts.Addresses(), nil
}

// close ends every tunnel and stops listening.
func (g *gatewayPart) close() {
	g.EndAll()
	_ = g.server.Close()
	g.doors.close()
	g.inside.close()
}
