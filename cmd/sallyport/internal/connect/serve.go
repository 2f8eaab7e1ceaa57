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

// How many applications' connections there may be at once; more wait in the
// kernel's queue. Streams of DNS have places of their own: it knows no passwords,
// so whoever is on the machine could take the proxies' places with them.
const (
	maxConnections = 4096
	maxDNSStreams  = 256
)

// The wait after failed accepts: doubled from the first to the last.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// Listen opens the SOCKS5 listener of Config.Listen, for Serve.
func (p *Proxy) Listen(ctx context.Context) (net.Listener, error) {
	return listen(ctx, socksFlag, p.listen)
}

// ListenHTTP opens the HTTP proxy's listener of Config.HTTPListen, for
// ServeHTTPProxy.
func (p *Proxy) ListenHTTP(ctx context.Context) (net.Listener, error) {
	return listen(ctx, httpFlag, p.httpListen)
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	if err := checkLoopback(flag, address); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return tunnel.Listen(ctx, address)
}

// Serve takes SOCKS5 connections on ln, which must be on loopback, until ctx
// ends, and then returns nil. The end of ctx ends the tunnels too. When Serve
// returns, its connections and goroutines are gone, and ln is closed.
//
// The listeners of one Proxy may be served at once. SOCKS5 and HTTP share their
// limit.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	return p.serve(ctx, ln, p.slots, p.serveSOCKS)
}

// serve does what Serve says for any protocol. Each connection is an element in
// slots.
func (p *Proxy) serve(ctx context.Context, ln net.Listener, slots chan struct{}, speak func(context.Context, tunnel.Stream)) error {
	if err := checkLoopback("a listener", ln.Addr().String()); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), ln.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer p.inside.use()()

	var running sync.WaitGroup
	err := p.accept(ctx, ln, slots, func(conn net.Conn) {
		running.Go(func() {
			defer func() { <-slots }()
			serveConn(ctx, conn, speak)
		})
	})
	_ = ln.Close()
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept runs until the listener is closed. It takes a slot first, so that what
// cannot be served is not accepted either.
func (p *Proxy) accept(ctx context.Context, ln net.Listener, slots chan struct{}, accepted func(net.Conn)) error {
	backoff := firstBackoff
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := ln.Accept()
		if err == nil {
			backoff = firstBackoff
			accepted(conn)
			continue
		}
		<-slots
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
func serveConn(ctx context.Context, conn net.Conn, speak func(context.Context, tunnel.Stream)) {
	defer conn.Close()
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer cut()
	if app, ok := conn.(tunnel.Stream); ok {
		speak(ctx, app)
	}
}
