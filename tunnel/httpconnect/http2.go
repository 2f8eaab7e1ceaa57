package httpconnect

//lint:file-ignore SA1019 http.Server, which the library points at, serves listeners, and not a connection at hand.

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
)

const (
	// streamWindow is what a client may send on a stream before it is read, and
	// connWindow on all of a connection's together: so much can it have us hold.
	streamWindow = 64 << 10
	connWindow   = 1 << 20
	// writeBound is how long a connection may take no byte while there are some: as
	// long as a tunnel's own limit.
	writeBound = tunnel.DefaultWriteStall
)

// http2Server is the library's, in its two parts.
type http2Server struct {
	base *http.Server // never listens: it has the limits
	conn http2.Server
}

func newHTTP2(config Config) *http2Server {
	s := &http2Server{base: &http.Server{
		MaxHeaderBytes: maxHead,
		IdleTimeout:    config.Idle,
		ErrorLog:       log.New(io.Discard, "", 0), // it quotes clients
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          config.MaxStreams,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			WriteByteTimeout:              writeBound,
		},
	}}
	// So that shutdown reaches the connections. Its errors are about a TLS config,
	// which there is none of.
	_ = http2.ConfigureServer(s.base, &s.conn)
	return s
}

// shutdown tells all connections to go away, and waits for none.
func (s *http2Server) shutdown() { _ = s.base.Shutdown(context.Background()) }

// serveHTTP2 serves a connection until it is over.
func (c *Carrier) serveHTTP2(ctx context.Context, door *tunnel.Door) {
	conn := &sharedDoor{Door: door, kept: make(chan error, 1), over: make(chan struct{})}
	s := &shared{
		questions: make(chan struct{}, maxAsking),
		carrier:   c, peer: door.Peer(), at: door,
		keep: conn.keep, open: openHTTP2, end: func() { tunnel.Abort(door) },
	}
	s.peer.Carrier = CarrierHTTP2
	s.watch()
	defer s.unwatch()
	defer close(conn.over)
	defer context.AfterFunc(ctx, s.end)()
	c.h2.conn.ServeConn(conn, &http2.ServeConnOpts{Context: ctx, BaseConfig: c.h2.base, Handler: s})
}

// sharedDoor is a Door as the HTTP/2 library sees it. The library reads all the
// time, on a goroutine of its own, and a Door must not be read while it is kept. So
// whoever wants to keep it wakes the reader, which keeps it and reads on.
type sharedDoor struct {
	*tunnel.Door
	kept chan error
	over chan struct{} // closed when the connection is over

	mu     sync.Mutex // held until the deadline that wakes the reader has been set
	wanted bool
}

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

func (d *sharedDoor) Read(p []byte) (int, error) {
	for {
		n, err := d.Door.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !d.isWanted() {
			return n, err
		}
		if err = d.Keep(); err != nil { // the client is to hear of it
			_ = d.SetReadDeadline(d.Peer().Deadline)
		}
		d.kept <- err
	}
}

// isWanted tells the reader, once, that it was woken to keep the door.
func (d *sharedDoor) isWanted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := d.wanted
	d.wanted = false
	return wanted
}

// keep is called once. The error is a *tunnel.Refusal.
func (d *sharedDoor) keep() error {
	d.mu.Lock()
	d.wanted = true
	_ = d.SetReadDeadline(aLongTimeAgo)
	d.mu.Unlock()
	select {
	case err := <-d.kept:
		return err
	case <-d.over:
		return gone(net.ErrClosed)
	}
}

// http2Body is the stream of a granted request.
type http2Body struct {
	noDeadline
	e       *exchange
	control *http.ResponseController
}

func openHTTP2(e *exchange) (body, error) {
	control := http.NewResponseController(e.w)
	// Without a header of ours it waits for no client: the frame is queued.
	if err := control.Flush(); err != nil {
		return nil, err
	}
	return &http2Body{e: e, control: control}, nil
}

// Read is at its end when our side has said all: the library hears no more then.
func (b *http2Body) Read(p []byte) (int, error) {
	n, err := b.e.r.Body.Read(p)
	if err != nil && b.e.endedBy() == saidAll {
		err = io.EOF
	}
	return n, err
}

// Write sends p at once.
func (b *http2Body) Write(p []byte) (int, error) {
	b.e.use.Lock()
	defer b.e.use.Unlock()
	if b.e.endedBy() != notEnded {
		return 0, net.ErrClosed
	}
	n, err := b.e.w.Write(p)
	if err == nil {
		err = b.control.Flush()
	}
	return n, err
}

// CloseWrite ends the response, and with it what the client may say: the library has
// no other way. See the package's comment.
func (b *http2Body) CloseWrite() error {
	b.e.endAs(saidAll)
	return nil
}

// end is left to the handler.
func (b *http2Body) end(ending) {}
