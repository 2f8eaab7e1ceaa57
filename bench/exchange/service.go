package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Service answers asks. The zero value is ready to Serve; it must not be copied, nor
// its fields changed once it serves.
type Service struct {
	// Rate is how many bytes of bodies a second it is willing to read and write, all
	// connections together: a slow sink. 0 sets no limit.
	Rate int64
	// Extra is added to every answer. It counts as late.
	Extra time.Duration
	// Stall is for how long a body may stand still before the connection is given
	// up, or a quarter more, so that dead clients keep no buffers; 0 means a minute. A
	// connection without an ask may be silent for ever.
	Stall time.Duration
	// Most is how many connections it serves at a time. What comes beyond is closed at
	// once, and counted (Account.TurnedAway). 0 means three quarters of the descriptors
	// that the process may have when it begins to serve (RLIMIT_NOFILE, the hard one, ulimit -Hn): a
	// quarter is left to whatever else the process does.
	Most int

	books   books
	buffers buffers
	valve   valve
}

// Serve answers on connections of l until ctx ends; then it closes l and all of them,
// and returns nil once none is left. Accept errors are waited out. For idle
// connections without traffic, listen with keep-alives off (net.ListenConfig).
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer stop()
	defer cancel()
	most := s.most()
	var pause time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("exchange: accepting: %w", err)
		case err != nil:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			sleep(ctx, pause)
			continue
		}
		pause = 0
		if s.books.open() >= most {
			s.books.turnedAway.Add(1)
			_ = conn.Close()
			continue
		}
		s.books.connections.Add(1)
		sessions.Go(func() { s.answer(ctx, conn) })
	}
}

func (s *Service) most() uint64 {
	if s.Most > 0 {
		return uint64(s.Most)
	}
	const all = 1 << 20 // without a limit of descriptors memory is one
	return uint64(max(1, min(descriptors()/4*3, all)))
}

// answer serves one connection to its end.
func (s *Service) answer(ctx context.Context, conn net.Conn) {
	defer s.books.ended.Add(1)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	e := &session{Service: s, conn: conn, meter: newMeter(conn)}
	for {
		if err := e.readHead(); err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.books.failed.Add(1) // reset, or half a head
			}
			return
		}
		if err := e.exchange(ctx); err != nil {
			if ctx.Err() == nil {
				s.books.failed.Add(1)
			}
			return
		}
		s.books.asks.Add(1)
	}
}

// headTime is how long the rest of a head may take: idle is who has begun none.
const headTime = 30 * time.Second

// readHead waits for a head as long as it does not begin. io.EOF is a client that has
// ended.
func (e *session) readHead() error {
	n, err := io.ReadAtLeast(e.conn, e.head[:], 1)
	if err != nil || n == len(e.head) {
		return err
	}
	_ = e.conn.SetReadDeadline(time.Now().Add(headTime))
	defer func() { _ = e.conn.SetReadDeadline(time.Time{}) }()
	if _, err = io.ReadFull(e.conn, e.head[n:]); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// valve lets through so many bytes a second.
type valve struct {
	mu   sync.Mutex
	free time.Time // when all that was let through has passed
}

// delay is how long n bytes more have to wait.
func (v *valve) delay(n, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.free.Before(now) {
		v.free = now
	}
	v.free = v.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return v.free.Sub(now)
}

// sleep is over when d has passed or ctx has ended.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
