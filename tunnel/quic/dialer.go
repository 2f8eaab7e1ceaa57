package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// maxSockets is how many sockets a Conn may have been on.
const maxSockets = 16

// ErrTooManySockets says that a Conn has been moved as often as it can be.
var ErrTooManySockets = errors.New("quic: the connection has been moved too often; dial anew")

// Dialer makes connections to a gateway. It may be used by several goroutines.
type Dialer struct {
	// TLS has the roots and the ServerName; without a name the gateway is checked
	// by its address. TLS 1.3 and the protocol are set here. A ClientSessionCache
	// saves the certificates on the next connection.
	TLS *tls.Config
	// Listen makes the socket that a connection begins on. nil: any UDP port.
	Listen func(context.Context) (net.PacketConn, error)
	// KeepAlive is how often a packet is sent on a silent connection, for NATs and
	// load balancers that forget UDP flows, mostly after 30 s to 2 min. Zero: never;
	// then what comes after such a silence may need a packet of ours to be let
	// through, or a new connection.
	KeepAlive time.Duration
}

// Conn is a connection to a gateway. A gateway closes one that has had no tunnel for
// 30 s.
type Conn struct {
	quic   *quicgo.Conn
	remote net.Addr
	over   chan struct{} // closed when sockets and transports are

	mu      sync.Mutex // guards the rest
	sockets []*quicgo.Transport
	local   net.Addr
	ended   bool
}

// Dial connects. Errors are those of the streams, the context's cause, or crypto/tls's,
// for errors.As, where the gateway's certificate is not good.
func (d *Dialer) Dial(ctx context.Context, gateway netip.AddrPort) (*Conn, error) {
	if d.TLS == nil {
		return nil, errors.New("quic: dialer without TLS config")
	}
	listen := d.Listen
	if listen == nil {
		listen = listenAny
	}
	socket, err := listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("quic: socket: %w", err)
	}
	t := newTransport(socket)
	remote := net.UDPAddrFromAddrPort(gateway)
	conn, err := t.Dial(ctx, remote, clientTLS(d.TLS), d.quic())
	if err != nil {
		closeTransport(t)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("quic: dialling: %w", context.Cause(ctx))
		}
		return nil, dialFault(err)
	}
	c := &Conn{
		quic: conn, remote: remote, over: make(chan struct{}),
		sockets: []*quicgo.Transport{t}, local: socket.LocalAddr(),
	}
	context.AfterFunc(conn.Context(), c.finish)
	return c, nil
}

// dialFault is asFault, but that certificate errors are found by their type.
func dialFault(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Errorf("quic: dialling: %w", certificate)
	}
	return asFault(err)
}

func listenAny(context.Context) (net.PacketConn, error) { return net.ListenUDP("udp", nil) }

func clientTLS(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.MinVersion, c.MaxVersion = tls.VersionTLS13, 0
	c.NextProtos = []string{tunnel.ALPN}
	return c
}

func (d *Dialer) quic() *quicgo.Config {
	return &quicgo.Config{
		HandshakeIdleTimeout:  handshakeIdle,
		MaxIdleTimeout:        maxIdle,
		KeepAlivePeriod:       d.KeepAlive,
		MaxIncomingStreams:    -1, // a gateway opens none
		MaxIncomingUniStreams: -1,
	}
}

func newTransport(socket net.PacketConn) *quicgo.Transport {
	return &quicgo.Transport{Conn: forgiving(socket, dialerBuffers, nil)}
}

func closeTransport(t *quicgo.Transport) {
	_ = t.Close()
	_ = t.Conn.Close()
}

// Open opens a stream. It waits while there are as many as the gateway takes. What the
// gateway thinks of it shows when it is read.
func (c *Conn) Open(ctx context.Context) (tunnel.Stream, error) {
	opened, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("quic: opening a stream: %w", context.Cause(ctx))
		}
		return nil, asFault(err)
	}
	return &stream{quic: opened, at: c}, nil
}

// Migrate moves the connection, and all of its streams, to another socket, which is the
// Conn's from here on. It tries out the new path first; if that does not answer before
// ctx is over, the connection stays where it is. What is lost on the way is sent again.
//
// All sockets that were tried stay open until the connection is over, since quic-go
// ends a connection with any of them; at the seventeenth the error is
// ErrTooManySockets.
func (c *Conn) Migrate(ctx context.Context, socket net.PacketConn) error {
	t := newTransport(socket)
	if err := c.keep(t); err != nil {
		_ = socket.Close()
		return err
	}
	path, err := c.quic.AddPath(t)
	if err != nil {
		return fmt.Errorf("quic: another path: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.quic.Context(), func() { cancel(c.Err()) })()
	if err := path.Probe(ctx); err != nil {
		_ = path.Close()
		return fmt.Errorf("quic: trying out the new path: %w", err)
	}
	if err := path.Switch(); err != nil {
		return fmt.Errorf("quic: moving to the new path: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.local = socket.LocalAddr()
	return nil
}

// keep remembers a transport, to be closed at the end.
func (c *Conn) keep(t *quicgo.Transport) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return &fault{net.ErrClosed, "the connection is closed", net.ErrClosed}
	case len(c.sockets) >= maxSockets:
		return ErrTooManySockets
	}
	c.sockets = append(c.sockets, t)
	return nil
}

// Context ends when the connection does.
func (c *Conn) Context() context.Context { return c.quic.Context() }

// Err is why the connection is over, as its streams tell it; nil while it is not.
func (c *Conn) Err() error {
	if c.quic.Context().Err() == nil {
		return nil
	}
	return asFault(context.Cause(c.quic.Context()))
}

// Close ends the connection and its streams, and returns when its sockets are closed.
// What the streams have not sent is forgotten.
func (c *Conn) Close() error {
	_ = c.quic.CloseWithError(quicgo.ApplicationErrorCode(CodeNone), "")
	<-c.over
	return nil
}

// finish lets go of the sockets.
func (c *Conn) finish() {
	defer close(c.over)
	c.mu.Lock()
	c.ended = true
	sockets := c.sockets
	c.mu.Unlock()
	for _, t := range sockets {
		closeTransport(t)
	}
}

// LocalAddr is where the connection was last moved to, RemoteAddr the gateway's
// address.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// RemoteAddr is the gateway's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }
