package connect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// errNoHost is for what must not go to this machine's resolver: a mistake, or a
// credential in the place of a name.
var errNoHost = errors.New("this host may not go straight out: it is no name and no address")

// loopbacks are what localhost means, in the order of trying.
var loopbacks = [2]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// connect opens the connection and says which way it took.
func (p *Proxy) connect(ctx context.Context, d tunnel.Destination) (tunnel.Stream, route, error) {
	r := p.split.way(d)
	var stream tunnel.Stream
	var err error
	switch {
	case r.via == Direct && !r.known:
		err = errNoHost
	case r.via == Direct:
		stream, err = p.straight(ctx, r.host, d.Port)
	case d.Addr.IsValid():
		stream, err = p.open(ctx, d.Addr.String(), d.Port)
	default:
		stream, err = p.open(ctx, d.Host, d.Port)
	}
	return stream, r, err
}

// straight goes past the gateway. A name gets its dot at the end, so that no
// search list makes other names of it.
func (p *Proxy) straight(ctx context.Context, host policy.Host, port uint16) (tunnel.Stream, error) {
	switch {
	case host.Addr.IsValid():
		return p.dialDirect(ctx, host.String(), port)
	case !isLocalhost(host.Name):
		return p.dialDirect(ctx, host.Name+".", port)
	}
	stream, err := p.dialDirect(ctx, loopbacks[0].String(), port)
	if err != nil {
		stream, err = p.dialDirect(ctx, loopbacks[1].String(), port)
	}
	return stream, err
}

func (p *Proxy) dialDirect(ctx context.Context, host string, port uint16) (tunnel.Stream, error) {
	conn, err := p.direct.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	stream, ok := conn.(tunnel.Stream)
	if !ok {
		return nil, errors.Join(errors.New("connection without half-close"), conn.Close())
	}
	return stream, nil
}

// localResolver is for what goes straight out, the gateway itself among it. It
// asks the server, and this machine's hosts file before it; "" is this machine's
// resolver.
func localResolver(server string) *net.Resolver {
	if server == "" {
		return nil
	}
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		},
	}
}
