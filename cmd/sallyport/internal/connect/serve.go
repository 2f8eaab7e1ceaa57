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

// ErrStopped is returned by Serve after Shutdown.
var ErrStopped = errors.New("connect: the proxy is stopped")

// Listen opens the local listener of Config.Listen, for Serve.
func (p *Proxy) Listen(ctx context.Context) (net.Listener, error) {
	if err := checkLoopback(p.listen); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return tunnel.Listen(ctx, p.listen)
}

// ListenAndServe is Listen and Serve.
func (p *Proxy) ListenAndServe(ctx context.Context) error {
	ln, err := p.Listen(ctx)
	if err != nil {
		return err
	}
	return p.Serve(ctx, ln)
}

// Addr is where the proxy listens; nil before Serve, and after it the last one.
func (p *Proxy) Addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// serveCall is one running Serve.
type serveCall struct {
	listener net.Listener
	cancel   context.CancelFunc // ends its connections
	over     chan struct{}      // closed when it returns
}

// Serve takes connections on ln, which must be on loopback, until ctx ends or
// Shutdown is called, and then returns nil. The end of ctx ends the tunnels
// too. When Serve returns, its connections and goroutines are gone, and ln is
// closed.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if err := checkLoopback(ln.Addr().String()); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), ln.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := &serveCall{listener: ln, cancel: cancel, over: make(chan struct{})}
	if !p.begin(call) {
		return errors.Join(ErrStopped, ln.Close())
	}
	defer p.end(call)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()

	var running sync.WaitGroup
	err := p.accept(ctx, ln, &running)
	_ = ln.Close()
	running.Wait()
	if ctx.Err() != nil || p.isStopping() {
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

// Shutdown stops accepting and waits for the tunnels to end; when ctx ends
// first, it ends them and returns ctx's error.
func (p *Proxy) Shutdown(ctx context.Context) error {
	var err error
	for _, call := range p.stop() {
		select {
		case <-call.over:
		case <-ctx.Done():
			err = ctx.Err()
			call.cancel()
			<-call.over
		}
	}
	return err
}

// stop closes the listeners and returns the calls that are still to end.
func (p *Proxy) stop() []*serveCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	calls := make([]*serveCall, 0, len(p.serving))
	for call := range p.serving {
		calls = append(calls, call)
		_ = call.listener.Close()
	}
	return calls
}

func (p *Proxy) begin(call *serveCall) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return false
	}
	p.addr = call.listener.Addr()
	p.serving[call] = struct{}{}
	return true
}

func (p *Proxy) end(call *serveCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.serving, call)
	close(call.over)
}

func (p *Proxy) isStopping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping
}
