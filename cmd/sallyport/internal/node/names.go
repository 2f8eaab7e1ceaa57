package node

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/sallyport/sallyport/splitdns"
)

// names is a split-DNS resolver in the shape that the gateway asks for.
type names struct{ *splitdns.Resolver }

func (n names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	answer, err := n.Resolve(ctx, host)
	if err != nil {
		return nil, &net.DNSError{
			Err: err.Error(), UnwrapErr: err, Name: host,
			IsNotFound: errors.Is(err, splitdns.ErrNotFound),
			IsTimeout:  errors.Is(err, splitdns.ErrTimeout),
		}
	}
	return answer.Addrs, nil
}
