package tunnel

import (
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel/deadline"
	"github.com/sallyport/sallyport/tunnel/internal/epoll"
)

// Tunnel is a client's stream and a service's, joined. Run is called once; Abort
// any time, by anybody.
type Tunnel interface {
	// Run moves bytes as Relay does. It may return before the tunnel is over:
	// Ended is called then, once, and both streams are closed when it is.
	Run(Ender)
	// Abort ends the tunnel at once, as the function of that name does a
	// stream: when it returns nothing moves any more.
	Abort()
}

// Ender is told of a tunnel's end, on a goroutine of its own, or on Run's.
type Ender interface{ Ended(Result) }

// RelaysHooks tell what no tunnel's account does. Each may be nil.
type RelaysHooks struct {
	// Panicked is told of a defect in a goroutine that moved bytes; only its
	// tunnel is lost then. With no hook the panic goes on and ends the process.
	Panicked func(value any, stack []byte)
	// Failed is told that waiting tunnels cannot be woken any more: the kernel
	// refused to say which. It means a defect.
	Failed func(error)
}

// Relays carries many tunnels. One that waits costs no goroutine, no buffer and
// no timer of its own where both of its streams have descriptors that we know how
// to use: TCP connections, and the streams that a [Server] gives. Others are
// relayed as [Relay] does, and by the zero Relays all are.
type Relays struct {
	hooks  RelaysHooks
	poller *epoll.Poller // nil where this system has none
	due    deadline.Queue
	began  time.Time    // the zero of the clock that limits go by
	held   atomic.Int64 // bytes of large buffers that wait for a slow receiver
}

// NewRelays starts what wakes tunnels. Close ends it.
func NewRelays(hooks RelaysHooks) (*Relays, error) {
	r := &Relays{hooks: hooks, began: time.Now()}
	failed := hooks.Failed
	if failed == nil {
		failed = func(error) {}
	}
	var err error
	r.poller, err = epoll.New(failed)
	if errors.Is(err, epoll.ErrUnsupported) {
		return r, nil
	}
	return r, err
}

// Close is for when the last tunnel is over.
func (r *Relays) Close() error {
	if r.poller == nil {
		return nil
	}
	return r.poller.Close()
}

// Join makes a tunnel of two streams, which are its own from here on.
func (r *Relays) Join(client, service Stream, l Limits) Tunnel {
	if t := r.park(client, service, l); t != nil {
		return t
	}
	return newRelay(client, service, l)
}

// now is the clock that limits go by; it is never zero.
func (r *Relays) now() time.Duration { return time.Since(r.began) + 1 }

// survive is deferred where a defect must not end more than what it is about.
// after runs in any case, between the recovery and the report.
func (r *Relays) survive(after func()) {
	value := recover()
	if value == nil {
		return
	}
	stack := debug.Stack()
	after()
	if r.hooks.Panicked == nil {
		panic(value)
	}
	r.hooks.Panicked(value, stack)
}
