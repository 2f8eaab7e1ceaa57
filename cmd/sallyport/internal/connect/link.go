package connect

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// maxLinkStreams is how many tunnels share a connection before another one is made.
// A gateway lets a connection have quic.DefaultMaxStreams; whoever asks for one more
// waits in silence.
const maxLinkStreams = quic.DefaultMaxStreams * 3 / 4

// link is a QUIC connection to the gateway and the tunnels in it.
type link struct {
	of      *links
	conn    *quic.Conn
	gateway netip.AddrPort
	poll    *time.Ticker       // runs while there are tunnels
	asked   chan chan struct{} // to look at the network now; closed in answer

	// of.mu guards the rest.
	at      netip.Addr // the network that it is on
	shunned netip.Addr // the one where it could not go
	tunnels int
	unused  time.Time // since when there is none
	retired bool      // takes no more of them, and is closed after the last
}

// usable tells whether another tunnel may be tried. It is called with of.mu. A
// connection that has had no tunnel for long is closed by the gateway, and its
// goodbye may have come while this machine slept.
func (l *link) usable() bool {
	switch {
	case l.retired, l.conn.Context().Err() != nil, l.tunnels >= maxLinkStreams:
		return false
	}
	return l.tunnels > 0 || l.of.now().Sub(l.unused) < quic.DefaultUnused
}

// tend follows this machine from network to network until the connection is over.
func (l *link) tend() {
	defer l.of.gone(l)
	for {
		select {
		case <-l.poll.C:
			l.follow()
		case done := <-l.asked:
			l.follow()
			close(done)
		case <-l.conn.Context().Done():
			return
		}
	}
}

// followNow has the connection moved if it must be, and waits until it is, for up to
// timing.move, or until ctx ends. The move itself goes on then: others need it too.
func (l *link) followNow(ctx context.Context) {
	done := make(chan struct{})
	select {
	case l.asked <- done:
	case <-l.conn.Context().Done():
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// follow moves the connection to the network that the kernel would use now. If that
// fails it is left for the tunnels that it has, which may come back with the network.
// Only tend calls it.
func (l *link) follow() {
	network, err := l.of.local(l.gateway)
	if err != nil || !l.mustMove(network) {
		return // without any network there is nothing to be done
	}
	ctx, cancel := context.WithTimeout(l.of.life, l.of.timing.move)
	defer cancel()
	socket, err := listenAt(ctx, network)
	if err == nil {
		err = l.conn.Migrate(ctx, socket)
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if err != nil {
		l.shunned = network
		l.retire()
		return
	}
	l.at = network
	l.of.worked(network)
}

// mustMove tells whether network is another one, that was not tried before.
func (l *link) mustMove(network netip.Addr) bool {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if network == l.at {
		l.shunned = netip.Addr{}
	}
	return network != l.at && network != l.shunned
}

// open makes a stream and presents the credential on it.
func (l *link) open(ctx context.Context, auth socks.Auth, seen *progress) (*linkStream, error) {
	if !l.enter() {
		return nil, net.ErrClosed
	}
	inner, err := l.conn.Open(ctx)
	if err != nil {
		l.left()
		return nil, err
	}
	seen.reach(stagePresented)
	s := &linkStream{Stream: inner, link: l}
	if err := socks.ClientAuthenticate(ctx, hearing{s, seen}, auth); err != nil {
		s.Abort()
		return nil, err
	}
	return s, nil
}

// enter counts one more tunnel, unless the connection takes none any more, and may be
// about to be closed.
func (l *link) enter() bool {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.retired {
		return false
	}
	if l.tunnels++; l.tunnels == 1 {
		l.poll.Reset(l.of.timing.poll)
	}
	return true
}

func (l *link) left() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.tunnels--; l.tunnels > 0 {
		return
	}
	l.poll.Stop()
	l.unused = l.of.now()
	if l.retired {
		l.closeSoon()
	}
}

// retire is called with of.mu.
func (l *link) retire() {
	if l.retired {
		return
	}
	l.retired = true
	if l.of.live == l {
		l.of.live = nil
	}
	if l.tunnels == 0 {
		l.closeSoon()
	}
}

// closeSoon is called with of.mu.
func (l *link) closeSoon() {
	l.of.startLocked(func() {
		linger := time.NewTimer(l.of.timing.linger)
		defer linger.Stop()
		select {
		case <-linger.C:
		case <-l.of.life.Done():
		case <-l.conn.Context().Done():
		}
		_ = l.conn.Close()
	})
}

// linkStream is a tunnel in a link.
type linkStream struct {
	tunnel.Stream
	link *link
	over atomic.Bool
}

// Close ends the tunnel.
func (s *linkStream) Close() error {
	err := s.Stream.Close()
	s.leave()
	return err
}

// Abort ends it without waiting for anything.
func (s *linkStream) Abort() {
	tunnel.Abort(s.Stream)
	s.leave()
}

// Break delivers what was written, and has no good end follow.
func (s *linkStream) Break() {
	tunnel.Break(s.Stream)
	s.leave()
}

func (s *linkStream) leave() {
	if !s.over.Swap(true) {
		s.link.left()
	}
}

// hearing notes the gateway's first byte.
type hearing struct {
	net.Conn
	seen *progress
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.seen.reach(stageHeard)
	}
	return n, err
}
