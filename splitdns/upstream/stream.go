package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// stream is a connection over TCP or TLS (RFC 7766, RFC 7858): messages with
// their length before them, many queries under way, answers in any order.
//
//	exchange ──► waiting[id] ──► write ────────────► server
//	                 ▲                                  │
//	                 └── match id and question ◄── read ┘   one goroutine
//
// The reader ends with the connection, and the connection with the reader:
// after an error nothing on it can be told apart any more.
type stream struct {
	conn   net.Conn
	raw    net.Conn // beneath TLS, if there is any; closed without a farewell
	padded bool
	lied   func(Lie)
	turn   chan struct{} // capacity 1: held while writing, so that messages stay whole

	mu      sync.Mutex // guards the rest
	waiting map[uint16]*waiter
	lies    int
	err     error // why the stream ended; nil while it lives
}

// waiter is an open query. Who gives up leaves his behind, so that a late answer
// is not taken for a lie.
type waiter struct {
	asked  *query
	answer chan []byte // capacity 1; closed when the stream ends
}

// The bounds of a stream. Queries are bounded by the pool; those given up and
// never answered are not, nor is what a server may send unasked.
const (
	maxWaiting = 8192
	maxLies    = 100
)

var (
	errEnded  = errors.New("the connection has ended")
	errLies   = errors.New("too many answers to nothing that was asked")
	errUnread = errors.New("too many queries without an answer")
)

// streamDialer returns how to connect to a server over TCP, or over TLS when
// there is a config for it. The reader of a stream is started by run.
func streamDialer(dial dialFunc, addr string, config *tls.Config, lied func(Lie), run func(func())) func(ctx context.Context) (link, error) {
	return func(ctx context.Context) (link, error) {
		s := &stream{padded: config != nil, lied: lied, turn: make(chan struct{}, 1), waiting: make(map[uint16]*waiter)}
		if config == nil {
			conn, err := dial(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			s.conn, s.raw = conn, conn
		} else {
			conn, err := dialTLS(ctx, dial, addr, config)
			if err != nil {
				return nil, err
			}
			s.conn, s.raw = conn, conn.NetConn()
		}
		run(s.read)
		return s, nil
	}
}

func (s *stream) exchange(ctx context.Context, q Question, edns bool) (*query, []byte, error) {
	asked := newQuery(q, form{edns: edns, padded: s.padded})
	w := &waiter{asked: asked, answer: make(chan []byte, 1)}
	if err := s.enter(w); err != nil {
		return nil, nil, err
	}
	if err := s.write(ctx, asked.wire); err != nil {
		return nil, nil, err
	}
	select {
	case answer, ok := <-w.answer:
		if !ok {
			return nil, nil, s.cause()
		}
		return asked, answer, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// enter gives the query an id that no other has, and makes it wait.
func (s *stream) enter(w *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if len(s.waiting) >= maxWaiting {
		s.end(errUnread)
		return s.err
	}
	id := uint16(rand.Uint32())
	for s.waiting[id] != nil {
		id++
	}
	binary.BigEndian.PutUint16(w.asked.wire, id)
	s.waiting[id] = w
	return nil
}

// write sends one message. Who gives up in the middle of it has spoilt the
// stream, so that it ends.
func (s *stream) write(ctx context.Context, message []byte) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	framed := make([]byte, 2, 2+len(message))
	binary.BigEndian.PutUint16(framed, uint16(len(message)))
	defer context.AfterFunc(ctx, s.close)()
	if _, err := s.conn.Write(append(framed, message...)); err != nil {
		s.fail(err)
		return err
	}
	return nil
}

// read delivers answers until the connection ends.
func (s *stream) read() {
	from := bufio.NewReaderSize(s.conn, 4096)
	var length [2]byte
	for {
		if _, err := io.ReadFull(from, length[:]); err != nil {
			s.fail(err)
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(from, message); err != nil {
			s.fail(err)
			return
		}
		if lie := s.deliver(message); lie != "" {
			s.lied(lie)
		}
	}
}

// deliver gives a message to who waits for it. Anyone else's is dropped, and
// too many of those end the stream. An error without a question is believed:
// nobody but the server writes here. So is a name in other letters, for on a
// stream it goes in lower case and proves nothing.
func (s *stream) deliver(message []byte) Lie {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "" // of an ended stream nothing counts, not even what had arrived
	}
	lie := lieGarbage
	if len(message) >= headerLen {
		lie = lieID
		id := binary.BigEndian.Uint16(message)
		if w := s.waiting[id]; w != nil {
			var verdict verdict
			if verdict, lie = w.asked.match(message); verdict != foreign {
				delete(s.waiting, id)
				w.answer <- message // has room: an id is delivered to once
				return ""
			}
		}
	}
	s.lies++
	if s.lies > maxLies {
		s.end(errLies)
	}
	return lie
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(fmt.Errorf("%w: %w", errEnded, err))
}

// end takes the first cause, and lets everybody go. The caller holds the mutex.
func (s *stream) end(cause error) {
	if s.err != nil {
		return
	}
	s.err = cause
	s.raw.Close()
	for _, w := range s.waiting {
		close(w.answer)
	}
	s.waiting = nil
}

func (s *stream) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) alive() bool { return s.cause() == nil }

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(errEnded)
}
