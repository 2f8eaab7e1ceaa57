package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// errNoHost is for what must not go to this machine's resolver: a mistake, or a
// credential in the place of a name.
var errNoHost = errors.New("this host may not go straight out: it is no name and no address")

// split decides the way of each connection. It is immutable.
type split struct {
	mode Mode
	list *policy.Policy
}

func newSplit(mode Mode, services []policy.Service) (split, error) {
	if mode > Reverse {
		return split{}, errors.New("unknown split tunnel mode")
	}
	entries := make([]string, len(services))
	for i, s := range services {
		entries[i] = s.String()
	}
	list, err := policy.Compile("connect", policy.Spec{Services: strings.Join(entries, ",")})
	if err != nil {
		return split{}, fmt.Errorf("services: %w", err)
	}
	return split{mode: mode, list: list}, nil
}

// way returns how a destination is to be reached; known tells whether it could
// be read at all.
func (s split) way(d tunnel.Destination) (via Via, listed bool, host policy.Host, known bool) {
	host, err := policy.HostOf(d.Host, d.Addr)
	known = err == nil
	listed = known && s.list.Decide(policy.Query{Host: host, Port: d.Port}).Allow
	if s.mode == On && !listed || s.mode == Reverse && listed {
		return Direct, listed, host, known
	}
	return Gateway, listed, host, known
}

// connect opens the connection and says which way it took.
func (p *Proxy) connect(ctx context.Context, d tunnel.Destination) (stream tunnel.Stream, via Via, listed bool, err error) {
	via, listed, host, known := p.split.way(d)
	switch {
	case via == Direct && !known:
		err = errNoHost
	case via == Direct:
		stream, err = p.straight(ctx, host, d.Port)
	case d.Addr.IsValid():
		stream, err = p.open(ctx, d.Addr.String(), d.Port)
	default:
		stream, err = p.open(ctx, d.Host, d.Port)
	}
	return stream, via, listed, err
}

// straight goes past the gateway.
func (p *Proxy) straight(ctx context.Context, host policy.Host, port uint16) (tunnel.Stream, error) {
	conn, err := p.direct.DialContext(ctx, "tcp", net.JoinHostPort(host.String(), strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	stream, ok := conn.(tunnel.Stream)
	if !ok {
		return nil, errors.Join(errors.New("connection without half-close"), conn.Close())
	}
	return stream, nil
}

// replyFor puts an error into the words of SOCKS5. What the gateway said is
// passed on as it is.
func replyFor(err error) socks.Reply {
	var refused *socks.ReplyError
	var problem socks.Problem
	var lookup *net.DNSError
	switch {
	case errors.As(err, &refused):
		return refused.Reply
	case errors.Is(err, ErrTicketRefused), errors.Is(err, errNoHost):
		return socks.NotAllowed
	case errors.Is(err, ErrTLS):
		return socks.GeneralFailure
	case timedOut(err):
		return socks.TTLExpired
	case errors.Is(err, syscall.ECONNREFUSED):
		return socks.ConnectionRefused
	case errors.Is(err, ErrUnreachable), errors.Is(err, syscall.ENETUNREACH):
		return socks.NetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &lookup):
		return socks.HostUnreachable
	case errors.As(err, &problem):
		return problem.Reply()
	}
	return socks.GeneralFailure
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
