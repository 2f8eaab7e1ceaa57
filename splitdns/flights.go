package splitdns

import (
	"context"
	"errors"
	"sync"
	"time"
)

var errClosed = errors.New("the resolver is closed")

// flights lets callers that want the same thing at the same time share one
// look-up. Unlike the usual single flight, a look-up whose callers have all
// gone is cancelled at once, so it costs nothing to walk away; unless one of
// them asked for its end to be kept for those who come later.
type flights[K comparable, V any] struct {
	ctx    context.Context // of all flights; ended by close
	cancel context.CancelFunc
	aloft  sync.WaitGroup // the goroutines

	mu    sync.Mutex // guards what follows, and waiting and kept of every flight
	byKey map[K]*flight[V]
	alone int  // flights in byKey that nobody waits for
	over  bool // closed: none starts
}

// maxAlone bounds the flights that go on without callers. Whoever asks for names
// whose servers keep silent in one family leaves a flight behind each time, and
// must not come to hold all the places that a group of servers has.
const maxAlone = 256

// flight is one look-up under way.
//
//	join ──▶ waiting ≥ 1 ──▶ landed: value and err are set, done is closed
//	              │                                    ▲
//	              ├──▶ waiting = 0, kept: goes on ─────┘ (join finds it; at most maxAlone)
//	              │
//	              └──▶ waiting = 0: out of byKey, cancelled; nobody reads the outcome
type flight[V any] struct {
	began   time.Time
	waiting int
	kept    bool
	cancel  context.CancelFunc
	done    chan struct{}
	value   V // set before done is closed, and shared: not to be changed
	err     error
}

func newFlights[K comparable, V any]() *flights[K, V] {
	ctx, cancel := context.WithCancel(context.Background())
	return &flights[K, V]{ctx: ctx, cancel: cancel, byKey: make(map[K]*flight[V])}
}

// join joins the flight for the key, or starts one. Whoever joined waits for
// done, or calls leave. The flight has the timeout and none of its callers'
// deadlines and values.
func (f *flights[K, V]) join(key K, timeout time.Duration, lookUp func(context.Context, K) (V, error)) (*flight[V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil, errClosed
	}
	if under := f.byKey[key]; under != nil {
		if under.waiting == 0 {
			f.alone--
		}
		under.waiting++
		return under, nil
	}
	ctx, cancel := context.WithTimeout(f.ctx, timeout)
	started := &flight[V]{began: time.Now(), waiting: 1, cancel: cancel, done: make(chan struct{})}
	f.byKey[key] = started
	f.aloft.Go(func() { f.fly(ctx, key, started, lookUp) })
	return started, nil
}

// fly ends with the look-up: by its answer, its timeout, the last caller's
// leaving, or close.
func (f *flights[K, V]) fly(ctx context.Context, key K, own *flight[V], lookUp func(context.Context, K) (V, error)) {
	defer own.cancel()
	own.value, own.err = lookUp(ctx, key)
	f.mu.Lock()
	if f.byKey[key] == own && own.waiting == 0 {
		f.alone--
	}
	f.forget(key, own)
	f.mu.Unlock()
	close(own.done)
}

// leave is for a caller that waits no longer. With keep, the flight goes on
// even without callers, to its answer or its timeout, if not too many do.
func (f *flights[K, V]) leave(key K, own *flight[V], keep bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own.waiting--
	own.kept = own.kept || keep
	switch {
	case own.waiting > 0, f.byKey[key] != own: // others wait, or it has landed
	case own.kept && f.alone < maxAlone:
		f.alone++
	default:
		// Out of the map before it is cancelled, so that nobody joins a flight
		// that is about to fail.
		f.forget(key, own)
		own.cancel()
	}
}

// forget takes the flight out of the map unless another has taken its place.
// The caller holds the mutex.
func (f *flights[K, V]) forget(key K, own *flight[V]) {
	if f.byKey[key] == own {
		delete(f.byKey, key)
	}
}

// close cancels all flights and waits for their goroutines.
func (f *flights[K, V]) close() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.cancel()
	f.aloft.Wait()
}
