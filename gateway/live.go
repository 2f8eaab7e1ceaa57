package gateway

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/deadline"
)

// Ended is why the gateway itself ended a tunnel.
type Ended string

const (
	// EndedRevoked: the ticket was revoked, or is held back until its turn.
	EndedRevoked Ended = "revoked"
	// EndedKey: the key that signed the ticket is no longer the authority's.
	EndedKey Ended = "key_revoked"
	// EndedExpired: the ticket expired.
	EndedExpired Ended = "expired"
	// EndedShutdown: the gateway was stopped.
	EndedShutdown Ended = "shutdown"
)

// live is a tunnel that somebody else may end.
//
//	enter ──► service known ──join──► tunnel known ──leave──► gone
//	              └──────── end ─────────┘
type live struct {
	// The registry's, under its lock.
	ticket        *held // nil once the tunnel has left
	before, after *live // the ticket's other tunnels

	dns <-chan struct{} // closed when the gateway's DNS behind it serves no more; nil: it leads elsewhere

	// Of a tunnel whose client was told of success.
	gateway *Gateway
	attempt *Attempt
	opened  time.Time

	mu      sync.Mutex    // guards the rest
	over    bool          // it has ended, by whomever
	service tunnel.Stream // until join
	tunnel  tunnel.Tunnel // from then on
	cause   Ended         // "" until end; the first cause stays
	expires time.Time     // when its ticket ends it
	expiry  deadline.Entry
}

// end cuts both sides off, without a goodbye: what the kernel still holds for
// the client is not for it any more, and a client that takes nothing must not
// hold up the next tunnel's end. The relay notices and returns. It tells whether
// it was this call that ended the tunnel.
func (l *live) end(cause Ended) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != "" {
		return false
	}
	l.cause = cause
	if l.tunnel != nil {
		l.tunnel.Abort()
	} else {
		tunnel.Abort(l.service)
	}
	return true
}

// join makes it the tunnel that is to end. If that was to happen already, it is
// ended at once.
func (l *live) join(t tunnel.Tunnel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tunnel, l.service = t, nil
	if l.cause != "" {
		t.Abort()
	}
}

// isJoined tells whether the tunnel has begun, so that its end will be told.
func (l *live) isJoined() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tunnel != nil
}

// ended is the cause, or "" for a tunnel that ended by itself.
func (l *live) ended() Ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// minShare is how many tunnels are worth a goroutine to close them.
const minShare = 64

// endEach closes tunnels outside the registry's lock, since each close waits for
// the relay that reads to let go, and on all processors, since that pays: two that
// are free take 0.6 of the time of one, which closes 2,000 tunnels in 0.1 s. When
// it returns all are closed, and it says how many it was that ended them.
func endEach(tunnels []*live, cause Ended) int {
	var ended atomic.Int64
	var closing sync.WaitGroup
	processors := runtime.GOMAXPROCS(0)
	share := max(minShare, (len(tunnels)+processors-1)/processors)
	for part := range slices.Chunk(tunnels, share) {
		closing.Go(func() {
			for _, l := range part {
				if l.end(cause) {
					ended.Add(1)
				}
			}
		})
	}
	closing.Wait()
	return int(ended.Load())
}
