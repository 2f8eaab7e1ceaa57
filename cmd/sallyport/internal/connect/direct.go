package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

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
	if err == nil && r.via == Gateway {
		r.carrier = carrierOf(stream)
	}
	return stream, r, err
}

// straight goes past the gateway. A name is looked up where the DNS stub would
// ask for it; of the local DNS it is asked with a dot at its end, so that no
// search list makes other names of it.
func (p *Proxy) straight(ctx context.Context, host policy.Host, port uint16) (tunnel.Stream, error) {
	if host.Addr.IsValid() {
		return p.dialDirect(ctx, host.String(), port)
	}
	switch who := p.split.asks(host.Name); who {
	case askItself:
		return p.dialFirst(ctx, loopbacks[:], port)
	case askLocal:
		return p.dialDirect(ctx, host.Name+".", port)
	case askGateway, askBoth:
		return p.straightByGateway(ctx, who, host.Name, port)
	}
	return nil, notFound(host.Name)
}

// straightByGateway connects to an address that the gateway's DNS gave. When
// that has no answer, split DNS says whether the local one is asked.
func (p *Proxy) straightByGateway(ctx context.Context, who asked, name string, port uint16) (tunnel.Stream, error) {
	limit := answerLimit
	if who == askBoth {
		limit = gatewayLimit
	}
	looking, cancel := context.WithTimeout(ctx, limit)
	addrs, err := p.inside.find(looking, name)
	cancel()
	if err == nil {
		return p.dialFirst(ctx, addrs, port)
	}
	if who == askGateway || err.IsNotFound {
		return nil, err
	}
	stream, localErr := p.dialDirect(ctx, name+".", port)
	if localErr != nil {
		return nil, fmt.Errorf("%w; before that, %v", localErr, err)
	}
	return stream, nil
}

// dialFirst tries the addresses in turn, each for its share of the time that is
// left, and returns the first one's error when none is reached.
func (p *Proxy) dialFirst(ctx context.Context, addrs []netip.Addr, port uint16) (tunnel.Stream, error) {
	var first error
	for n, addr := range addrs {
		one, cancel := share(ctx, len(addrs)-n)
		stream, err := p.dialDirect(one, addr.String(), port)
		cancel()
		if err == nil {
			return stream, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// share is the nth part of the time that ctx has left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	late, bounded := ctx.Deadline()
	if !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(late)/time.Duration(n))
}

func (p *Proxy) dialDirect(ctx context.Context, host string, port uint16) (tunnel.Stream, error) {
	conn, err := p.direct.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	stream, ok := conn.(tunnel.Stream)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("connection without half-close")
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
