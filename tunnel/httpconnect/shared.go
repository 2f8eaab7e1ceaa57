package httpconnect

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// shared is an HTTP/2 or HTTP/3 connection: what its requests have in common.
type shared struct {
	carrier       *Carrier
	peer          tunnel.Peer
	local, remote net.Addr
	// keep makes the connection one of a known client. It is called once, when the
	// first of its requests has been granted.
	keep func() error
	// open takes a request that has been told of success for a tunnel's stream.
	open func(*exchange) (body, error)
	// end closes the connection.
	end func()

	known    sync.Once
	knownErr error

	mu      sync.Mutex // guards the rest
	streams int        // requests that a server has, or may get
	idle    *time.Timer
}

// watch begins to bound how long the connection carries no tunnel. The library's own
// bound comes first, and says goodbye; but it counts requests that are none.
func (s *shared) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = time.AfterFunc(s.carrier.config.Idle+time.Second, s.end)
}

// unwatch is for when the connection is over.
func (s *shared) unwatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.Stop()
	s.idle = nil
}

// enter counts one more request; false means that there are too many. The library
// bounds those that the client has under way; some more may be over for the client,
// who has reset them, and not yet for the server.
func (s *shared) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= 2*s.carrier.config.MaxStreams {
		return false
	}
	s.streams++
	if s.idle != nil {
		s.idle.Stop()
	}
	return true
}

func (s *shared) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams--; s.streams == 0 && s.idle != nil {
		s.idle.Reset(s.carrier.config.Idle + time.Second)
	}
}

// LocalAddr and RemoteAddr are the connection's.
func (s *shared) LocalAddr() net.Addr  { return s.local }
func (s *shared) RemoteAddr() net.Addr { return s.remote }

// granted is told of each request that may succeed. The error is a *tunnel.Refusal.
func (s *shared) granted() error {
	s.known.Do(func() { s.knownErr = s.keep() })
	return s.knownErr
}

// ServeHTTP serves one request: it brings a CONNECT to the server, and waits as long
// as the library wants it to.
func (s *shared) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodConnect && s.carrier.isDNS(r):
		s.carrier.answerDNS(s.peer, r, s).send(w)
		return
	case r.Method != http.MethodConnect:
		nothingHere().send(w)
		return
	case !s.enter():
		busy().send(w)
		return
	}
	e := newExchange(s, w, r)
	if !s.carrier.offer(r.Context(), e) {
		_ = e.Close()
	}
	e.wait()
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
