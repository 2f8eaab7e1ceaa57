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
	around, err := surroundings{}.lookAround(ctx, b.file, b.names.look)
	if err != nil {
		return nil, err
	}
	snapshot, err := b.node.snapshot(b.file, time.Time{}, b.names, &around, b.file.Gateway.Listen)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	return gateway.Judge(ctx, &snapshot, ask), nil
}

// Looked is what a name resolved to: Inside as the gateway resolves it, Outside by
// the public servers alone.
type Looked struct {
	Name                  string
	Inside, Outside       []netip.Addr
	InsideErr, OutsideErr error
}

// lookTogether bounds the names that are looked up at once.
const lookTogether = 16

// Look looks names up, inside and outside.
func (b *Bench) Look(ctx context.Context, names []string) ([]Looked, error) {
	outside := *b.file
	outside.SplitDNS.Zones, outside.SplitDNS.Hosts = nil, nil
	public, err := b.node.openNames(&outside)
	if err != nil {
		return nil, err
	}
	defer public.drop()
	looked := make([]Looked, len(names))
	turns := make(chan struct{}, lookTogether)
	var all sync.WaitGroup
	for i, name := range names {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			looked[i].Name = name
			looked[i].Inside, looked[i].InsideErr = addressesOf(ctx, b.names.resolver, name)
			looked[i].Outside, looked[i].OutsideErr = addressesOf(ctx, public.resolver, name)
		})
	}
	all.Wait()
	return looked, nil
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
