package quic

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// Listener accepts connections on a UDP socket, and gives out their streams as
// tunnel.Carried. It satisfies net.Listener.
type Listener struct {
	config    Config
	gate      *gate
	socket    net.PacketConn
	transport *quicgo.Transport
	inner     *quicgo.Listener
	streams   chan *carried // unbuffered: nobody is taken from a client before Accept has time
	draining  chan struct{} // closed by Close
	over      chan struct{} // closed when nothing is left
	kill      context.CancelFunc
	killed    context.Context
	running   sync.WaitGroup // a goroutine each for accepting and for every connection

	mu          sync.Mutex // guards the rest
	closed      bool
	connections map[*connection]struct{}
}

var _ net.Listener = (*Listener)(nil)

// Listen listens on a socket, which is the Listener's from here on; on a *net.UDPConn
// it is fast. The end of ctx ends the listener and all of its connections; otherwise
// it ends when it was closed and its last connection is over, see Shutdown.
//
// The keys of address tokens and stateless resets are random, so tokens of another
// Listener are worth nothing here, and a client that comes back after a restart is
// not told that its connection is gone: it finds out by hearing nothing.
func Listen(ctx context.Context, socket net.PacketConn, config Config) (*Listener, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Listener{
		config: config, gate: newGate(&config), socket: socket,
		streams: make(chan *carried), draining: make(chan struct{}), over: make(chan struct{}),
		connections: make(map[*connection]struct{}),
	}
	l.transport = &quicgo.Transport{
		Conn:                forgiving(socket, listenerBuffers, l.gate.allowances),
		ConnectionIDLength:  connectionIDSize,
		StatelessResetKey:   new(quicgo.StatelessResetKey),
		TokenGeneratorKey:   new(quicgo.TokenGeneratorKey),
		VerifySourceAddress: l.gate.mustProve,
		ConnContext:         l.admit,
	}
	_, _ = rand.Read(l.transport.StatelessResetKey[:]) // never fails
	_, _ = rand.Read(l.transport.TokenGeneratorKey[:])
	l.inner, err = l.transport.Listen(serverTLS(config.TLS, config.protocols()), config.quic())
	if err != nil {
		return nil, err
	}
	l.killed, l.kill = context.WithCancel(ctx)
	l.running.Go(l.accept)
	go l.finish()
	return l, nil
}

// Accept gives the next stream: a tunnel.Carried. After Close the error is
// net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.draining:
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-l.streams:
		return s, nil
	case <-l.draining:
		return nil, net.ErrClosed
	}
}

// Addr is the socket's address.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Close drains: it lets no more connections and streams in, and closes connections
// when their last stream is over, one second later at the most so that what was said
// last arrives. Streams go on. It does not wait.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.draining)
	l.gate.close()
	for c := range l.connections {
		c.retire(CodeDraining)
	}
	return nil
}

// Shutdown closes, and waits until the last connection is over and the socket closed.
// At ctx's end it closes all of them with CodeShutdown; the error is ctx's then.
func (l *Listener) Shutdown(ctx context.Context) error {
	_ = l.Close()
	select {
	case <-l.over:
		return nil
	case <-ctx.Done():
		l.kill()
		<-l.over
		return context.Cause(ctx)
	}
}

// finish ends what Listen began.
func (l *Listener) finish() {
	defer close(l.over)
	defer l.kill()
	select {
	case <-l.gate.empty:
	case <-l.killed.Done():
		_ = l.Close()
	}
	// Only now, since a transport without a listener leaves newcomers without a word.
	_ = l.inner.Close() // ends accept, when it has had what was in the queue
	l.running.Wait()
	_ = l.transport.Close()
	_ = l.socket.Close()
	<-l.gate.empty // the last one's end has been told
}

// accept runs until the inner listener is closed, or the socket fails.
func (l *Listener) accept() {
	for {
		conn, err := l.inner.Accept(context.Background())
		if err != nil {
			l.kill() // the socket may have failed: who hears nothing can do nothing for anybody
			return
		}
		if !slotOf(conn).arrive() {
			l.refused(conn.RemoteAddr(), sourceFull())
			l.running.Go(func() { _ = conn.CloseWithError(quicgo.ApplicationErrorCode(CodeBusy), "") })
			continue
		}
		c := newConnection(l, conn)
		l.enter(c)
		l.running.Go(c.run)
	}
}

// enter makes a connection one of ours.
func (l *Listener) enter(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections[c] = struct{}{}
	if l.closed {
		c.retire(CodeDraining)
	}
}

func (l *Listener) leave(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.connections, c)
}

// refused tells of a connection that did not come to be.
func (l *Listener) refused(remote net.Addr, r *tunnel.Refusal) {
	if l.config.Hooks.Refused != nil {
		l.config.Hooks.Refused(tunnel.Peer{
			Carrier: Carrier, Remote: addrPort(remote), Local: addrPort(l.socket.LocalAddr()),
		}, r)
	}
}

// handshakeRefusal says how a handshake failed.
func handshakeRefusal(cause error) *tunnel.Refusal {
	var transport *quicgo.TransportError
	var silent *quicgo.IdleTimeoutError
	var slow *quicgo.HandshakeTimeoutError
	r := &tunnel.Refusal{Status: 400, Label: tunnel.LabelConnection, Err: cause}
	switch {
	case errors.As(cause, &silent), errors.As(cause, &slow):
		r.Status, r.Label = 408, tunnel.LabelTimeout
	case errors.As(cause, &transport) && transport.ErrorCode.IsCryptoError():
		r.Label = tunnel.LabelTLS
	case errors.As(cause, &transport) && !transport.Remote && transport.ErrorCode == quicgo.ConnectionRefused:
		r.Status, r.Label = 503, tunnel.LabelCancelled
	}
	r.Text = "QUIC handshake: " + asFault(cause).Error()
	return r
}
