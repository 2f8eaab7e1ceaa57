package tunnel

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// Carried is a connection that another carrier has brought as far as its
// negotiation: a stream of a QUIC connection, or of an HTTP/2 one. A listener whose
// Accept gives such connections brings a carrier to a Server: to Serve they are as
// its own, in its limits, its deadline and its end. Only the handshake is left out.
//
// Abort is called to be rid of it at once, as the function of that name says. Close
// ends both directions; so does Break, if there is such a method, where that function
// is called.
type Carried interface {
	Stream
	Abort()
	// Peer is who dialled. Serve fills in Accepted and Deadline.
	Peer() Peer
	// Negotiation speaks the carrier's protocol. It is called once.
	Negotiation(Admission) Negotiation
}

// Admission is what a server lets a stream in by.
type Admission struct {
	// Peer is who dialled, with the times that set-up is bounded by. The stream's
	// deadline has been set.
	Peer Peer
	// MaxPreAuthBytes is how many decrypted bytes may be taken from the client
	// before its credential is accepted.
	MaxPreAuthBytes int
	// Settle asks for a place among the tunnels. It is for Succeed, before the
	// client is told; its error is a *Refusal.
	Settle func() error
}

// SOCKS5 negotiates over a stream of another carrier, as a Server does over TLS.
func SOCKS5(s Stream, a Admission) Negotiation {
	stream := &carriedStream{Stream: s}
	stream.in.init(s, a.MaxPreAuthBytes)
	return &socksNegotiation{peer: a.Peer, stream: stream, settle: a.Settle}
}

// carriedStream is a client's stream over another carrier.
type carriedStream struct {
	Stream
	in ahead
}

var _ clientStream = (*carriedStream)(nil)

// Read returns what came ahead first. One goroutine may read.
func (s *carriedStream) Read(p []byte) (int, error) { return s.in.orRead(s.Stream, p) }

// Abort is the stream's.
func (s *carriedStream) Abort() { Abort(s.Stream) }

// Break is the stream's.
func (s *carriedStream) Break() { Break(s.Stream) }

func (s *carriedStream) belongsTo(*visitor) {}
func (s *carriedStream) ahead() *ahead      { return &s.in }
func (s *carriedStream) lift()              { s.in.left = -1 }
func (s *carriedStream) open()              { s.in.releaseIfEmpty() }

func (s *carriedStream) refuse(last []byte) {
	s.in.left = -1 // what lingers is bounded otherwise
	partWith(s, s.Abort, last)
}

// WebProtocols are what a client that speaks HTTP agrees on by ALPN, best first. They
// go to ServerTLS where there is a Config.Web.
func WebProtocols() []string { return []string{"h2", "http/1.1"} }

// Door is a client's connection behind its TLS handshake, for a carrier that shares
// the port with SOCKS5: see Config.Web.
//
// Its Read gives what the client sends, and until Lift not more than strangers may
// send. Deadline and end are the server's as long as nothing has settled.
type Door struct {
	clientStream
	ctx    context.Context
	peer   Peer
	settle func() error
}

var _ interface{ Abort() } = (*Door)(nil)

// isWeb tells whether what the client speaks is for Config.Web. Who has not said so
// by ALPN is waited for. A failure is left to SOCKS5 to find.
func (d *Door) isWeb() bool {
	if d.peer.ALPN != "" {
		return d.peer.ALPN != ALPN
	}
	defer interrupt(d.ctx, d.clientStream, d.peer.Deadline)()
	first, err := d.ahead().peek()
	return err == nil && first != socks.Version
}

// Peer is who dialled.
func (d *Door) Peer() Peer { return d.peer }

// Read is as the Stream's, but for the bound on what strangers send.
func (d *Door) Read(p []byte) (int, error) {
	if in := d.ahead(); in.left >= 0 {
		return in.Read(p)
	}
	return d.clientStream.Read(p)
}

// Unread puts back what was read last: n bytes of a single Read, before Lift.
func (d *Door) Unread(n int) { d.ahead().r -= n }

// Lift ends the counting: the client is known.
func (d *Door) Lift() { d.lift() }

// Keep is for a connection that carries more than one tunnel: it takes a place among
// the tunnels for as long as it is open, nobody sheds it any more, and its deadlines
// are the caller's from here on. The error is a *Refusal.
func (d *Door) Keep() error {
	if err := settled(d.settle); err != nil {
		return err
	}
	d.lift()
	d.open()
	return d.SetDeadline(time.Time{})
}

// Succeed settles, tells the client so, and makes the connection a tunnel's stream
// with no deadline. The error is a *Refusal: one of Settle's, and the client can be
// told of it, or one of writing, and the connection is closed.
func (d *Door) Succeed(answer []byte) (Stream, error) {
	if err := settled(d.settle); err != nil {
		return nil, err
	}
	d.lift()
	return opened(d.clientStream, answer)
}

// Refuse sends the last words and closes, lingering for a second at most so that
// they arrive.
func (d *Door) Refuse(last []byte) { d.refuse(last) }

// Failed is the Refusal for an error met while speaking with the client; doing
// tells at which step.
func (d *Door) Failed(doing string, err error) *Refusal { return refuse(d.ctx, doing, err) }

// settled asks for a place; its error is a *Refusal.
func settled(settle func() error) error {
	err := settle()
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return refuse(context.Background(), "answering the request", err)
}

// opened tells the client of success and lifts the deadline.
func opened(stream clientStream, answer []byte) (Stream, error) {
	_, err := stream.Write(answer)
	if err == nil {
		err = stream.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = stream.Close()
		return nil, refuse(context.Background(), "answering the request", err)
	}
	stream.open()
	return stream, nil
}
