package httpconnect

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// exchange is one CONNECT on a shared connection. It belongs to two goroutines: the
// library's handler, which has to stay for as long as the response is used, and the
// server's, to which the handler brings it.
//
//	handler   offer ──► wait ────────────────────────────────────► return
//	server      └─────► Negotiation ─► refuse ───────► Close ────────┘
//	                                └► succeed ─► body: Read, Write ─► CloseWrite,
//	                                                                   Close, Abort
//
// The handler sends what is said last, since a return is what ends a response.
type exchange struct {
	shared *shared
	place  *place
	wish   wish
	w      http.ResponseWriter
	r      *http.Request
	settle func() error
	over   chan struct{} // closed by the first of CloseWrite, Close and Abort
	taken  chan struct{} // closed when the stream has been taken from the handler

	use      sync.Mutex // held while somebody uses w, which is the handler's alone once over is closed
	answered bool       // guarded by use: a status is out

	mu     sync.Mutex // guards the rest; never held while anything waits
	ending ending
	body   body
}

// body is what a granted request's bytes go through.
type body interface {
	io.ReadWriter
	CloseWrite() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// end is Close, Break or Abort. It may be called more than once, from anywhere.
	end(ending)
}

// ending is how an exchange ends. It only ever grows.
type ending int

const (
	notEnded ending = iota
	saidAll         // our direction is over
	closed
	brokeOff
	aborted
)

var _ tunnel.Carried = (*exchange)(nil)

func newExchange(s *shared, p *place, w http.ResponseWriter, r *http.Request) *exchange {
	e := &exchange{
		shared: s, place: p, w: w, r: r, wish: s.carrier.wishOf(r, nil, false),
		over: make(chan struct{}), taken: make(chan struct{}),
	}
	clear(r.Header) // it has the ticket, and the library keeps it as long as the stream
	return e
}

func (e *exchange) Peer() tunnel.Peer { return e.shared.peerNow() }

func (e *exchange) Negotiation(a tunnel.Admission) tunnel.Negotiation {
	n := &negotiation{peer: a.Peer, wish: e.wish, voice: e}
	e.settle, e.wish = a.Settle, wish{}
	return n
}

// refuse leaves the answer with the library, which sends it when the handler returns.
func (e *exchange) refuse(a answer) {
	e.use.Lock()
	if !e.answered && e.endedBy() == notEnded {
		e.answered = true
		a.send(e.w)
	}
	e.use.Unlock()
	_ = e.Close()
}

func (e *exchange) succeed() (tunnel.Stream, error) {
	if err := e.settle(); err != nil {
		return nil, err
	}
	if err := e.shared.granted(); err != nil {
		return nil, err
	}
	e.use.Lock()
	defer e.use.Unlock()
	if e.endedBy() != notEnded {
		return nil, gone(net.ErrClosed)
	}
	e.answered = true
	e.w.WriteHeader(http.StatusOK)
	body, err := e.shared.open(e)
	if err != nil {
		e.Abort()
		return nil, gone(err)
	}
	e.mu.Lock()
	e.body = body
	ended := e.ending
	e.mu.Unlock()
	if ended != notEnded { // whoever did it has not seen the body
		body.end(aborted)
		return nil, gone(net.ErrClosed)
	}
	e.place.settled()
	return e, nil
}

// wait is the handler's: it returns when the library may end the response.
func (e *exchange) wait() {
	select {
	case <-e.taken:
		return
	case <-e.over:
	}
	// Whoever has the lock waits for the client to take bytes. Whoever gets it later
	// finds that all is over, and leaves w alone.
	how := e.endedBy()
	abort := how == aborted || !e.use.TryLock()
	if abort {
		e.cut()
		// A connection that takes nothing at all has no room for the reset either, and
		// what holds the lock waits for it.
		stuck := time.AfterFunc(cutBound, e.shared.end)
		e.use.Lock()
		stuck.Stop()
	}
	defer e.use.Unlock()
	switch {
	case abort, how == brokeOff: // all that was written is before it in the queue
		panic(http.ErrAbortHandler) // the libraries' word for a reset
	case !e.answered: // never admitted
		busy().send(e.w)
	}
}

// cutBound is how long a connection may hold up the end of one of its tunnels.
const cutBound = 200 * time.Millisecond

// cut resets the stream, whatever waits in its queue.
func (e *exchange) cut() {
	control := http.NewResponseController(e.w)
	_ = control.SetWriteDeadline(time.Unix(1, 0))
	_ = control.SetReadDeadline(time.Unix(1, 0))
}

// endAs ends the exchange, or does nothing if that has been done at least so much.
func (e *exchange) endAs(how ending) {
	e.mu.Lock()
	if how <= e.ending {
		e.mu.Unlock()
		return
	}
	if e.ending == notEnded {
		close(e.over)
	}
	e.ending = how
	body := e.body
	e.mu.Unlock()
	if how > saidAll {
		e.place.leave(how == aborted)
	}
	if body != nil && how > saidAll {
		body.end(how)
	}
}

func (e *exchange) endedBy() ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ending
}

// Close ends both directions, with a goodbye if nothing is being written.
func (e *exchange) Close() error {
	e.endAs(closed)
	return nil
}

// Break resets the stream, behind everything that was written.
func (e *exchange) Break() { e.endAs(brokeOff) }

// Abort resets the stream, and leaves the connection to the others if there are any.
func (e *exchange) Abort() { e.endAs(aborted) }

// Read and the other methods of a stream are for the time after success.
func (e *exchange) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && e.endedBy() > saidAll {
		err = net.ErrClosed
	}
	return n, err
}

func (e *exchange) Write(p []byte) (int, error) {
	n, err := e.body.Write(p)
	if err != nil && e.endedBy() > saidAll {
		err = net.ErrClosed
	}
	return n, err
}

func (e *exchange) CloseWrite() error {
	err := e.body.CloseWrite()
	if err != nil && e.endedBy() > saidAll {
		err = net.ErrClosed
	}
	return err
}

func (e *exchange) LocalAddr() net.Addr  { return e.shared.LocalAddr() }
func (e *exchange) RemoteAddr() net.Addr { return e.shared.RemoteAddr() }

func (e *exchange) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func (e *exchange) SetReadDeadline(t time.Time) error {
	return e.bound(body.SetReadDeadline, t)
}

func (e *exchange) SetWriteDeadline(t time.Time) error {
	return e.bound(body.SetWriteDeadline, t)
}

// bound does nothing before success, since nothing is read or waited for then.
func (e *exchange) bound(set func(body, time.Time) error, t time.Time) error {
	e.mu.Lock()
	b := e.body
	e.mu.Unlock()
	if b == nil {
		return nil
	}
	return set(b, t)
}

// noDeadline is of a body that has none: it knows only Abort.
type noDeadline struct{}

func (noDeadline) SetReadDeadline(t time.Time) error  { return noDeadlineBut(t) }
func (noDeadline) SetWriteDeadline(t time.Time) error { return noDeadlineBut(t) }

func noDeadlineBut(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return os.ErrNoDeadline
}
