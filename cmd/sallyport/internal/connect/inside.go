package connect

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sallyport/sallyport/splitdns/stub"
)

const (
	// insideTunnels bounds the tunnels to the gateway's DNS. Each carries one
	// question at a time, so it bounds those too. A gateway allows a ticket 8, and
	// counts one that was given up until its look-up is over, or a lost one for a
	// minute: there must be room for new ones beside all of these.
	insideTunnels = 4
	// insideIdle is how long a tunnel is kept that nobody asks through.
	insideIdle = 30 * time.Second
)

// inside asks the gateway's DNS, through tunnels that are kept while in use.
type inside struct {
	open  func(context.Context) (net.Conn, error)
	slots chan struct{} // one element a question under way

	mu    sync.Mutex
	idle  []*kept // the longest idle first
	users int     // without any, no tunnel is kept
}

// kept is an idle tunnel. Whoever takes it out of the list has it.
type kept struct {
	net.Conn
	expiry *time.Timer
}

func newInside(open func(context.Context) (net.Conn, error)) *inside {
	return &inside{open: open, slots: make(chan struct{}, insideTunnels)}
}

// exchange asks. The gateway may have ended a tunnel that was kept, which shows
// only now, so after one of those a fresh one is tried.
func (i *inside) exchange(ctx context.Context, wire []byte) ([]byte, error) {
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("all tunnels to the gateway's DNS are busy: %w", ctx.Err())
	}
	if conn := i.take(); conn != nil {
		if answer, err := i.askOver(ctx, conn, wire); err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	conn, err := i.open(ctx)
	if err != nil {
		return nil, err
	}
	return i.askOver(ctx, conn, wire)
}

func (i *inside) askOver(ctx context.Context, conn net.Conn, wire []byte) ([]byte, error) {
	answer, err := stub.Exchange(ctx, conn, wire)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	i.keep(conn)
	return answer, nil
}

// take returns the tunnel that was used last, nil if there is none.
func (i *inside) take() net.Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.idle) == 0 {
		return nil
	}
	last := i.idle[len(i.idle)-1]
	i.idle = i.idle[:len(i.idle)-1]
	last.expiry.Stop()
	return last.Conn
}

func (i *inside) keep(conn net.Conn) {
	k := &kept{Conn: conn}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.users == 0 {
		_ = conn.Close()
		return
	}
	k.expiry = time.AfterFunc(insideIdle, func() { i.expire(k) })
	i.idle = append(i.idle, k)
}

// expire closes a tunnel, unless it has been taken meanwhile.
func (i *inside) expire(k *kept) {
	i.mu.Lock()
	found := false
	for n, other := range i.idle {
		if other == k {
			i.idle = append(i.idle[:n], i.idle[n+1:]...)
			found = true
			break
		}
	}
	i.mu.Unlock()
	if found {
		_ = k.Close()
	}
}

// use lets tunnels be kept until release. With the last user's they are closed,
// and those under way then when they would be kept.
func (i *inside) use() (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users++
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.users--; i.users > 0 {
			return
		}
		for _, k := range i.idle {
			k.expiry.Stop()
			_ = k.Close()
		}
		i.idle = nil
	}
}
