package splitdns

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// flights lets callers that want the same name at the same time share one
// look-up. Unlike the usual single flight, a look-up whose callers have all
// gone is cancelled at once, so it costs nothing to walk away.
type flights struct {
	mu     sync.Mutex // guards byName and the waiting of every flight
	byName map[string]*flight
}

// flight is one look-up under way.
//
//	share ──▶ waiting ≥ 1 ──▶ landed: addrs and err are set, done is closed
//	               │
//	               └──▶ waiting = 0: out of byName, cancelled; nobody reads the outcome
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	addrs   []netip.Addr // set before done is closed, and shared: not to be changed
	err     error
}

func (f *flights) init() {
	f.byName = make(map[string]*flight)
}

type lookUpFunc func(ctx context.Context, name string) ([]netip.Addr, error)

// share joins the flight for the name, or starts one, and waits for it or for
// the caller's context. The flight has the timeout and none of the caller's
// deadlines and values.
func (f *flights) share(ctx context.Context, name string, timeout time.Duration, lookUp lookUpFunc) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	own := f.join(name, timeout, lookUp)
	select {
	case <-own.done:
		return own.addrs, own.err
	case <-ctx.Done():
		f.leave(name, own)
		return nil, ctx.Err()
	}
}

func (f *flights) join(name string, timeout time.Duration, lookUp lookUpFunc) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under := f.byName[name]; under != nil {
		under.waiting++
		return under
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	started := &flight{waiting: 1, cancel: cancel, done: make(chan struct{})}
	f.byName[name] = started
	go f.fly(ctx, name, started, lookUp)
	return started
}

// fly ends with the look-up: by its answer, its timeout, or the last caller's
// leaving.
func (f *flights) fly(ctx context.Context, name string, own *flight, lookUp lookUpFunc) {
	defer own.cancel()
	own.addrs, own.err = lookUp(ctx, name)
	f.mu.Lock()
	f.forget(name, own)
	f.mu.Unlock()
	close(own.done)
}

func (f *flights) leave(name string, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own.waiting--
	if own.waiting == 0 {
		// Out of the map before it is cancelled, so that nobody joins a flight
		// that is about to fail.
		f.forget(name, own)
		own.cancel()
	}
}

// forget takes the flight out of the map unless another has taken its place.
// The caller holds the mutex.
func (f *flights) forget(name string, own *flight) {
	if f.byName[name] == own {
		delete(f.byName, name)
	}
}
