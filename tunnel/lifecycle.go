package tunnel

import (
	"context"
	"time"
)

// Shutdown stops accepting and waits until the last stream is over, or ctx is;
// its error is ctx's then, and the streams go on until Close.
func (s *Server) Shutdown(ctx context.Context) error {
	idle := s.stop(stateDraining)
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops accepting, ends every stream and the handlers' contexts at once,
// and returns without waiting; Serve returns when the handlers have.
func (s *Server) Close() error {
	s.stop(stateClosed)
	return nil
}

// stop brings the server into a state that is at least target, and returns the
// channel that is closed when nothing is left.
func (s *Server) stop(target serverState) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		s.idle = make(chan struct{})
		for call := range s.serving {
			close(call.stopped)
			_ = call.listener.Close()
		}
		s.noteIdle()
	}
	if target > s.state {
		s.state = target
	}
	if target == stateClosed {
		for call := range s.serving {
			call.cancel()
		}
		for v := range s.crowd.all {
			v.end()
		}
	}
	return s.idle
}

// noteIdle closes s.idle when the last Serve of a stopping server has gone,
// and all of its streams with it. Called with mu held.
func (s *Server) noteIdle() {
	if s.idle != nil && len(s.serving) == 0 {
		close(s.idle)
	}
}

// begin enters a Serve; false means that the server is stopped.
func (s *Server) begin(call *serveCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return false
	}
	s.serving[call] = struct{}{}
	return true
}

func (s *Server) end(call *serveCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.serving, call)
	s.noteIdle()
}

func (c *serveCall) isStopped() bool {
	select {
	case <-c.stopped:
		return true
	default:
		return false
	}
}

// sleep waits for d, or less when the call is stopped.
func (c *serveCall) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.stopped:
	}
}

// backoff is how long to wait after failures in a row: 5 ms, doubled up to 1 s.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = min(max(2**b, backoff(5*time.Millisecond)), backoff(time.Second))
	return time.Duration(*b)
}

func (b *backoff) reset() { *b = 0 }
