package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway/policy"
)

const (
	// lookAroundEvery is how soon a new address of this machine, or a new one of
	// the gateway's name, is known to be our own.
	lookAroundEvery = time.Minute
	// lookAroundTimeout bounds the look-up of the gateway's name.
	lookAroundTimeout = 5 * time.Second
)

// surroundings are the addresses by which this gateway and what stands behind it
// can be reached, as far as they do not stand in the file. No tunnel may lead to
// them.
type surroundings struct {
	local  []netip.Addr     // of this machine's interfaces
	public []netip.Addr     // that the gateway's name resolves to
	behind []netip.AddrPort // that the names of authorities and of Redis resolve to
	inside netip.AddrPort   // where the inside door listens in fact; it does not change
}

func (s *surroundings) equal(other *surroundings) bool {
	return slices.Equal(s.local, other.local) && slices.Equal(s.public, other.public) && slices.Equal(s.behind, other.behind)
}

// lookAround sees what there is now. A name that cannot be looked up keeps the
// addresses it had. With development certificates nothing is looked up: their
// listeners are on loopback, and have no public address. look is for names of ours:
// those by which the gateway knows them itself, and by which tunnels would.
func (s surroundings) lookAround(ctx context.Context, c *config.Config, look lookUp) (surroundings, error) {
	local, err := localAddresses()
	if err != nil {
		return s, err
	}
	s.local = local
	ctx, cancel := context.WithTimeout(ctx, lookAroundTimeout)
	defer cancel()
	s.behind = lookUpBehind(ctx, c, s.behind, look)
	if c.Certs.Mode == "dev" {
		return s, nil
	}
	public, err := look(ctx, c.Gateway.FQDN)
	if err != nil {
		public = append(public, s.public...)
	}
	slices.SortFunc(public, netip.Addr.Compare)
	s.public = slices.Compact(public)
	return s, nil
}

// lookUp gives the addresses of a name; beside an error, as many as were found.
type lookUp func(ctx context.Context, name string) ([]netip.Addr, error)

// behind lists the servers that a gateway's file names: authorities elsewhere, and
// Redis.
func behind(c *config.Config) []hostPort {
	var servers []hostPort
	add := func(address, standard string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host, port = strings.Trim(address, "[]"), standard
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			servers = append(servers, hostPort{host, uint16(n)})
		}
	}
	for _, authority := range c.Gateway.Authorities {
		for _, text := range authority.URL {
			if u, err := url.Parse(text); err == nil {
				add(u.Host, "443")
			}
		}
	}
	if c.STA != nil && c.STA.Store.Redis != nil {
		for _, address := range c.STA.Store.Redis.Addrs {
			add(address, "6379")
		}
	}
	return servers
}

type hostPort struct {
	host string
	port uint16
}

// lookUpBehind gives their addresses. A name that cannot be looked up now loses
// none that it had.
func lookUpBehind(ctx context.Context, c *config.Config, before []netip.AddrPort, look lookUp) []netip.AddrPort {
	var found []netip.AddrPort
	failed := false
	for _, server := range behind(c) {
		if addr, err := netip.ParseAddr(server.host); err == nil {
			found = append(found, netip.AddrPortFrom(addr.Unmap(), server.port))
			continue
		}
		addrs, err := look(ctx, strings.TrimSuffix(server.host, "."))
		failed = failed || err != nil
		for _, addr := range addrs {
			found = append(found, netip.AddrPortFrom(addr.Unmap(), server.port))
		}
	}
	if failed {
		found = append(found, before...)
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return slices.Compact(found)
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
	own := append([]netip.AddrPort{listening, around.inside, n.AuthorityAddr()}, around.behind...)
	for _, file := range []*config.Config{n.config, c} {
		own = append(own, file.Gateway.Listen, file.Health.Listen)
		if file.Gateway.Inside != nil {
			own = append(own, file.Gateway.Inside.Listen)
		}
		if file.STA != nil {
			own = append(own, file.STA.Listen)
		}
		if file.Admin != nil {
			own = append(own, file.Admin.Listen)
		}
		for _, server := range behind(file) { // names are in around, once they were looked up
			if addr, err := netip.ParseAddr(server.host); err == nil {
				own = append(own, netip.AddrPortFrom(addr.Unmap(), server.port))
			}
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
		if g.Inside != nil {
			names[g.FQDN] = append(names[g.FQDN], g.Inside.Listen.Port())
		}
		for _, server := range behind(file) {
			if host, err := policy.ParseHost(server.host); err == nil && host.Name != "" {
				names[host.Name] = append(names[host.Name], server.port)
			}
		}
	}
	return names
}
