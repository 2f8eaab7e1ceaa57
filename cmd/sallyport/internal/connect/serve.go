package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// maxConnections is how many applications' connections there may be at once;
// more wait in the kernel's queue.
const maxConnections = 4096

// The wait after failed accepts: doubled from the first to the last.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// Listen opens the local listener of Config.Listen, for Serve.
func (p *Proxy) Listen(ctx context.Context) (net.Listener, error) {
	if err := checkLoopback(p.listen); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return tunnel.Listen(ctx, p.listen)
}

// Serve takes connections on ln, which must be on loopback, until ctx ends, and
// then returns nil. The end of ctx ends the tunnels too. When Serve returns, its
// connections and goroutines are gone, and ln is closed.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if err := checkLoopback(ln.Addr().String()); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), ln.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()

	var running sync.WaitGroup
	err := p.accept(ctx, ln, &running)
	_ = ln.Close()
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept runs until the listener is closed. It takes a slot first, so that what
// cannot be served is not accepted either.
func (p *Proxy) accept(ctx context.Context, ln net.Listener, running *sync.WaitGroup) error {
	backoff := firstBackoff
	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := ln.Accept()
		if err == nil {
			backoff = firstBackoff
			running.Go(func() { p.serveConn(ctx, conn) })
			continue
		}
		<-p.slots
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("connect: accept: %w", err)
		}
		if p.hooks.AcceptError != nil {
			p.hooks.AcceptError(err, backoff)
		}
		if !pause(ctx, backoff) {
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveConn bounds one connection's life by ctx: when its near side is closed,
// Relay closes the far one.
func (p *Proxy) serveConn(ctx context.Context, conn net.Conn) {
	defer func() { <-p.slots }()
	defer conn.Close()
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer cut()
	if app, ok := conn.(tunnel.Stream); ok {
		p.handle(ctx, app)
	}
}
