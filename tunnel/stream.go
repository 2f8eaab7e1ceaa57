package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel/record"
)

const (
	// closeBound is how long Close tries to say goodbye to a peer that takes
	// no bytes. crypto/tls would wait five seconds.
	closeBound = 200 * time.Millisecond
	// lingerBound is how long a refused client has to take its answer, and
	// lingerBytes how much it may still send meanwhile, TLS's own included.
	lingerBound = time.Second
	lingerBytes = 64 << 10
	// gatherFrom is the least Write that has more than one record in it.
	gatherFrom = 16<<10 + 1
)

// clientStream is a client's stream from the end of its handshake on. There are
// two, by whose record layer it is.
type clientStream interface {
	Stream
	// belongsTo says whose it is.
	belongsTo(*visitor)
	// ahead reads the messages of set-up.
	ahead() *ahead
	// lift ends the counting: the client is known.
	lift()
	// open ends set-up.
	open()
	// refuse sends the last words and closes as partWith does.
	refuse(last []byte)
	// Abort ends it at once, and Break as one that broke off; see the functions of
	// those names.
	Abort()
	Break()
}

// entrance is what both have in set-up. preAuth is how many decrypted bytes may be
// read before lift. The wire gets room for as many and once more a handshake's:
// every record has its own overhead, and a message to TLS itself is counted
// nowhere else.
type entrance struct {
	wire  *wire
	in    ahead    // what was read in set-up and is not yet consumed
	owner *visitor // nil in tests that have no server
}

func (e *entrance) init(src io.Reader, w *wire, preAuth int) {
	e.wire = w
	e.in.init(src, preAuth)
	w.left = preAuth + maxHandshake
}

func (e *entrance) belongsTo(v *visitor) { e.owner = v }
func (e *entrance) holder() *visitor     { return e.owner }
func (e *entrance) ahead() *ahead        { return &e.in }

func (e *entrance) lift() {
	e.in.left = -1
	e.wire.left = -1
}

func (e *entrance) open() {
	e.in.releaseIfEmpty()
	e.wire.open()
}

// Abort cuts the connection below; see the function of that name. TLS is not
// asked, since somebody may hold its locks while he waits for the peer: whoever
// that is, is woken by the cut.
func (e *entrance) Abort() { abortConn(e.wire.Conn) }

// Break ends the connection below, and TLS is not asked either: it would say
// close_notify.
func (e *entrance) Break() { breakBelow(e.wire.Conn) }

// tlsStream is a client's stream over crypto/tls.
type tlsStream struct {
	*tls.Conn
	entrance
	flushing atomic.Int32 // Writes that crypto/tls believes finished
}

// directStream is one over our own record layer.
type directStream struct {
	*record.Conn
	entrance
	codec *directCodec // has the Conn's layer, and goes on with it once parked
}

var (
	_ clientStream = (*tlsStream)(nil)
	_ clientStream = (*directStream)(nil)
)

// newTLSStream is for a connection whose handshake is done.
func newTLSStream(conn *tls.Conn, w *wire, preAuth int) *tlsStream {
	s := &tlsStream{Conn: conn}
	s.init(conn, w, preAuth)
	return s
}

func newDirectStream(conn *record.Conn, codec *directCodec, w *wire, preAuth int) *directStream {
	s := &directStream{Conn: conn, codec: codec}
	s.init(conn, w, preAuth)
	return s
}

// Read returns what came ahead first. One goroutine may read.
func (s *tlsStream) Read(p []byte) (int, error) { return s.in.orRead(s.Conn, p) }

// Read returns what came ahead first, and an end without a goodbye as an end, if
// it is between two records: so does crypto/tls, and what is inside has ends of
// its own.
func (s *directStream) Read(p []byte) (int, error) {
	n, err := s.in.orRead(s.Conn, p)
	if err == record.ErrTruncated {
		err = io.EOF
	}
	return n, err
}

// Write sends all of p, in one system call up to the size of a relay buffer.
func (s *tlsStream) Write(p []byte) (int, error) {
	if len(p) < gatherFrom {
		return s.Conn.Write(p)
	}
	s.flushing.Add(1)
	defer s.flushing.Add(-1)
	s.wire.hold()
	n, err := s.Conn.Write(p)
	if flushErr := s.wire.flush(); err == nil && flushErr != nil {
		// How much of it arrived cannot be known.
		return 0, flushErr
	}
	return n, err
}

// Close says goodbye if the peer takes it within closeBound, and cuts the
// connection if not, or if a Write is under way in another goroutine. Another
// goroutine that is reading may make it wait as long: one that answers a
// KeyUpdate holds the lock that the goodbye needs.
func (s *tlsStream) Close() error {
	if s.flushing.Load() > 0 {
		return s.wire.Conn.Close()
	}
	cut := time.AfterFunc(closeBound, func() { _ = s.wire.Conn.Close() })
	defer cut.Stop()
	return s.Conn.Close()
}

func (s *tlsStream) refuse(last []byte)    { s.wire.partWith(s, last) }
func (s *directStream) refuse(last []byte) { s.wire.partWith(s, last) }

// Abort is entrance's, on both.
func (s *tlsStream) Abort()    { s.entrance.Abort() }
func (s *directStream) Abort() { s.entrance.Abort() }

// Abort closes a stream at once, whatever its peer does and whoever else is
// reading or writing: it says no goodbye, and what was written but not yet sent
// is forgotten. Over TCP the peer is sent a reset.
//
// It is for a tunnel that must not go on, where Close is for one that has come
// to its end and may have to wait for its goodbye. A stream with a method Abort
// has it called, and one that is neither TCP nor TLS is merely closed.
func Abort(s Stream) {
	switch s := s.(type) {
	case interface{ Abort() }:
		s.Abort()
	case *tls.Conn:
		abortConn(s.NetConn())
	default:
		abortConn(s)
	}
}

// abortConn closes a connection as Abort does a stream.
func abortConn(conn net.Conn) {
	if other, ok := conn.(interface{ Abort() }); ok {
		other.Abort()
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// partWith writes the last words to a stream and closes it without losing
// them. A close with bytes unread makes the kernel send a reset, and a reset
// that overtakes the answer robs the client of it; so our direction is ended,
// and what the client still sends is read for a while.
func partWith(s Stream, end func(), last []byte) {
	// Cutting the connection bounds all of it, whatever deadlines the layers
	// above set for themselves.
	cut := time.AfterFunc(lingerBound, end)
	defer cut.Stop()
	_ = s.SetDeadline(time.Now().Add(lingerBound))
	var err error
	if len(last) > 0 {
		_, err = s.Write(last)
	}
	if err == nil {
		err = s.CloseWrite()
	}
	if err == nil {
		_, _ = io.CopyN(io.Discard, s, lingerBytes)
	}
	_ = s.Close()
}

// aheadSize is one read of set-up. The messages fit, so a client that sends
// all of them at once costs one read; what lies beyond stays below.
const aheadSize = 1 << 10

var aheadBuffers = sync.Pool{New: func() any { return new([aheadSize]byte) }}

// ahead is a small buffered reader for set-up. It counts what it reads as long
// as the client is unknown, and lets go of its memory when it has been drained
// afterwards.
type ahead struct {
	src  io.Reader
	buf  *[aheadSize]byte
	r, w int // buf[r:w] is unread
	left int // how much more may be read; negative: no limit
}

func (a *ahead) init(src io.Reader, limit int) {
	a.src, a.left = src, limit
	a.buf = aheadBuffers.Get().(*[aheadSize]byte)
}

// Read is for the messages of set-up.
func (a *ahead) Read(p []byte) (int, error) {
	if a.r == a.w {
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.buf[a.r:a.w])
	a.r += n
	return n, nil
}

// peek gives the next byte and leaves it there.
func (a *ahead) peek() (byte, error) {
	if a.r == a.w {
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	return a.buf[a.r], nil
}

func (a *ahead) fill() error {
	room := len(a.buf)
	if a.left >= 0 {
		room = min(room, a.left)
	}
	if room == 0 {
		return errTooMuch
	}
	n, err := a.src.Read(a.buf[:room])
	a.r, a.w = 0, n
	if a.left >= 0 {
		a.left -= n
	}
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// held reports whether bytes that came ahead are still to be read.
func (a *ahead) held() bool {
	a.releaseIfEmpty()
	return a.buf != nil
}

// take moves what came ahead into p.
func (a *ahead) take(p []byte) int {
	n := copy(p, a.buf[a.r:a.w])
	a.r += n
	a.releaseIfEmpty()
	return n
}

// orRead is a Read of the stream that src is: what came ahead goes first.
func (a *ahead) orRead(src io.Reader, p []byte) (int, error) {
	if a.held() {
		return a.take(p), nil
	}
	return src.Read(p)
}

// releaseIfEmpty gives the buffer back. It has seen a password.
func (a *ahead) releaseIfEmpty() {
	if a.buf == nil || a.r < a.w {
		return
	}
	clear(a.buf[:])
	aheadBuffers.Put(a.buf)
	a.buf = nil
}
