package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
)

// maxStrangers bounds the connections that have not proved anything yet, or are
// about to be told that the agent is busy.
const maxStrangers = 64

// errCrowd is what becomes of a stranger who gives way.
var errCrowd = errors.New("it proved nothing while others came")

// strangers are the connections that have proved nothing yet. When there are as many
// as may be, one of them gives way to the one that comes, whichever it is: who waits
// keeps nobody out, and who comes again and again does not keep out everybody, as he
// would if the oldest gave way. Whoever holds the key proves it within a round trip or
// three, and may try again.
type strangers struct {
	slots chan struct{} // one for each that has not ended, those that gave way among them

	mu      sync.Mutex
	waiting []*stranger // guarded by mu
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
		i := rand.IntN(maxStrangers)
		s.waiting[i].end(errCrowd)
		s.waiting = slices.Delete(s.waiting, i, i+1)
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
