package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
)

// Node is a running authority, gateway, or both.
type Node struct {
	config    *config.Config
	log       zerolog.Logger
	certs     *certs.Source
	authority *authority // nil if the file has no sta section
	gateway   *gatewayPart
	strangers flood
	lies      oncePerMinute
	refusals  *refusals
	full      oncePerMinute

	cancel context.CancelFunc
	work   sync.WaitGroup
	failed chan error // the first failure of a part that should run on
}

// Start runs what c describes and returns when all of its listeners accept.
// Everything ends with [Node.Close].
func Start(ctx context.Context, c *config.Config, log zerolog.Logger) (_ *Node, err error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &Node{config: c, log: log, refusals: newRefusals(log), cancel: cancel, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			_ = n.Close(ctx)
		}
	}()
	if n.certs, err = openCerts(c); err != nil {
		return nil, err
	}
	if c.STA != nil {
		if n.authority, err = n.startAuthority(running, c); err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
	}
	if c.Gateway != nil {
		if n.gateway, err = n.startGateway(running, c); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	return n, nil
}

// Failed tells of a part that stopped although nobody asked it to.
func (n *Node) Failed() <-chan error { return n.failed }

// AuthorityAddr is where the authority listens; zero without one.
func (n *Node) AuthorityAddr() netip.AddrPort {
	if n.authority == nil {
		return netip.AddrPort{}
	}
	return n.authority.addr
}

// GatewayAddr is where the gateway listens; zero without one.
func (n *Node) GatewayAddr() netip.AddrPort {
	if n.gateway == nil {
		return netip.AddrPort{}
	}
	return n.gateway.addr
}

// InsideAddr is where the inside door listens; zero without one.
func (n *Node) InsideAddr() netip.AddrPort {
	if n.gateway == nil {
		return netip.AddrPort{}
	}
	return n.gateway.inside.address()
}

// Live is the number of live tunnels.
func (n *Node) Live() int {
	if n.gateway == nil {
		return 0
	}
	return n.gateway.Live()
}

// Drain stops accepting tunnels and waits until the last one has ended or ctx
// has. The authority goes on meanwhile: what drains can be revoked.
func (n *Node) Drain(ctx context.Context) error {
	if n.gateway == nil {
		return nil
	}
	return drainBoth(ctx, n.gateway.server, n.gateway.inside)
}

// Close ends everything. Tunnels are cut; requests to the authority may finish
// until ctx ends, and for a moment at most.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	if n.gateway != nil {
		n.gateway.close()
	}
	if n.authority != nil {
		n.authority.stop(ctx)
	}
	n.cancel()
	n.work.Wait()
	n.refusals.close()
	if n.gateway != nil {
		n.gateway.names.close()
		errs = append(errs, n.gateway.relays.Close(), n.gateway.trust.close())
	}
	if n.authority != nil {
		errs = append(errs, n.authority.close())
	}
	return errors.Join(errs...)
}

// reloadable are the keys that Reload puts in force, each with all below it.
var reloadable = []string{
	"gateway.policy", "gateway.policies", "gateway.facts", "gateway.match_catalogue", "gateway.public_addresses",
	"gateway.inside.services",
	"splitdns", "sta.clients",
}

// Reload puts in force what c changes of policy, names, the ways to remote
// authorities and the authority's clients, reads the certificates' files again,
// and reopens the audit file.
// What else c changes needs a restart, and is named in the log. An error names
// each part that stays as it was.
func (n *Node) Reload(c *config.Config) error {
	var errs []error
	if err := n.certs.Reload(); err != nil {
		errs = append(errs, fmt.Errorf("certificates: the old ones serve on: %w", err))
	}
	if n.gateway != nil && c.Gateway != nil {
		if err := n.gateway.use(n, c); err != nil {
			errs = append(errs, fmt.Errorf("policy: the old one stays in force: %w", err))
		}
		if err := n.gateway.trust.use(c); err != nil {
			errs = append(errs, err)
		}
	}
	if n.authority != nil && c.STA != nil {
		if err := n.authority.admit(n, c.STA); err != nil {
			errs = append(errs, fmt.Errorf("clients: the old ones stay: %w", err))
		}
	}
	if n.authority != nil {
		if err := n.authority.audit.Reopen(); err != nil {
			errs = append(errs, fmt.Errorf("audit file: %w", err))
		}
	}
	if late := n.needRestart(c); len(late) > 0 {
		n.log.Warn().Str("event", "needs_restart").Strs("keys", late).Msg("these changes wait for a restart")
	}
	return errors.Join(errs...)
}

// needRestart names what differs from the file that the node was started by and
// cannot be reloaded.
func (n *Node) needRestart(c *config.Config) []string {
	return slices.DeleteFunc(config.Changed(withoutWays(n.config), withoutWays(c)), func(key string) bool {
		return slices.ContainsFunc(reloadable, func(r string) bool { return key == r || strings.HasPrefix(key, r+".") })
	})
}

// withoutWays leaves out how remote authorities are reached, which is reloaded.
func withoutWays(c *config.Config) *config.Config {
	if c.Gateway == nil {
		return c
	}
	copied, gateway := *c, *c.Gateway
	gateway.Authorities = slices.Clone(gateway.Authorities)
	for i := range gateway.Authorities {
		if a := &gateway.Authorities[i]; !a.Foreign() {
			a.URL, a.CA, a.KeyFile, a.Cert, a.Key = nil, "", "", "", ""
		}
	}
	copied.Gateway = &gateway
	return &copied
}

// run starts a part of the node. Its failure is the node's.
func (n *Node) run(name string, part func() error) {
	n.work.Go(func() {
		if err := part(); err != nil {
			select {
			case n.failed <- fmt.Errorf("%s: %w", name, err):
			default: // the first one is enough to end the node
			}
		}
	})
}

// CertificatePairs are the files of certs mode files.
func CertificatePairs(c *config.Config) []certs.Pair {
	pairs := make([]certs.Pair, len(c.Certs.Files))
	for i, f := range c.Certs.Files {
		pairs[i] = certs.Pair{Cert: f.Cert, Key: f.Key}
	}
	return pairs
}

func openCerts(c *config.Config) (*certs.Source, error) {
	if c.Certs.Mode == "files" {
		return certs.OpenFiles(CertificatePairs(c))
	}
	var names []string
	if c.Gateway != nil {
		names = append(names, c.Gateway.FQDN)
	}
	return certs.OpenDev(c.Certs.Dir, names)
}
