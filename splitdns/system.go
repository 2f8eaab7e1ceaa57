package splitdns

import (
	"context"
	"net"
	"net/netip"
)

// System looks names up; *net.Resolver does. It must honour the context. The
// network is always "ip", the host always absolute.
type System interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var _ System = (*net.Resolver)(nil)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// machineResolver returns the standard resolver, made to let go. By itself it
// returns when the context ends, but leaves its sockets and goroutines waiting
// for silent servers, each attempt for as long as resolv.conf says. Closing the
// socket with the context ends them at once.
func machineResolver(dial dialFunc) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		return conn, nil
	}}
}
