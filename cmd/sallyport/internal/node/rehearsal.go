package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// Rehearsal is the gateway of a file, as far as it decides: it listens nowhere and
// dials nobody but DNS servers. It is for commands that explain and check.
type Rehearsal struct {
	node  *Node
	file  *config.Config
	names *names
}

// NewRehearsal makes the gateway of a file. It is closed with Close.
func NewRehearsal(c *config.Config) (*Rehearsal, error) {
	if c.Gateway == nil {
		return nil, errors.New("the file has no gateway section")
	}
	n := &Node{config: c, log: zerolog.Nop()}
	names, err := n.openNames(c)
	if err != nil {
		return nil, err
	}
	return &Rehearsal{node: n, file: c, names: names}, nil
}

// Close lets go of the DNS servers.
func (r *Rehearsal) Close() { r.names.drop() }

// ErrNoInside says that a file has no inside door.
var ErrNoInside = errors.New("the file has no gateway.inside")

// Judge decides on a destination as the gateway would, the host being as a client
// may write it. Whether a ticket is good is not asked, nor, for the inside door, whether
// the server is one of its sources.
func (r *Rehearsal) Judge(ctx context.Context, ask gateway.Ask, host string) (*gateway.Judgement, error) {
	if ask.Inside && r.file.Gateway.Inside == nil {
		return nil, ErrNoInside
	}
	snapshot, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	return gateway.JudgeText(ctx, snapshot, ask, host), nil
}

// snapshot is what would decide. It is let go of by its Release.
func (r *Rehearsal) snapshot(ctx context.Context) (*gateway.Snapshot, error) {
	around, err := surroundings{}.lookAround(ctx, r.file, r.names.look)
	if err != nil {
		return nil, err
	}
	s, err := r.node.snapshot(r.file, time.Time{}, r.names, &around, r.file.Gateway.Listen)
	return &s, err
}

// lookTogether bounds the names that are looked up at once.
const lookTogether = 16

// Look looks the exact names of a policy up: inside as the gateway resolves them,
// outside by the public servers alone. lint judges what comes of it.
func (r *Rehearsal) Look(ctx context.Context, p *policy.Policy) ([]lint.Looked, error) {
	outside := *r.file
	outside.SplitDNS.Zones, outside.SplitDNS.Hosts = nil, nil
	public, err := r.node.openNames(&outside)
	if err != nil {
		return nil, err
	}
	defer public.drop()
	snapshot, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	looked, ports := exactNames(p)
	turns := make(chan struct{}, lookTogether)
	var all sync.WaitGroup
	for i := range looked {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			l := &looked[i]
			inside, err := r.names.Resolve(ctx, l.Name)
			l.Inside, l.InsideErr, l.Pinned = inside.Addrs, err, inside.Source == gateway.SourceHosts
			beyond, err := public.Resolve(ctx, l.Name)
			l.Outside, l.OutsideErr = beyond.Addrs, err
			l.Refused, l.Why = refusedOf(l, snapshot.Address, ports[l.Name])
		})
	}
	all.Wait()
	return looked, nil
}

// exactNames are the names of a policy, web domains among them, and the ports that
// they may be reached on. Names below wildcards nobody can list.
func exactNames(p *policy.Policy) (names []lint.Looked, ports map[string][]uint16) {
	ports = make(map[string][]uint16)
	add := func(name string, port uint16) {
		if ports[name] == nil {
			names = append(names, lint.Looked{Name: name})
		}
		if !slices.Contains(ports[name], port) {
			ports[name] = append(ports[name], port)
		}
	}
	for _, s := range p.Services() {
		if s.Name != "" && !s.Wildcard {
			add(s.Name, s.Port)
		}
	}
	for _, port := range []uint16{80, 443} { // those of web domains
		for _, name := range p.ExactNames(port) {
			add(name, port)
		}
	}
	return names, ports
}

// refusedOf finds the addresses of a name that no tunnel may go to, with any of its
// ports, and what the rules say of the first.
func refusedOf(l *lint.Looked, rules *policy.AddressRules, ports []uint16) (addrs []netip.Addr, why string) {
	for _, addr := range l.Inside {
		refused := 0
		for _, port := range ports {
			if err := rules.Check(l.Name, netip.AddrPortFrom(addr, port)); err != nil {
				if refused++; why == "" {
					why = err.Error()
				}
			}
		}
		if refused == len(ports) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, why
}

// lookUpError is why a name has no address, as the gateway and lint take it. The
// name stands in it once, and so does the cause.
func lookUpError(name string, err error) *net.DNSError {
	return &net.DNSError{
		Err: splitdns.Cause(err), UnwrapErr: err, Name: name,
		IsNotFound:  errors.Is(err, splitdns.ErrNotFound),
		IsTimeout:   errors.Is(err, splitdns.ErrTimeout),
		IsTemporary: errors.Is(err, upstream.ErrTimeout) || errors.Is(err, upstream.ErrFailed),
	}
}
