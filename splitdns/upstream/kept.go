package upstream

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// idleLife is how long a connection without a question is kept (RFC 7766 §6.2.3
// leaves it to both sides; servers allow some ten seconds).
const idleLife = 10 * time.Second

// link is a connection that takes many queries at a time.
type link interface {
	// exchange puts one question. An error leaves the link alive or not.
	exchange(ctx context.Context, q Question, edns bool) (*query, []byte, error)
	// alive says whether it takes another question.
	alive() bool
	// close ends the link and whoever waits on it. It may be called twice.
	close()
}

// kept keeps one connection to a server between questions, and dials when there
// is none. One is what RFC 7766 §6.2.2 asks of clients, and enough, for queries
// do not wait for one another on it: they are sent at once and answered in any
// order. A pool of connections with one query each would be simpler, but costs
// a handshake for every question of a burst, and takes more of a server's few
// places for TCP than one client should have.
type kept struct {
	dial     func(ctx context.Context) (link, error)
	patience time.Duration // silence of a link that ends it

	turn chan struct{} // capacity 1: held while dialling, so that a burst dials once

	mu      sync.Mutex // guards the rest
	current *use
	closed  bool
}

// use counts who uses a link.
type use struct {
	link
	users int         // guarded by kept.mu
	idle  *time.Timer // runs while there are none
	heard atomic.Int64
	mute  atomic.Bool // ended because nothing was heard
}

func newKept(patience time.Duration, dial func(ctx context.Context) (link, error)) *kept {
	return &kept{dial: dial, patience: patience, turn: make(chan struct{}, 1)}
}

// exchange puts the question on the kept link. If that turns out dead, which a
// server may do to an idle link at any time, a new one is dialled, once.
func (k *kept) exchange(ctx context.Context, q Question, edns bool) (*query, []byte, error) {
	for again := false; ; again = true {
		used, fresh, err := k.get(ctx)
		if err != nil {
			return nil, nil, err
		}
		asked, answer, err := k.on(ctx, used, q, edns)
		if err == nil || fresh || again || used.alive() || ctx.Err() != nil {
			return asked, answer, err
		}
	}
}

// on puts the question on a link and gives the link back. One on which nothing
// at all was heard for long is taken for dead: a peer that vanished says so to
// nobody.
func (k *kept) on(ctx context.Context, used *use, q Question, edns bool) (*query, []byte, error) {
	defer k.done(used)
	started, heard := time.Now(), used.heard.Load()
	asked, answer, err := used.exchange(ctx, q, edns)
	if err == nil {
		used.heard.Add(1)
		return asked, answer, nil
	}
	if used.heard.Load() == heard && time.Since(started) >= k.patience {
		used.mute.Store(true)
		used.close()
	}
	if used.mute.Load() {
		err = errSilent // for everybody on it, however the end looked to him
	}
	return nil, nil, err
}

// get returns a link and whether it was dialled for the caller, who must call
// done.
func (k *kept) get(ctx context.Context) (used *use, fresh bool, err error) {
	if used, err := k.take(nil); used != nil || err != nil {
		return used, false, err
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if used, err := k.take(nil); used != nil || err != nil {
		return used, false, err // another has dialled meanwhile
	}
	dialled, err := k.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	used, err = k.take(dialled)
	return used, true, err
}

// take counts the caller to the current link, if that is alive; before that it
// makes a newly dialled one the current.
func (k *kept) take(dialled link) (*use, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		if dialled != nil {
			dialled.close()
		}
		return nil, ErrClosed
	}
	switch {
	case dialled != nil: // dead by now or not, it is the caller's
		used := &use{link: dialled}
		used.idle = time.AfterFunc(idleLife, func() { k.expire(used) })
		k.current = used
	case k.current == nil || !k.current.alive():
		return nil, nil
	}
	k.current.users++
	k.current.idle.Stop()
	return k.current, nil
}

func (k *kept) done(used *use) {
	k.mu.Lock()
	defer k.mu.Unlock()
	used.users--
	switch {
	case used.users > 0:
	case used != k.current || k.closed: // replaced when it could take no more
		used.close()
	default:
		used.idle.Reset(idleLife)
	}
}

// expire ends a link that was idle when its timer fired, and still is.
func (k *kept) expire(used *use) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if used.users == 0 {
		used.close()
	}
}

func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.current != nil {
		k.current.idle.Stop()
		k.current.close()
	}
}

// tlsConfig is what servers over TLS are held to: TLS 1.2 at least, AEAD only,
// and a certificate for the name or the address.
func tlsConfig(c *Config, server Server, protocols ...string) *tls.Config {
	return &tls.Config{
		RootCAs:    c.RootCAs,
		ServerName: server.certificateName(),
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all AEAD
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// dialTLS returns a connection whose handshake is done.
func dialTLS(ctx context.Context, dial dialFunc, addr string, config *tls.Config) (*tls.Conn, error) {
	raw, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}
