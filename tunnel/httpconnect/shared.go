package httpconnect

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// shared is an HTTP/2 or HTTP/3 connection: what its requests have in common.
type shared struct {
	carrier *Carrier
	peer    tunnel.Peer // but for where the client is now, and whose the connection is
	owner   tunnel.Owner
	at      endpoints
	// keep makes the connection one of a known client. It is called once, when the
	// first of its requests has been granted.
	keep func() error
	// open takes a request that has been told of success for a tunnel's stream.
	open func(*exchange) (body, error)
	// end closes the connection. It does not wait.
	end func()

	questions chan struct{} // an element for each that is being asked

	known    sync.Once
	knownErr error

	mu       sync.Mutex // guards the rest
	streams  int        // requests that a server has, or may get
	tunnels  int        // those of them that have been granted
	failures int        // requests of a stranger that are over
	// enough is called when a stranger's failures are maxFailures. It is nil for a
	// client that is known, and where the bound on a stranger's bytes comes first.
	enough   func()
	idle     *time.Timer
	lateUsed bool // a set-up's time was granted beside
}

// endpoints are where a connection is, at the moment.
type endpoints interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// maxFailures is how many requests may come to nothing on a stranger's connection,
// where nothing else bounds them: with each goes a try of a ticket.
const maxFailures = 16

// watch begins to bound how long the connection carries no tunnel. The library's own
// bound comes first, and says goodbye; but it counts requests that are none.
func (s *shared) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = time.AfterFunc(s.idleBound(), s.look)
}

func (s *shared) idleBound() time.Duration { return s.carrier.config.Idle + time.Second }

// unwatch is for when the connection is over.
func (s *shared) unwatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.Stop()
	s.idle = nil
}

// look is called when the connection has carried no tunnel for so long. A request
// that came just before gets its time, once.
func (s *shared) look() {
	s.mu.Lock()
	stay := s.idle == nil || s.tunnels > 0 // it is over, or one came in between
	if !stay && s.streams > 0 && !s.lateUsed {
		stay, s.lateUsed = true, true
		s.idle.Reset(tunnel.DefaultSetupTimeout)
	}
	s.mu.Unlock()
	if !stay {
		s.end()
	}
}

func (s *shared) asking() chan struct{} { return s.questions }

// served counts a request that is over.
func (s *shared) served() {
	s.mu.Lock()
	s.failures++
	enough := s.enough
	if s.failures != maxFailures {
		enough = nil
	}
	s.mu.Unlock()
	if enough != nil {
		enough()
	}
}

// LocalAddr and RemoteAddr are the connection's.
func (s *shared) LocalAddr() net.Addr  { return s.at.LocalAddr() }
func (s *shared) RemoteAddr() net.Addr { return s.at.RemoteAddr() }

// peerNow is who dialled, from where he is now.
func (s *shared) peerNow() tunnel.Peer {
	peer := s.peer
	peer.Owner = &s.owner
	if now := addrPort(s.RemoteAddr()); now.IsValid() {
		peer.Remote = unmapped(now)
	}
	if now := addrPort(s.LocalAddr()); now.IsValid() {
		peer.Local = unmapped(now)
	}
	return peer
}

// granted is told of each request that may succeed. The error is a *tunnel.Refusal.
func (s *shared) granted() error {
	s.known.Do(func() { s.knownErr = s.keep() })
	return s.knownErr
}

// ServeHTTP serves one request: it brings a CONNECT to the server, and waits as long
// as the library wants it to.
func (s *shared) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.served()
	switch {
	case r.Method != http.MethodConnect && s.carrier.isDNS(r):
		s.carrier.answerDNS(s.peerNow(), r, s).send(w)
		return
	case r.Method != http.MethodConnect:
		takeBody(w, r)
		if s.isElsewhere(r) {
			noPlainProxy().send(w)
		} else {
			nothingHere().send(w)
		}
		return
	}
	place, free := s.enter()
	if !free {
		busy().send(w)
		return
	}
	e := newExchange(s, place, w, r)
	if !s.carrier.offer(r.Context(), e) {
		_ = e.Close()
	}
	e.wait()
}

// What is read of a body that nobody wants, at most, and waited for.
const (
	maxDrained = 4 << 10
	drainTime  = time.Second
)

// takeBody takes a short body out of the way of the answer. The libraries would reset the
// stream behind the answer to be spared the rest, as RFC 9113 §8.1 has it, and clients
// that read both at once call that an error.
func takeBody(w http.ResponseWriter, r *http.Request) {
	if http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
	}
}

// isElsewhere tells a request for a page of another host than the one that the client
// dialled. HTTP/2 and HTTP/3 have no absolute form, and the libraries keep the scheme
// to themselves.
func (s *shared) isElsewhere(r *http.Request) bool {
	host := (&url.URL{Host: r.Host}).Hostname()
	return s.peer.ServerName != "" && !strings.EqualFold(strings.TrimSuffix(host, "."), s.peer.ServerName)
}

func busy() answer {
	return tell(http.StatusServiceUnavailable, sentences[http.StatusServiceUnavailable])
}

// addrPort is zero over anything but TCP and UDP.
func addrPort(addr net.Addr) netip.AddrPort {
	if from, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
		return from.AddrPort()
	}
	return netip.AddrPort{}
}

// unmapped makes an IPv4 address in IPv6 form IPv4.
func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
