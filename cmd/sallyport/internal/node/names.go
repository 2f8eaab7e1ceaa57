package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// names is how the names of one file are resolved: a resolver and the servers that
// it asks. Snapshots share it as long as the file stays, and the last one that
// uses it closes it.
type names struct {
	madeOf   origin
	resolver *splitdns.Resolver
	service  *splitdns.Service
	pools    []*upstream.Pool
	uses     atomic.Int64
	shut     sync.Once
}

var (
	_ gateway.Resolver = (*names)(nil)
	_ gateway.DNS      = (*names)(nil)
)

// resolvConf says who is asked where a file names nobody.
const resolvConf = "/etc/resolv.conf"

// origin is what names are made of. Files are read once: what somebody writes into
// one meanwhile comes into force with the next reload, and keeps nothing else from
// coming.
type origin struct {
	split     config.SplitDNS
	fqdn      string
	roots     []string // what the files under ca hold
	catalogue map[string][]netip.Addr
}

// isLike tells whether other ones would answer alike.
func (s *names) isLike(other *names) bool { return reflect.DeepEqual(&s.madeOf, &other.madeOf) }

// openNames makes it, with one use.
func (n *Node) openNames(c *config.Config) (_ *names, err error) {
	s := &names{madeOf: origin{split: c.SplitDNS, fqdn: c.Gateway.FQDN}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.madeOf.catalogue, err = catalogueOf(c.Gateway); err != nil {
		return nil, err
	}
	hooks := n.serverHooks()
	wanted := splitdns.Config{
		Hosts: c.SplitDNS.Hosts, Timeout: c.SplitDNS.Timeout, Cache: cacheOf(c.SplitDNS.Cache), Panicked: n.panicked,
	}
	if len(c.SplitDNS.Public) > 0 {
		public, err := s.open(c.SplitDNS.Public, "", hooks)
		if err != nil {
			return nil, fmt.Errorf("splitdns.public: %w", err)
		}
		wanted.Public = public
	} else {
		public := upstream.SystemPool(resolvConf, upstream.Config{Hooks: hooks})
		s.pools = append(s.pools, public)
		wanted.Public = public
	}
	for _, zone := range c.SplitDNS.Zones {
		split := splitdns.Zone{Suffix: zone.Suffix}
		if len(zone.Servers) > 0 {
			servers, err := s.open(zone.Servers, zone.CA, hooks)
			if err != nil {
				return nil, fmt.Errorf("zone %s: %w", zone.Suffix, err)
			}
			split.Servers = servers
		}
		wanted.Zones = append(wanted.Zones, split)
	}
	if s.resolver, err = splitdns.New(wanted); err != nil {
		return nil, err
	}
	s.service = &splitdns.Service{Resolver: s.resolver, Own: []string{c.Gateway.FQDN}}
	s.uses.Store(1)
	return s, nil
}

// open makes the pool of some servers.
func (s *names) open(servers []string, ca string, hooks upstream.Hooks) (*upstream.Pool, error) {
	wanted := upstream.Config{Hooks: hooks}
	for _, text := range servers {
		server, err := upstream.ParseServer(text)
		if err != nil {
			return nil, err
		}
		wanted.Servers = append(wanted.Servers, server)
	}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		s.madeOf.roots = append(s.madeOf.roots, string(text))
		if wanted.RootCAs, err = ReadRoots(ca); err != nil {
			return nil, err
		}
	}
	pool, err := upstream.NewPool(wanted)
	if err != nil {
		return nil, err
	}
	s.pools = append(s.pools, pool)
	return pool, nil
}

// cacheOf translates: in a file 0 is none, in a resolver it is the default.
func cacheOf(c config.Cache) splitdns.Cache {
	cache := splitdns.Cache{Entries: c.Entries, MaxTTL: c.MaxTTL, Stale: c.Stale}
	if c.Entries == 0 {
		cache.Entries = -1
	}
	if c.MaxTTL == 0 {
		cache.MaxTTL = -1
	}
	if c.Stale == 0 {
		cache.Stale = -1
	}
	return cache
}

// take counts a use beside one that goes on.
func (s *names) take() *names {
	s.uses.Add(1)
	return s
}

// drop ends a use.
func (s *names) drop() {
	if s.uses.Add(-1) == 0 {
		s.close()
	}
}

// close ends whatever still uses it.
func (s *names) close() {
	s.shut.Do(func() {
		if s.resolver != nil {
			s.resolver.Close()
		}
		for _, pool := range s.pools {
			pool.Close()
		}
	})
}

// Resolve gives the addresses of a name in the shape that the gateway asks for.
func (s *names) Resolve(ctx context.Context, name string) (gateway.Resolution, error) {
	answer, err := s.resolver.Resolve(ctx, name)
	if err != nil {
		return gateway.Resolution{}, lookUpError(name, err)
	}
	return gateway.Resolution{
		Addrs: answer.Addrs, Source: sourceOf(answer), Server: answer.Server, Chain: answer.Chain, Stale: answer.Stale,
	}, nil
}

// sourceOf translates; the name of a zone is told as it is.
func sourceOf(answer splitdns.Answer) gateway.Source {
	switch answer.Source {
	case splitdns.SourceHosts:
		return gateway.SourceHosts
	case splitdns.SourcePublic:
		return gateway.SourcePublic
	}
	return gateway.Source(answer.Source)
}

// ServeDNS answers a device.
func (s *names) ServeDNS(ctx context.Context, conn net.Conn, view *gateway.View) error {
	return s.service.Serve(ctx, conn, view)
}

// look gives the addresses of a name of ours, such as an authority's: those that
// tunnels would be led to, and those by which this machine knows it, which dials it
// by the name as it stands in the file: short ones are in /etc/hosts, or below a
// search domain. An error says that there may be more.
func (s *names) look(ctx context.Context, name string) ([]netip.Addr, error) {
	inside, insideErr := s.Resolve(ctx, name)
	system, systemErr := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	found := append(inside.Addrs, system...)
	if len(found) == 0 {
		return nil, errors.Join(insideErr, systemErr)
	}
	for _, err := range []error{insideErr, systemErr} {
		if dns := (*net.DNSError)(nil); err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
			return found, err
		}
	}
	return found, nil
}

// serverHooks tell of DNS servers that stop answering.
func (n *Node) serverHooks() upstream.Hooks {
	return upstream.Hooks{
		Down: func(server upstream.Server, cause error) {
			n.log.Error().Str("event", "dns_server_down").Stringer("server", server).Err(cause).
				Msg("the DNS server is asked only if no other one answers")
		},
		Panicked: n.panicked,
		Up: func(server upstream.Server) {
			n.log.Info().Str("event", "dns_server_up").Stringer("server", server).Msg("the DNS server answers again")
		},
		Lied: func(server upstream.Server, about upstream.Lie) {
			if n.lies.due(time.Now()) {
				n.log.Warn().Str("event", "dns_answer_dropped").Stringer("server", server).Str("wrong", string(about)).
					Msg("a message in a DNS server's name answers nothing that was asked; the next minute's are not told")
			}
		},
	}
}
