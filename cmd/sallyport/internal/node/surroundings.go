package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
)

const (
	// lookAroundEvery is how soon a new address of this machine, or a new one of
	// the gateway's name, is known to be our own.
	lookAroundEvery = time.Minute
	// lookAroundTimeout bounds the look-up of the gateway's name.
	lookAroundTimeout = 5 * time.Second
)

// surroundings are the addresses by which this gateway can be reached, as far
// as they do not stand in the file. No tunnel may lead to them.
type surroundings struct {
	local  []netip.Addr // of this machine's interfaces
	public []netip.Addr // that the gateway's name resolves to
}

func (s *surroundings) equal(other *surroundings) bool {
	return slices.Equal(s.local, other.local) && slices.Equal(s.public, other.public)
}

// lookAround sees what there is now. A name that cannot be looked up keeps the
// addresses it had. With development certificates nothing is looked up: their
// listeners are on loopback, and have no public address.
func (s surroundings) lookAround(ctx context.Context, c *config.Config) (surroundings, error) {
	local, err := localAddresses()
	if err != nil {
		return s, err
	}
	s.local = local
	if c.Certs.Mode == "dev" {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookAroundTimeout)
	defer cancel()
	if public, err := net.DefaultResolver.LookupNetIP(ctx, "ip", c.Gateway.FQDN+"."); err == nil {
		slices.SortFunc(public, netip.Addr.Compare)
		s.public = public
	}
	return s, nil
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
	slices.SortFunc(local, netip.Addr.Compare)
	return local, nil
}

// ownListeners are the addresses and ports that no tunnel may lead to: those of
// the file that the node runs by and of the one that is coming into force,
// those in fact, which differ where a file says port 0, and those by which
// others know the gateway.
func (n *Node) ownListeners(c *config.Config, around *surroundings, listening netip.AddrPort) []netip.AddrPort {
	own := []netip.AddrPort{listening, n.AuthorityAddr()}
	for _, file := range []*config.Config{n.config, c} {
		own = append(own, file.Gateway.Listen, file.Health.Listen)
		if file.STA != nil {
			own = append(own, file.STA.Listen)
		}
		if file.Admin != nil {
			own = append(own, file.Admin.Listen)
		}
		for _, public := range slices.Concat(around.public, file.Gateway.PublicAddresses) {
			own = append(own, netip.AddrPortFrom(public, file.Gateway.PublicPort))
		}
	}
	return slices.DeleteFunc(own, func(a netip.AddrPort) bool { return !a.IsValid() || a.Port() == 0 })
}

// ownNames are the names that would lead back in.
func (n *Node) ownNames(c *config.Config, listening netip.AddrPort) map[string][]uint16 {
	names := make(map[string][]uint16)
	for _, file := range []*config.Config{n.config, c} {
		g := file.Gateway
		names[g.FQDN] = append(names[g.FQDN], g.PublicPort, g.Listen.Port(), listening.Port())
	}
	return names
}
