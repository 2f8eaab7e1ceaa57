package httpconnect

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/tunnel"
)

// ServeQUIC serves a connection that has agreed on HTTP/3, until it is over, ctx is,
// or the Carrier has been closed and the last tunnel with it. The handshake must be
// done. Of peer, Carrier and the addresses are filled in, the latter anew for each
// stream: clients move. settled is called once, when the first tunnel is granted.
//
// A connection on which no tunnel has succeeded within tunnel.DefaultSetupTimeout is
// closed, and so is one that has had 16 requests by then.
func (c *Carrier) ServeQUIC(ctx context.Context, conn *quic.Conn, peer tunnel.Peer, settled func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }
	defer end()
	defer context.AfterFunc(ctx, end)()
	stranger := time.AfterFunc(tunnel.DefaultSetupTimeout, cancel)
	defer stranger.Stop()

	s := &shared{
		questions: make(chan struct{}, maxAsking),
		carrier:   c, peer: peer, at: conn, open: openHTTP3, end: cancel,
		keep: func() error {
			if !stranger.Stop() {
				return gone(context.DeadlineExceeded)
			}
			settled()
			return nil
		},
		enough: func() {
			if stranger.Stop() { // it is one still
				stranger.Reset(lingerBound) // so that the last answer arrives
			}
		},
	}
	s.peer.Carrier = CarrierHTTP3
	s.watch()
	defer s.unwatch()
	// A server each: a connection is told to go away by way of its server.
	server := &http3.Server{
		Handler: s, MaxHeaderBytes: maxHead, IdleTimeout: c.config.Idle,
		Logger: slog.New(slog.DiscardHandler), // it quotes clients
	}
	defer context.AfterFunc(c.closing, func() { _ = server.Shutdown(conn.Context()) })()
	_ = server.ServeQUICConn(conn) // its error is how the client left
}

// http3Body is the stream of a granted request, out of the library's hands.
type http3Body struct {
	*http3.Stream
	writing sync.Mutex // held by a Write, and by what ends our direction; guards the rest
	wrote   time.Time  // the last Write
	ended   bool       // our direction is over, or about to be
}

var errNotHTTP3 = errors.New("httpconnect: the response is not HTTP/3's")

func openHTTP3(e *exchange) (body, error) {
	streamer, ok := e.w.(http3.HTTPStreamer)
	if !ok {
		return nil, errNotHTTP3
	}
	stream, err := streamer.HTTPStream() // sends the status
	if err != nil {
		return nil, err
	}
	close(e.taken)
	return &http3Body{Stream: stream}, nil
}

func (b *http3Body) Read(p []byte) (int, error) {
	n, err := b.Stream.Read(p)
	return n, asFault(err)
}

func (b *http3Body) Write(p []byte) (int, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.ended {
		return 0, net.ErrClosed
	}
	n, err := b.Stream.Write(p)
	b.wrote = time.Now()
	return n, asFault(err)
}

func (b *http3Body) CloseWrite() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.ended {
		return nil
	}
	b.ended = true
	if err := b.Stream.Close(); err != nil {
		// Only a client that wants no more of it makes the library say so.
		return &fault{syscall.ECONNRESET, "the client takes no more"}
	}
	return nil
}

// arrivalBound is how long what was written may take to arrive, losses included, before
// a reset. A reset has the client forget what it has not got (RFC 9000 section 3.2), and
// the library tells nobody what has been acknowledged.
const arrivalBound = 500 * time.Millisecond

// end tells the client that the tunnel broke off (RFC 9114 section 4.4), unless it was
// closed while nothing was being written, or its direction had come to a good end.
func (b *http3Body) end(how ending) {
	const code = quic.StreamErrorCode(http3.ErrCodeConnectError)
	if how == aborted || !b.writing.TryLock() {
		b.CancelWrite(code)
		b.CancelRead(code)
		return
	}
	defer b.writing.Unlock()
	switch {
	case how == closed:
		if !b.ended {
			_ = b.Stream.Close()
		}
		b.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	case b.ended:
		b.CancelRead(code)
	default:
		b.CancelRead(code)
		time.AfterFunc(arrivalBound-time.Since(b.wrote), func() { b.CancelWrite(code) })
	}
	b.ended = true
}
