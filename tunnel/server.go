package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel/record"
)

// Defaults of Config.
const (
	DefaultSetupTimeout    = 10 * time.Second
	DefaultMaxStreams      = 100_000
	DefaultMaxPending      = 8192
	DefaultMaxPreAuthBytes = 8 << 10
)

// Config is what a Server needs. Handler is required.
type Config struct {
	// TLS comes from ServerTLS. A Server without serves Carried connections only, and
	// closes others.
	TLS *tls.Config
	// Handler gets every stream, once its handshake is done.
	Handler Handler
	// SetupTimeout bounds handshake and negotiation together, counted from
	// accept; zero means DefaultSetupTimeout, the time that a mail app woken
	// by a push has for everything.
	SetupTimeout time.Duration
	// MaxStreams is how many tunnels there may be at once; zero means
	// DefaultMaxStreams. Beyond it Succeed refuses.
	MaxStreams int
	// MaxPending is how many connections there may be beside them that are no
	// tunnels yet, or refused and lingering. For another one to come in then,
	// one of them is shed: out of a sample the oldest of those whose source
	// (an IPv4 address, or an IPv6 /64) has the most pending. So whoever fills
	// the server up alone makes room at his own expense only.
	//
	// Zero means DefaultMaxPending, or MaxStreams if that is less. A phone far
	// away takes half a second for its set-up: the default lets 16,000 of them
	// in a second, which is more than a dozen processors can shake hands with,
	// and leaves each of 1,000 strangers a second 8 s of time. It bounds what
	// strangers can have us hold: some 12 KiB each, 60 at the worst.
	//
	// The server's connections, and so its descriptors, are never more than
	// MaxStreams and MaxPending together, and one that Serve has in hand.
	MaxPending int
	// MaxPreAuthBytes is how many decrypted bytes are taken from a client whose
	// credential has not been accepted; zero means DefaultMaxPreAuthBytes.
	MaxPreAuthBytes int
	// Web, if there is one, takes the connections whose client speaks HTTP: it has
	// agreed by ALPN on one of WebProtocols, or on nothing and what it says first
	// is not SOCKS5. What it returns goes to Handler; nil means that the connection
	// is over. The context is as ServeTunnel's.
	Web func(context.Context, *Door) Negotiation
	// Records says whose TLS 1.3 record layer carries the streams.
	Records Records
	// Hooks tell what Handler does not see. Each may be nil.
	Hooks Hooks
}

// Hooks are called on the goroutine that the event happened on, and hold it up.
type Hooks struct {
	// Refused is told of a connection that failed, or was shed, before it came
	// to the Handler. Its Peer has no TLS facts.
	Refused func(Peer, *Refusal)
	// AcceptError is told of a failed accept, and how long the next one waits.
	AcceptError func(err error, backoff time.Duration)
	// Full is told whenever Succeed refuses since all of MaxStreams are taken.
	Full func()
	// NotTaken is told of a connection that our own record layer was to carry,
	// and that stays with crypto/tls, which is as good to the client. It means that
	// crypto/tls is not what we believe it to be, or a defect.
	NotTaken func(Peer, error)
	// Panicked is told of a Handler that panicked; only its stream is lost
	// then. With no hook the panic goes on and ends the process, since nobody
	// would hear of it otherwise. The value may hold anything.
	Panicked func(peer Peer, value any, stack []byte)
}

// Server accepts SOCKS5 over TLS, what other carriers bring, and what shares the port.
type Server struct {
	config Config
	room   chan struct{} // told when there may be room for one more pending

	mu      sync.Mutex // guards the rest; taken three times in a connection's life
	crowd   crowd
	serving map[*serveCall]struct{}
	state   serverState
	idle    chan struct{} // closed when a stopping server has nothing left; made by stop
}

// serverState only ever grows.
type serverState int

const (
	stateOpen     serverState = iota
	stateDraining             // no accepts; streams go on
	stateClosed               // streams are ended
)

// serveCall is one running Serve.
type serveCall struct {
	listener net.Listener
	stopped  chan struct{}      // closed by Shutdown and Close
	cancel   context.CancelFunc // ends the handlers' contexts
}

// NewServer checks config and fills in its defaults.
func NewServer(config Config) (*Server, error) {
	switch {
	case config.Handler == nil:
		return nil, errors.New("tunnel: server without handler")
	case config.TLS != nil && config.TLS.MinVersion < tls.VersionTLS12:
		return nil, errors.New("tunnel: server's TLS config does not come from ServerTLS")
	case config.SetupTimeout < 0 || config.MaxStreams < 0 || config.MaxPending < 0 || config.MaxPreAuthBytes < 0:
		return nil, errors.New("tunnel: negative limit")
	}
	if config.SetupTimeout == 0 {
		config.SetupTimeout = DefaultSetupTimeout
	}
	if config.MaxStreams == 0 {
		config.MaxStreams = DefaultMaxStreams
	}
	if config.MaxPending == 0 {
		config.MaxPending = min(DefaultMaxPending, config.MaxStreams)
	}
	if config.MaxPreAuthBytes == 0 {
		config.MaxPreAuthBytes = DefaultMaxPreAuthBytes
	}
	return &Server{
		config:  config,
		room:    make(chan struct{}, 1),
		crowd:   newCrowd(),
		serving: make(map[*serveCall]struct{}),
	}, nil
}

// Listen listens on a TCP address. Connections that it accepts send no
// keep-alive probes: each would wake a phone's radio.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	return config.Listen(ctx, "tcp", address)
}

// Serve accepts on l until Shutdown, Close or the end of ctx, which is as
// Close, and returns when the last stream of l is over. It closes l. Errors of
// accept are waited out, 5 ms to 1 s; only a listener that somebody else closed
// ends Serve.
//
// Connections that l accepts may be Carried.
//
// The error is nil after Shutdown or Close, and ctx's cause after its end. A
// Server may serve several listeners; they share its limits.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	streams, cancel := context.WithCancel(ctx)
	defer cancel()
	call := &serveCall{listener: l, stopped: make(chan struct{}), cancel: cancel}
	if !s.begin(call) {
		return errors.Join(errors.New("tunnel: server is stopped"), l.Close())
	}
	defer s.end(call)
	unwatch := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer unwatch()

	var running sync.WaitGroup
	crew := newCrew()
	defer crew.disband()
	err := s.accept(streams, call, crew, &running)
	_ = l.Close() // so that nobody waits in the kernel's queue meanwhile
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// accept runs until the call is stopped. It does not wait for tunnels to end:
// whoever queued in the kernel meanwhile would keep others out, and nobody
// could tell who.
func (s *Server) accept(ctx context.Context, call *serveCall, crew *crew, running *sync.WaitGroup) error {
	var wait backoff
	for !call.isStopped() {
		conn, err := call.listener.Accept()
		if err == nil {
			wait.reset()
			ctx, cancel := context.WithCancelCause(ctx)
			v := s.newVisitor(conn, running, cancel)
			if s.admit(call, v) {
				running.Add(1)
				crew.do(func() {
					defer running.Done()
					s.serveConn(ctx, v)
				})
			} else {
				v.close()
			}
			continue
		}
		if call.isStopped() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("tunnel: accept: %w", err)
		}
		pause := wait.next()
		if s.config.Hooks.AcceptError != nil {
			s.config.Hooks.AcceptError(err, pause)
		}
		call.sleep(pause)
	}
	return nil
}

// serveConn is the whole life of a connection that was admitted, or all of it up
// to where its tunnel needs no goroutine any more.
func (s *Server) serveConn(ctx context.Context, v *visitor) {
	defer s.part(v, v.cancel)

	peer := s.meet(v)
	n := s.greet(ctx, v, &peer)
	if n == nil {
		return
	}
	// Deny is the default; a second refusal does nothing.
	defer n.Refuse(&Refusal{Label: LabelUnanswered, Text: "the handler gave no answer"})
	if s.config.Hooks.Panicked != nil {
		defer s.survive(peer)
	}
	s.config.Handler.ServeTunnel(ctx, n)
}

// greet brings a connection to where its protocol is spoken. There is none to be
// spoken if it is nil.
func (s *Server) greet(ctx context.Context, v *visitor, peer *Peer) Negotiation {
	settle := func() error { return s.settle(v) }
	if carried, ok := v.conn.(Carried); ok {
		return &handingOut{Negotiation: carried.Negotiation(Admission{
			Peer: *peer, MaxPreAuthBytes: s.config.MaxPreAuthBytes,
			Settle: func() error { return settled(settle) },
		}), visitor: v}
	}
	if s.config.TLS == nil {
		return nil
	}
	w := newWire(v.conn)
	stream, err := s.shakeHands(ctx, peer, w)
	if err != nil {
		s.handshakeFailed(ctx, *peer, w, err)
		return nil
	}
	stream.belongsTo(v)
	if s.config.Web != nil {
		door := &Door{clientStream: stream, ctx: ctx, peer: *peer, settle: settle}
		if door.isWeb() {
			return s.config.Web(ctx, door)
		}
	}
	return &socksNegotiation{peer: *peer, stream: stream, settle: settle}
}

// part is the end of a connection, unless its tunnel has been leased to somebody
// who tells its end.
func (s *Server) part(v *visitor, cancel context.CancelCauseFunc) {
	s.mu.Lock()
	leased := v.tunnel != nil
	s.mu.Unlock()
	cancel(nil)
	if !leased {
		_ = v.conn.Close()
		s.leave(v)
	}
}

// shakeHands makes a client's connection a stream. The record layer behind the
// handshake is crypto/tls's, or our own if the config and the client agree on it.
func (s *Server) shakeHands(ctx context.Context, peer *Peer, w *wire) (clientStream, error) {
	var under net.Conn = w
	var tap *record.Tap
	if s.config.Records != StdRecords {
		tap = record.NewTap(w)
		under = tap
	}
	secured := tls.Server(under, s.config.TLS)
	// Whoever ends ctx cuts the connection as well, so crypto/tls need not spend a
	// goroutine on watching it.
	if err := secured.HandshakeContext(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	state := secured.ConnectionState()
	addTLS(peer, &state)
	if tap == nil {
		return newTLSStream(secured, w, s.config.MaxPreAuthBytes), nil
	}
	if !s.config.Records.wants(&state) {
		tap.Leave()
		return newTLSStream(secured, w, s.config.MaxPreAuthBytes), nil
	}
	codec := new(directCodec)
	ahead, taken, err := tap.Take(record.Server, &state, &codec.layer)
	if err != nil && s.config.Hooks.NotTaken != nil {
		s.config.Hooks.NotTaken(*peer, err)
	}
	if !taken {
		return newTLSStream(secured, w, s.config.MaxPreAuthBytes), nil
	}
	peer.Direct = true
	return newDirectStream(record.NewConn(w, &codec.layer, ahead), codec, w, s.config.MaxPreAuthBytes), nil
}

// meet sets a fresh connection up and says who it is from. No error matters: a
// connection that is gone already will say so when it is read.
func (s *Server) meet(v *visitor) Peer {
	conn := v.conn
	deadline := v.accepted.Add(s.config.SetupTimeout)
	_ = conn.SetDeadline(deadline)
	if carried, ok := conn.(Carried); ok {
		peer := carried.Peer()
		peer.Accepted, peer.Deadline = v.accepted, deadline
		return peer
	}
	peer := Peer{Carrier: CarrierSOCKS5, Accepted: v.accepted, Deadline: deadline}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(false) // the listener may not be from Listen
	}
	if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		peer.Remote = unmapped(addr)
	}
	if addr, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		peer.Local = unmapped(addr)
	}
	return peer
}

// unmapped is an address as the other carriers write it: a socket for both families
// gives IPv4 addresses in the form of IPv6.
func unmapped(addr *net.TCPAddr) netip.AddrPort {
	ap := addr.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func addTLS(peer *Peer, state *tls.ConnectionState) {
	peer.TLSVersion = state.Version
	peer.CipherSuite = state.CipherSuite
	peer.ServerName = SafeText(state.ServerName, 255)
	peer.ALPN = state.NegotiatedProtocol
	peer.Resumed = state.DidResume
}

var badRequest = []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

// handshakeFailed ends a connection that did not come to TLS.
func (s *Server) handshakeFailed(ctx context.Context, peer Peer, w *wire, err error) {
	refusal := handshakeRefusal(ctx, w, err)
	if s.config.Hooks.Refused != nil {
		s.config.Hooks.Refused(peer, refusal)
	}
	switch refusal.Label {
	case LabelNotTLS:
		if w.tellHTTP() {
			w.partWith(w, badRequest)
		}
	case LabelTLS:
		w.partWith(w, nil) // crypto/tls has sent its alert; let it arrive
	}
}

func handshakeRefusal(ctx context.Context, w *wire, err error) *Refusal {
	var header tls.RecordHeaderError
	if w.notTLS() || errors.As(err, &header) && header.Conn != nil {
		return &Refusal{Status: 400, Label: LabelNotTLS, Text: "TLS handshake: the client does not speak TLS", Err: err}
	}
	refusal := refuse(ctx, "TLS handshake", err)
	if refusal.Label == LabelConnection {
		refusal.Label = LabelTLS
	}
	return refusal
}

// survive is deferred around the handler.
func (s *Server) survive(peer Peer) {
	if value := recover(); value != nil {
		s.config.Hooks.Panicked(peer, value, debug.Stack())
	}
}
