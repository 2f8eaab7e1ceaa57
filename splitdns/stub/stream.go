package stub

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// inFlight bounds the questions of one stream that are being answered. The
	// next one is not read before one of them is.
	inFlight = 8
	// patience bounds the reading of a message that has begun, and the taking
	// of an answer.
	patience = 10 * time.Second
)

// ErrMessage is what a stream or an answer ends with that cannot be DNS: a
// length that is too small or too large, an answer in place of a question, the
// answer to another question. It is to be told by errors.Is.
var ErrMessage = errors.New("not the DNS message that was due")

// ServeStream answers the queries of a stream (RFC 7766), which ends with it:
// conn is closed on return, and every goroutine that was started is gone.
// Answers go out in the order in which they come ready.
//
// It returns nil when the asker had said its last word and has all its answers;
// one that only closed its own direction gets them still. It returns ctx's
// error when ctx ended, an error that is ErrMessage for what is no query, and
// else what the stream failed with, os.ErrDeadlineExceeded if that was a message
// that stalled half-way, or an answer that was not taken.
func ServeStream(ctx context.Context, conn net.Conn, h Handler) error {
	inner, cancel := context.WithCancel(ctx)
	s := &streamServer{conn: conn, handler: h, ctx: inner, cancel: cancel, turn: make(chan struct{}, 1)}
	release := closeAtEnd(inner, conn)
	err := s.read()
	if err != nil {
		cancel()
	}
	s.answering.Wait()
	release()
	cancel()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.writeErr != nil:
		return fmt.Errorf("stub: sending an answer: %w", s.writeErr)
	}
	return err
}

// closeAtEnd closes c when ctx ends: that ends a read and a write that wait, on
// streams and sockets of every kind. release closes it in any case, and returns
// when nobody is about to any more.
func closeAtEnd(ctx context.Context, c io.Closer) (release func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		c.Close()
	})
	return func() {
		if stop() {
			c.Close()
			return
		}
		<-closed
	}
}

// streamServer is one stream that is being served.
//
//	read ──▶ answer (goroutine, at most inFlight) ──▶ write
type streamServer struct {
	conn    net.Conn
	handler Handler
	ctx     context.Context // ends with the stream
	cancel  context.CancelFunc

	answering sync.WaitGroup

	turn     chan struct{} // holds one answer, the one being written
	writeErr error         // the first failure; nothing is written after it. Belongs to whose turn it is
}

// read takes query after query, and returns nil at the end of the asker's
// direction.
func (s *streamServer) read() error {
	r := bufio.NewReaderSize(s.conn, 512)
	slots := make(chan struct{}, inFlight)
	for {
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		wire, err := s.next(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stub: reading a query: %w", err)
		}
		query, err := Parse(wire)
		var rejected *rejection
		if errors.As(err, &rejected) && rejected.answer == nil {
			return fmt.Errorf("%w: %w", err, ErrMessage)
		}
		s.answering.Go(func() {
			defer func() { <-slots }()
			if rejected != nil {
				s.write(rejected.answer)
				return
			}
			s.write(s.handler.Answer(s.ctx, query))
		})
	}
}

// next waits for a message for as long as it takes, and once its first byte is
// there, for patience. io.EOF is an end between messages.
//
// Some streams take no deadline any more when the other end has gone, net.Pipe
// for one. So what they say to it only counts where bytes are missing.
func (s *streamServer) next(r *bufio.Reader) ([]byte, error) {
	_ = s.conn.SetReadDeadline(time.Time{}) // if that fails, Peek tells why, in patience at most
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	refused := s.conn.SetReadDeadline(time.Now().Add(patience))
	if refused == nil {
		return readMessage(r, maxQuery)
	}
	message, err := readMessage(io.LimitReader(r, int64(r.Buffered())), maxQuery)
	if err == io.ErrUnexpectedEOF {
		return nil, refused
	}
	return message, err
}

// write sends an answer when it is its turn, or ends the stream that does not
// take it.
func (s *streamServer) write(answer []byte) {
	if answer == nil {
		return
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.ctx.Done():
		return
	}
	if s.writeErr != nil {
		return
	}
	s.writeErr = s.conn.SetWriteDeadline(time.Now().Add(patience))
	if s.writeErr == nil {
		s.writeErr = writeMessage(s.conn, answer)
	}
	if s.writeErr != nil {
		s.cancel()
	}
}

// readMessage reads a message and the two bytes of length in front of it (RFC
// 1035 §4.2.2). A stream that ends within it is io.ErrUnexpectedEOF.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, unexpected(err)
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	if size < headerSize || size > limit {
		return nil, fmt.Errorf("%w: it claims to have %d bytes", ErrMessage, size)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, unexpected(err)
	}
	return message, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeMessage sends length and message in one piece, since some askers take
// two for two messages (RFC 7766 §8).
func writeMessage(w io.Writer, message []byte) error {
	if len(message) < headerSize || len(message) > maxMessage {
		return fmt.Errorf("%w: it has %d bytes", ErrMessage, len(message))
	}
	framed := make([]byte, 0, 2+len(message))
	framed = binary.BigEndian.AppendUint16(framed, uint16(len(message)))
	_, err := w.Write(append(framed, message...))
	return err
}
