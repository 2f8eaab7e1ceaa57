package httpconnect

import (
	"context"
	"errors"
	"log/slog"
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
		carrier: c, peer: peer, at: conn, open: openHTTP3, end: cancel,
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
	writing sync.Mutex // held by a Write, and by what ends our direction
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
	n, err := b.Stream.Write(p)
	return n, asFault(err)
}

func (b *http3Body) CloseWrite() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.Stream.Close(); err != nil {
		// Only a client that wants no more of it makes the library say so.
		return &fault{syscall.ECONNRESET, "the client takes no more"}
	}
	return nil
}

// end tells the client that the tunnel broke off (RFC 9114 §4.4) if it was aborted,
// or closed while something was being written.
func (b *http3Body) end(abort bool) {
	code := quic.StreamErrorCode(http3.ErrCodeNoError)
	if !abort {
		abort = !b.writing.TryLock()
		if !abort {
			_ = b.Stream.Close()
			b.writing.Unlock()
		}
	}
	if abort {
		code = quic.StreamErrorCode(http3.ErrCodeConnectError)
		b.CancelWrite(code)
	}
	b.CancelRead(code)
}
