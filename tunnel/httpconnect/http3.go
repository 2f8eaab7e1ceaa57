package httpconnect

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/tunnel"
)

// ServeQUIC serves a connection that has agreed on HTTP/3, until it is over, ctx is,
// or the Carrier has been closed and the last tunnel with it. The handshake must be
// done. Of peer, the addresses and Carrier are filled in.
//
// A connection on which no tunnel has succeeded within tunnel.DefaultSetupTimeout is
// closed.
func (c *Carrier) ServeQUIC(ctx context.Context, conn *quic.Conn, peer tunnel.Peer) {
	end := func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }
	defer end()
	defer context.AfterFunc(ctx, end)()
	stranger := time.AfterFunc(tunnel.DefaultSetupTimeout, end)
	defer stranger.Stop()

	s := &shared{
		carrier: c, peer: peer, local: conn.LocalAddr(), remote: conn.RemoteAddr(), open: openHTTP3, end: end,
		keep: func() error {
			if !stranger.Stop() {
				return gone(context.DeadlineExceeded)
			}
			return nil
		},
	}
	s.peer.Carrier = CarrierHTTP3
	s.peer.Remote, s.peer.Local = addrPort(s.remote), addrPort(s.local)
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

func (b *http3Body) Write(p []byte) (int, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.Stream.Write(p)
}

func (b *http3Body) CloseWrite() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.Stream.Close()
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
