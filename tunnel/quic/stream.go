package quic

import (
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// endpoints are where a stream's connection is, at the moment.
type endpoints interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// stream is a QUIC stream as a tunnel.Stream. Reads and writes may go on at the same
// time, one of each.
type stream struct {
	quic *quicgo.Stream
	at   endpoints
	// writing is held by whoever writes or ends writing: quic-go forbids both at
	// once.
	writing sync.Mutex
	wrote   time.Time // the last Write; guarded by writing
	ended   bool      // our direction is over, or about to be; guarded by writing
	next    [1]byte   // for Await
}

var _ tunnel.Stream = (*stream)(nil)

// Read reads what the peer sent.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.quic.Read(p)
	return n, asFault(err)
}

// Await waits until there is something to read, or the end. It satisfies
// tunnel.Awaiter.
func (s *stream) Await() error {
	_, err := s.quic.Peek(s.next[:])
	return asFault(err)
}

// Write returns when all but the last packet's worth of p is on its way.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.ended {
		return 0, net.ErrClosed
	}
	n, err := s.quic.Write(p)
	s.wrote = time.Now()
	return n, asFault(err)
}

// CloseWrite ends our direction, after the Write under way if there is one.
func (s *stream) CloseWrite() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	if err := s.quic.Close(); err != nil {
		// Only a peer that wants no more of it makes quic-go say so.
		return asFault(&quicgo.StreamError{StreamID: s.quic.StreamID(), Remote: true})
	}
	return nil
}

// Close ends both directions: what was written arrives, unless a Write is waiting,
// which fails then, and the peer is asked to send no more.
func (s *stream) Close() error {
	if s.writing.TryLock() {
		if !s.ended {
			_ = s.quic.Close() // it fails for a stream that is reset already
		}
		s.ended = true
		s.writing.Unlock()
	} else {
		s.quic.CancelWrite(quicgo.StreamErrorCode(CodeNone))
	}
	s.quic.CancelRead(quicgo.StreamErrorCode(CodeNone))
	return nil
}

// arrivalBound is how long what was written may take to arrive, losses included, before
// a reset. A reset has the peer forget what it has not got (RFC 9000 section 3.2), and
// quic-go tells nobody what has been acknowledged.
const arrivalBound = 500 * time.Millisecond

// Break resets the stream with CodeBroken, once what was written has had its time to
// arrive, and asks the peer to send no more. A Write that is waiting fails, and a
// direction that has come to a good end keeps it.
func (s *stream) Break() {
	const code = quicgo.StreamErrorCode(CodeBroken)
	s.quic.CancelRead(code)
	if !s.writing.TryLock() {
		s.quic.CancelWrite(code)
		return
	}
	defer s.writing.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	time.AfterFunc(arrivalBound-time.Since(s.wrote), func() { s.quic.CancelWrite(code) })
}

// reset ends both directions, and what has not arrived is forgotten.
func (s *stream) reset(code Code) {
	s.quic.CancelWrite(quicgo.StreamErrorCode(code))
	s.quic.CancelRead(quicgo.StreamErrorCode(code))
}

// Abort resets the stream with CodeCut.
func (s *stream) Abort() { s.reset(CodeCut) }

// LocalAddr and RemoteAddr are the connection's; they change when it migrates.
func (s *stream) LocalAddr() net.Addr  { return s.at.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.at.RemoteAddr() }

func (s *stream) SetDeadline(t time.Time) error      { return s.quic.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.quic.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.quic.SetWriteDeadline(t) }

// carried is a stream that a client has opened.
type carried struct {
	stream
	conn  *connection
	stage stage // the connection's mu guards it
}

// stage is how far a carried stream has come. It only grows.
type stage uint8

const (
	stagePending stage = iota // no tunnel yet
	stageTunnel
	stageOver
)

var _ tunnel.Carried = (*carried)(nil)

// Close is the stream's, and the end of its count.
func (s *carried) Close() error {
	defer s.conn.left(s, false)
	return s.stream.Close()
}

// Break is the stream's, and the end of its count.
func (s *carried) Break() {
	defer s.conn.left(s, false)
	s.stream.Break()
}

// Abort is the stream's. The connection is closed if it has no other tunnel, and s is
// one. That is told first: what Abort wakes will call Close.
func (s *carried) Abort() {
	s.conn.left(s, true)
	s.stream.Abort()
}

// Peer is who dialled, from where he is now.
func (s *carried) Peer() tunnel.Peer { return s.conn.peerNow() }

// Negotiation speaks SOCKS5.
func (s *carried) Negotiation(a tunnel.Admission) tunnel.Negotiation {
	settle := a.Settle
	a.Settle = func() error {
		err := settle()
		if err == nil {
			s.conn.settled(s)
		}
		return err
	}
	return tunnel.SOCKS5(s, a)
}
