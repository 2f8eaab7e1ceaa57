package httpconnect

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// The Peer's Carrier, by version. Inside is the door without authentication.
const (
	CarrierHTTP1  = "h1"
	CarrierHTTP2  = "h2"
	CarrierHTTP3  = "h3"
	CarrierInside = "inside"
)

// Defaults of Config.
const (
	DefaultMaxStreams = 100
	DefaultIdle       = 30 * time.Second
)

// Config is what a Carrier may be told. The zero Config is good.
type Config struct {
	// Header is the name of a second header that a credential may stand in, for
	// platforms that can add headers of their own and nothing else: as in
	// Proxy-Authorization, or the ticket alone. Empty means none.
	Header string
	// DNS serves DNS over HTTPS (RFC 8484) at /dns-query, to whoever has a ticket.
	DNS bool
	// MaxStreams is how many requests one HTTP/2 or HTTP/3 connection may have under
	// way, tunnels included; zero means DefaultMaxStreams.
	MaxStreams int
	// Idle is how long such a connection may carry no tunnel; zero means DefaultIdle.
	Idle time.Duration
}

// Carrier brings HTTP CONNECT to a tunnel.Server, in two ways that belong together:
// its method Web is for Config.Web, and it is a listener for Serve, of the streams
// that share a connection.
type Carrier struct {
	config  Config
	streams chan tunnel.Carried // unbuffered: who is not admitted waits with the client
	closing context.Context     // over once Close was called
	close   context.CancelFunc
	h2      *http2Server
	once    sync.Once
}

var _ net.Listener = (*Carrier)(nil)

// New makes a Carrier. Close ends it.
func New(config Config) *Carrier {
	if config.MaxStreams <= 0 {
		config.MaxStreams = DefaultMaxStreams
	}
	if config.Idle <= 0 {
		config.Idle = DefaultIdle
	}
	c := &Carrier{config: config, streams: make(chan tunnel.Carried)}
	c.closing, c.close = context.WithCancel(context.Background())
	c.h2 = newHTTP2(config)
	return c
}

// Accept waits for a stream of any HTTP/2 or HTTP/3 connection, which is a
// tunnel.Carried. It satisfies net.Listener.
func (c *Carrier) Accept() (net.Conn, error) {
	if c.closing.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case s := <-c.streams:
		return s, nil
	case <-c.closing.Done():
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections are told to go away, and stay until the last of
// their tunnels is over; requests that come all the same are refused.
func (c *Carrier) Close() error {
	c.once.Do(func() {
		c.close()
		c.h2.shutdown()
	})
	return nil
}

// Addr is nobody's: connections come by other listeners.
func (c *Carrier) Addr() net.Addr { return nowhere{} }

type nowhere struct{}

func (nowhere) Network() string { return "http" }
func (nowhere) String() string  { return "http" }

// offer waits until the server takes a stream; false means that it does not, or
// that the client has gone.
func (c *Carrier) offer(ctx context.Context, s tunnel.Carried) bool {
	if c.closing.Err() != nil {
		return false
	}
	select {
	case c.streams <- s:
		return true
	case <-c.closing.Done():
	case <-ctx.Done():
	}
	return false
}

// Web serves a connection that speaks HTTP. It satisfies tunnel.Config.Web.
func (c *Carrier) Web(ctx context.Context, door *tunnel.Door) tunnel.Negotiation {
	if door.Peer().ALPN == "h2" {
		c.serveHTTP2(ctx, door)
		return nil
	}
	return c.serveHTTP1(ctx, door)
}
