package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns"
)

// Bench is the gateway of a file, as far as it decides: it listens nowhere and
// dials nobody but DNS servers. It is for commands that explain and check.
type Bench struct {
	node  *Node
	file  *config.Config
	names *names
}

// NewBench makes the gateway of a file. It is closed with Close.
func NewBench(c *config.Config) (*Bench, error) {
	if c.Gateway == nil {
		return nil, errors.New("the file has no gateway section")
	}
	n := &Node{config: c, log: zerolog.Nop()}
	names, err := n.openNames(c)
	if err != nil {
		return nil, err
	}
	return &Bench{node: n, file: c, names: names}, nil
}

// Close lets go of the DNS servers.
func (b *Bench) Close() { b.names.drop() }

// Judge decides on a destination as the gateway would. Whether a ticket is good is
// not asked.
func (b *Bench) Judge(ctx context.Context, ask gateway.Ask) (*gateway.Judgement, error) {
	snapshot, err := b.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	return gateway.Judge(ctx, snapshot, ask), nil
}

// snapshot is what would decide. It is let go of by its Release.
func (b *Bench) snapshot(ctx context.Context) (*gateway.Snapshot, error) {
	around, err := surroundings{}.lookAround(ctx, b.file, b.names.look)
	if err != nil {
		return nil, err
	}
	s, err := b.node.snapshot(b.file, time.Time{}, b.names, &around, b.file.Gateway.Listen)
	return &s, err
}

// Looked is what a name resolved to: Inside as the gateway resolves it, Outside by
// the public servers alone.
type Looked struct {
	Name                  string
	Inside, Outside       []netip.Addr
	InsideErr, OutsideErr error
	// Refused are those of Inside that the address rules refuse with every port
	// that the name is listed with, and Why what they say of the first.
	Refused []netip.Addr
	Why     string
}

// lookTogether bounds the names that are looked up at once.
const lookTogether = 16

// Look looks the exact names of a policy up, inside and outside.
func (b *Bench) Look(ctx context.Context, p *policy.Policy) ([]Looked, error) {
	outside := *b.file
	outside.SplitDNS.Zones, outside.SplitDNS.Hosts = nil, nil
	public, err := b.node.openNames(&outside)
	if err != nil {
		return nil, err
	}
	defer public.drop()
	snapshot, err := b.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	var looked []Looked
	ports := make(map[string][]uint16)
	for _, s := range p.Services() {
		if s.Name == "" || s.Wildcard {
			continue
		}
		if ports[s.Name] == nil {
			looked = append(looked, Looked{Name: s.Name})
		}
		ports[s.Name] = append(ports[s.Name], s.Port)
	}
	turns := make(chan struct{}, lookTogether)
	var all sync.WaitGroup
	for i := range looked {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			l := &looked[i]
			l.Inside, l.InsideErr = addressesOf(ctx, b.names.resolver, l.Name)
			l.Outside, l.OutsideErr = addressesOf(ctx, public.resolver, l.Name)
			l.judge(snapshot.Address, ports[l.Name])
		})
	}
	all.Wait()
	return looked, nil
}

// judge finds the addresses that no tunnel may go to.
func (l *Looked) judge(rules *policy.AddressRules, ports []uint16) {
	for _, addr := range l.Inside {
		refused := 0
		for _, port := range ports {
			if err := rules.Check(l.Name, netip.AddrPortFrom(addr, port)); err != nil {
				if refused++; l.Why == "" {
					l.Why = err.Error()
				}
			}
		}
		if refused == len(ports) {
			l.Refused = append(l.Refused, addr)
		}
	}
}

func addressesOf(ctx context.Context, r *splitdns.Resolver, name string) ([]netip.Addr, error) {
	answer, err := r.Resolve(ctx, name)
	if err != nil {
		return nil, &net.DNSError{
			Err: err.Error(), UnwrapErr: err, Name: name,
			IsNotFound: errors.Is(err, splitdns.ErrNotFound), IsTimeout: errors.Is(err, splitdns.ErrTimeout),
		}
	}
	return answer.Addrs, nil
}
