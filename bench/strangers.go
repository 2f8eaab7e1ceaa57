package bench

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// maxStrangers bounds the connections that have not proved anything yet, or are
// about to be told that the agent is busy.
const maxStrangers = 64

// errCrowd is what becomes of the oldest stranger when one more comes.
var errCrowd = errors.New("it proved nothing while others came")

// strangers are the connections that have proved nothing yet. When there are as many
// as may be, the oldest gives way to the one that comes: whoever holds the key proves
// it within a round trip or three, so those who wait are those who do not hold it, and
// can keep nobody out by waiting.
type strangers struct {
	slots chan struct{} // one for each that has not ended, those that gave way among them

	mu      sync.Mutex
	waiting []*stranger // the oldest first; guarded by mu
}

type stranger struct{ end context.CancelCauseFunc }

func newStrangers() *strangers {
	return &strangers{slots: make(chan struct{}, maxStrangers)}
}

// admit takes in one that has just come. Its context ends when it has to give way, and
// in any case proveTime from now; leave is to be called, once or more often, when it is
// a stranger no more. An error is ctx's.
func (s *strangers) admit(ctx context.Context) (proving context.Context, leave func(), err error) {
	within, cancel := context.WithTimeout(ctx, proveTime)
	proving, end := context.WithCancelCause(within)
	newest := &stranger{end}
	s.mu.Lock()
	if len(s.waiting) == maxStrangers {
		s.waiting[0].end(errCrowd)
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
	s.waiting = append(s.waiting, newest)
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting = slices.DeleteFunc(s.waiting, func(have *stranger) bool { return have == newest })
		cancel()
	}
	select {
	case s.slots <- struct{}{}: // at once, or when the one that gave way has ended
		return proving, sync.OnceFunc(func() { gone(); <-s.slots }), nil
	case <-ctx.Done():
		gone()
		return nil, nil, context.Cause(ctx)
	}
}
