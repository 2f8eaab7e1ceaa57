package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/tunnel/quic"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// dialLimit bounds the making of a QUIC connection, which may go on when the tunnel
// that it was made for has taken TCP.
const dialLimit = 10 * time.Second

// links are the QUIC connections to the gateway: the one that new tunnels take, and
// those that older ones are still in. At most one is being made at a time, whoever
// needs it.
type links struct {
	host, port string
	tls        *tls.Config
	keepAlive  time.Duration
	resolver   *net.Resolver
	timing     timing
	now        func() time.Time
	// local is the address that this machine would use towards the gateway.
	local func(gateway netip.AddrPort) (netip.Addr, error)
	// worked is told of networks that QUIC has come through. It may be called with mu.
	worked func(network netip.Addr)

	life    context.Context // ends when Close is called
	end     context.CancelFunc
	running sync.WaitGroup // whatever start has started

	mu      sync.Mutex // guards the rest
	closed  bool
	gateway netip.AddrPort // as last looked up; invalid before
	live    *link          // nil if there is none to take
	dialing *dialing       // nil if none is being made
	all     map[*link]struct{}
}

// dialing is a connection that is being made. Its result may be read when done is
// closed.
type dialing struct {
	done    chan struct{}
	cancel  context.CancelFunc
	network netip.Addr // where it goes out from, under the links' lock; invalid before that is known
	link    *link
	err     error
}

func newLinks(c Config, host, port string, worked func(netip.Addr)) *links {
	p := &links{
		host: host, port: port, tls: clientTLS(c), keepAlive: c.KeepAlive, resolver: localResolver(c.LocalDNS),
		timing: defaultTiming, now: time.Now, local: localTowards, worked: worked, all: make(map[*link]struct{}),
	}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// start runs f until it returns, and close waits for it. Nothing is started after
// close.
func (p *links) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLocked(f)
}

func (p *links) startLocked(f func()) bool {
	if !p.closed {
		p.running.Go(f)
	}
	return !p.closed
}

// close ends all connections, and waits for all that was started.
func (p *links) close() {
	p.mu.Lock()
	p.closed = true
	p.live = nil
	all := make([]*link, 0, len(p.all))
	for l := range p.all {
		all = append(all, l)
	}
	p.mu.Unlock()
	p.end()
	for _, l := range all {
		_ = l.conn.Close()
	}
	p.running.Wait()
}

// open makes a stream on which the gateway has taken the credential. A connection
// that turns out to be over, as one of a gateway that drains, is replaced once.
func (p *links) open(ctx context.Context, auth socks.Auth, seen *progress) (*linkStream, error) {
	for try := 1; ; try++ {
		l, err := p.link(ctx)
		if err != nil {
			return nil, dialError(err)
		}
		seen.on(l)
		s, err := l.open(ctx, auth, seen)
		switch {
		case err == nil:
			return s, nil
		case isOver(err) && ctx.Err() == nil:
			p.retire(l)
			if try == 1 {
				continue
			}
		}
		return nil, handshakeError(err)
	}
}

// dialError tells a wrong gateway and none apart.
func dialError(err error) error {
	if isCertificate(err) {
		return fmt.Errorf("%w, by QUIC: %w", ErrTLS, err)
	}
	return fmt.Errorf("%w by QUIC, over UDP: %w", ErrUnreachable, err)
}

// isOver tells a connection's end from what a gateway says on a stream. A stream
// alone is reset by a gateway that drains.
func isOver(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, net.ErrClosed)
}

// isCertificate tells a gateway that could not show that it is the right one.
func isCertificate(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError))
}

// link returns the connection to use, and waits for one if there is none.
func (p *links) link(ctx context.Context) (*link, error) {
	if l := p.current(ctx); l != nil {
		return l, nil
	}
	d := p.dialOnce()
	if d == nil {
		return nil, net.ErrClosed
	}
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// current is the connection to use, on the network of this moment; nil if there is
// none. It may be on the network before when ctx has ended.
func (p *links) current(ctx context.Context) *link {
	l := p.usable()
	if l == nil {
		return nil
	}
	if network, err := p.local(l.gateway); err == nil && p.hasMoved(l, network) {
		l.followNow(ctx)
	}
	return p.usable()
}

// hasMoved tells whether l must be moved before it is used. One without tunnels is
// not worth it.
func (p *links) hasMoved(l *link, network netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if network != l.at && l.tunnels == 0 {
		l.retire()
	}
	return network != l.at && !l.retired
}

// usable returns the live connection, and retires one that is of no more use.
func (p *links) usable() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil && !p.live.usable() {
		p.live.retire()
	}
	return p.live
}

// dialOnce joins the dial that is under way, or begins one; nil after close. One that
// goes out from a network that the machine has left is given up.
func (p *links) dialOnce() *dialing {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.dialing; d != nil {
		if !p.isElsewhere(d.network) {
			return d
		}
		d.cancel()
	}
	ctx, cancel := context.WithTimeout(p.life, dialLimit)
	d := &dialing{done: make(chan struct{}), cancel: cancel}
	if !p.startLocked(func() { p.finish(ctx, d) }) {
		cancel()
		return nil
	}
	p.dialing = d
	return d
}

// isElsewhere tells whether a network is known, and no longer that of the machine.
// Called with mu held.
func (p *links) isElsewhere(network netip.Addr) bool {
	if !network.IsValid() {
		return false
	}
	now, err := p.local(p.gateway)
	return err == nil && now != network
}

// finish dials and publishes what came of it.
func (p *links) finish(ctx context.Context, d *dialing) {
	defer d.cancel()
	l, err := p.dial(ctx, d)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(d.done)
	if p.dialing != d && err == nil { // given up
		p.running.Go(func() { _ = l.conn.Close() }) // this very function keeps close waiting
		l, err = nil, net.ErrClosed
	}
	d.link, d.err = l, err
	if p.dialing == d {
		p.dialing = nil
	}
	if err != nil {
		return
	}
	p.all[l] = struct{}{}
	p.live = l
	p.worked(l.at)
	if !p.startLocked(l.tend) {
		p.running.Go(func() { _ = l.conn.Close() }) // as above
	}
}

func (p *links) dial(ctx context.Context, d *dialing) (*link, error) {
	gateway, network, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	d.network = network
	p.mu.Unlock()
	dialer := quic.Dialer{TLS: p.tls, KeepAlive: p.keepAlive, Listen: func(ctx context.Context) (net.PacketConn, error) {
		return listenAt(ctx, network)
	}}
	ctx, refused := context.WithCancelCause(ctx)
	var knocking sync.WaitGroup
	knocking.Go(func() { knock(ctx, gateway, refused) })
	conn, err := dialer.Dial(ctx, gateway)
	refused(nil) // if not before
	knocking.Wait()
	if err != nil {
		return nil, err
	}
	l := &link{of: p, conn: conn, gateway: gateway, poll: time.NewTicker(time.Hour), asked: make(chan chan struct{}), at: network, unused: p.now()}
	l.poll.Stop()
	return l, nil
}

// knock sends an empty packet, which QUIC ignores, from a socket of its own, and tells
// if the answer is that nobody listens there. That ends at once what would be given up
// seconds later. Only a connected socket is sure to hear such answers, and QUIC's, which
// is none, is better off without: they are easily forged.
func knock(ctx context.Context, gateway netip.AddrPort, refused context.CancelCauseFunc) {
	socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(gateway))
	if err != nil {
		return // there was a way a moment ago; it is for the dial to find out
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err = socket.Write(nil); err == nil {
		_, err = socket.Read(make([]byte, 1))
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		refused(err)
	}
}

// gone forgets a connection that is over.
func (p *links) gone(l *link) {
	l.poll.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, l)
	if p.live == l {
		p.live = nil
	}
}

func (p *links) retire(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.retire()
}

// find looks the gateway up. Of several addresses it takes the first that this
// machine has a way to.
func (p *links) find(ctx context.Context) (gateway netip.AddrPort, network netip.Addr, err error) {
	port, err := p.resolver.LookupPort(ctx, "udp", p.port)
	if err != nil {
		return gateway, network, err
	}
	addrs, err := p.resolver.LookupNetIP(ctx, "ip", p.host)
	if err != nil {
		return gateway, network, err
	}
	err = errors.New("the gateway has no address")
	for _, addr := range addrs {
		gateway = netip.AddrPortFrom(addr.Unmap(), uint16(port))
		if network, err = p.local(gateway); err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.gateway = gateway
			return gateway, network, nil
		}
	}
	return gateway, network, err
}

// network is the one that this machine is in; the zero Addr if that is not known,
// as before the gateway has been looked up.
func (p *links) network() netip.Addr {
	p.mu.Lock()
	gateway := p.gateway
	p.mu.Unlock()
	if !gateway.IsValid() {
		return netip.Addr{}
	}
	network, err := p.local(gateway)
	if err != nil {
		return netip.Addr{}
	}
	return network
}

// localTowards asks the kernel. To connect a UDP socket sends nothing.
func localTowards(gateway netip.AddrPort) (netip.Addr, error) {
	socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(gateway))
	if err != nil {
		return netip.Addr{}, err
	}
	defer socket.Close()
	at, ok := socket.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, errors.New("a socket without an address")
	}
	return at.AddrPort().Addr().Unmap(), nil
}

// listenAt opens a UDP socket on an address of this machine. Bound to it, packets
// leave from there or not at all; where they leave from is for follow to say.
func listenAt(ctx context.Context, network netip.Addr) (*net.UDPConn, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp", netip.AddrPortFrom(network, 0).String())
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("a UDP socket of another kind")
	}
	return socket, nil
}
