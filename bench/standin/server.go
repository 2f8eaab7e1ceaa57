package standin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the listener itself. A request has stall to send its body, and as
// long again to take its answer; whatever may last longer (a held Ping, an EWS stream, a bulk
// transfer) moves its own deadlines, so that only a peer that stands still is
// cut off.
const (
	headerTimeout = 10 * time.Second
	stall         = 30 * time.Second
	idleTimeout   = 10 * time.Minute
	maxHeader     = 32 << 10
)

// ErrNoTLS is returned by Serve when Config.TLS is nil: a mail server in plain
// text would hide what the tunnel is for.
var ErrNoTLS = errors.New("standin: no TLS configuration")

// Config is all that a stand-in needs.
type Config struct {
	// TLS holds the certificate for the names the stand-in is reached by.
	// Required. It is cloned; "h2" and "http/1.1" are offered by ALPN.
	TLS *tls.Config
	// Hooks are called as things happen. Nil means nobody listens.
	Hooks *Hooks
	// ErrorLog takes what net/http has to say (failed handshakes, panics).
	// Nil means silence.
	ErrorLog *log.Logger
}

// Hooks tell what the stand-in does. Each may be nil. They are called on the
// request's own goroutine, several at a time, and must not block.
type Hooks struct {
	// Request is called once an answer has been written.
	Request func(Request)
	// Holding is called when a Ping or an EWS stream begins to wait; from then
	// on a Notify reaches it.
	Holding func(Kind)
}

// Request is one answered request. It holds no text of the client's.
type Request struct {
	Kind   Kind
	Status int
	Took   time.Duration
}

// Server is a stand-in mail server. Make one with New.
type Server struct {
	cfg     Config
	http    *http.Server
	mail    *mailbox
	devices *devices
	subs    *subscriptions

	counts  [kinds]atomic.Uint64
	holding atomic.Int64

	closing   chan struct{} // closed by Shutdown: whoever holds lets go
	closeOnce sync.Once
}

// New returns a server that has not begun to serve.
func New(cfg Config) *Server {
	s := &Server{
		cfg:     cfg,
		mail:    newMailbox(),
		devices: newDevices(),
		subs:    newSubscriptions(),
		closing: make(chan struct{}),
	}
	errorLog := cfg.ErrorLog
	if errorLog == nil {
		errorLog = log.New(io.Discard, "", 0)
	}
	s.http = &http.Server{
		Handler:           s,
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       stall,
		WriteTimeout:      2 * stall, // what took too long to read is still to be answered
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          errorLog,
	}
	return s
}

// Serve answers on ln until Shutdown, and then returns nil. It closes ln. It may
// be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	if s.cfg.TLS == nil {
		return errors.Join(ErrNoTLS, ln.Close())
	}
	err := s.http.ServeTLS(ln, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown lets the held requests go with 503, waits for the others, and cuts
// off what is left when ctx ends; it then returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeOnce.Do(func() { close(s.closing) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// Notify puts one new message into a folder, named by its ActiveSync server ID
// ("1" is the inbox; see [Inbox]), and ends every Ping and wakes every stream
// that watches it.
func (s *Server) Notify(folder string) { s.mail.deliver(folder) }

// hold counts the caller among the waiting until the returned function is called.
func (s *Server) hold(k Kind) (release func()) {
	s.holding.Add(1)
	if s.cfg.Hooks != nil && s.cfg.Hooks.Holding != nil {
		s.cfg.Hooks.Holding(k)
	}
	return func() { s.holding.Add(-1) }
}

// Kind is what a request was for.
type Kind uint8

// The kinds of requests. Refused is everything without a place here: unknown
// hosts, paths, methods and commands.
const (
	Refused Kind = iota
	Page
	Options
	Ping
	FolderSync
	EWS
	Register
	BulkDown
	BulkUp
	kinds
)

// String returns the kind's name for logs.
func (k Kind) String() string {
	names := [kinds]string{"refused", "page", "options", "ping", "foldersync", "ews", "register", "bulk_down", "bulk_up"}
	if k >= kinds {
		return "unknown"
	}
	return names[k]
}

// Stats is what the server has done so far.
type Stats struct {
	// Requests counts by kind, from the moment that a request's headers are read.
	Requests map[Kind]uint64
	// Holding is how many Pings and streams wait right now.
	Holding int
}

// Stats returns a snapshot of the counts.
func (s *Server) Stats() Stats {
	st := Stats{Requests: make(map[Kind]uint64, kinds), Holding: int(s.holding.Load())}
	for k := range kinds {
		st.Requests[k] = s.counts[k].Load()
	}
	return st
}
