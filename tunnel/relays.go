package tunnel

import (
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel/deadline"
	"github.com/sallyport/sallyport/tunnel/internal/epoll"
)

// Tunnel is a client's stream and a service's, joined.
type Tunnel interface {
	// Abort ends the tunnel at once, as the function of that name does a
	// stream: when it returns nothing moves any more. Anybody may call it, at any
	// time.
	Abort()
}

// Ender is told of a tunnel's beginning and end, each once.
type Ender interface {
	// Joined is told before the first byte moves, on Run's goroutine. Whoever
	// wants to end the tunnel has to remember it; the streams are of no more use.
	Joined(Tunnel)
	// Ended is told when the tunnel is over and both streams are closed: on a
	// goroutine of the tunnel's, or on Run's.
	Ended(Result)
}

// joined is a tunnel that has not begun yet.
type joined interface {
	Tunnel
	run(Ender)
}

// RelaysHooks tell what no tunnel's account does. Each may be nil.
type RelaysHooks struct {
	// Panicked is told of a defect in a goroutine that moved bytes; only its
	// tunnel is lost then. With no hook the panic goes on and ends the process.
	Panicked func(value any, stack []byte)
	// Unwatched is told that the kernel does not watch one more tunnel, which is
	// lost: for want of memory, or by fs.epoll.max_user_watches (epoll(7)).
	Unwatched func(error)
	// Failed is told that waiting tunnels cannot be woken any more: the kernel
	// refused to say which. It means a defect, and whoever is told has to end them.
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
	var err error
	r.poller, err = epoll.New(hooks.Failed)
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

// Run makes a tunnel of two streams, and moves bytes between them as Relay does. It
// may return long before the tunnel is over.
func (r *Relays) Run(client, service Stream, l Limits, e Ender) {
	t := r.join(client, service, l)
	e.Joined(t)
	t.run(e)
}

// join makes a tunnel of two streams, which are its own from here on.
func (r *Relays) join(client, service Stream, l Limits) joined {
	if t := r.park(client, service, l); t != nil {
		return t
	}
	t := newRelay(client, service, l)
	t.survive = r.survive
	if of, ok := client.(interface{ holder() *visitor }); ok {
		if t.holder = of.holder(); t.holder != nil {
			t.holder.lease(t) // last: from here on others may abort it
		}
	}
	return t
}

// tell says what keeps a tunnel from being woken.
func (r *Relays) tell(err error) {
	if r.hooks.Unwatched != nil {
		r.hooks.Unwatched(err)
	}
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
