package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Options of NewHandler; the zero value is good.
type Options struct {
	// MaxBody is the most bytes of a request's body. 0 means [MaxBody].
	MaxBody int64
	// Log is called once for each request, after its answer. nil means no log.
	Log func(Access)
}

// Access is one request as logs and metrics see it.
type Access struct {
	Client string // "" for somebody unknown
	Method string // of the known ones, else "other"
	Route  string // the pattern, never the path: it may go into a metric label
	Ticket string // the id of the ticket it was about, if any
	Status int
	Reason ticket.Reason // "" when it went well
	Err    error         // what it went wrong by, with its cause; never for clients
	Source string        // the peer's address
	Took   time.Duration
}

// handler is the door; it is immutable.
type handler struct {
	authority *sta.Authority
	clients   *sta.Clients
	maxBody   int64
	log       func(Access)
}

// NewHandler gives the authority's JSON door. The caller brings TLS, and a server
// such as [NewServer]'s with bounds on header and time.
func NewHandler(authority *sta.Authority, clients *sta.Clients, options Options) http.Handler {
	h := &handler{authority: authority, clients: clients, maxBody: options.MaxBody, log: options.Log}
	if h.maxBody == 0 {
		h.maxBody = MaxBody
	}
	return h
}

const (
	// idleTimeout ends connections on which nothing is asked. It is all that
	// bounds one over HTTP/2 whose client never asks anything, and so never
	// shows who he is.
	idleTimeout = 15 * time.Second
	// idleClient is how long a Client keeps one. It is the shorter one, so that
	// no request is sent into a connection that is just being closed.
	idleClient = idleTimeout * 2 / 3
)

// NewServer gives a server for the handler with every bound set, so that a
// stranger costs little and not for long: 5 s for the TLS handshake, 5 s for a
// request's header, 10 s for an HTTP/2 preface, and 15 s in silence. The caller
// sets TLSConfig, ErrorLog and the rest.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
		HTTP2: &http.HTTP2Config{
			// Enrolment servers that ask for more at a time open further
			// connections, or wait their turn.
			MaxConcurrentStreams:          32,
			MaxReadFrameSize:              16 << 10, // the least that there is
			MaxReceiveBufferPerStream:     MaxBody,
			MaxReceiveBufferPerConnection: 4 * MaxBody,
			// WriteTimeout ends a stream, this the connection under it, when a
			// client does not read.
			WriteByteTimeout: idleTimeout,
		},
	}
}

// exchange is one request on its way.
type exchange struct {
	*handler
	w      http.ResponseWriter
	r      *http.Request
	client *sta.Client
	id     string // of {id}
	access Access
}

// endpoint serves one method at one route. It answers itself, or returns an
// error for ServeHTTP to answer.
type endpoint func(*exchange) error

// route is what there is at an address.
type route struct {
	pattern string
	allow   string // the methods, for 405
	methods map[string]endpoint
}

var (
	ticketsRoute = route{pathTickets, "GET, POST", map[string]endpoint{"GET": (*exchange).list, "POST": (*exchange).issue}}
	ticketRoute  = route{pathTickets + "/{id}", "GET, DELETE", map[string]endpoint{"GET": (*exchange).show, "DELETE": (*exchange).revoke}}
	redeemRoute  = route{pathRedeem, "POST", map[string]endpoint{"POST": (*exchange).redeem}}
)

// ServeHTTP authenticates before it looks at anything else.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	x := &exchange{handler: h, w: w, r: r, access: Access{
		Method: knownMethod(r.Method), Status: http.StatusOK, Source: r.RemoteAddr,
	}}
	if err := x.serve(); err != nil {
		x.access.Err = err
		x.access.Status, x.access.Reason = writeProblem(w, err)
	}
	if h.log != nil {
		x.access.Took = time.Since(start)
		h.log(x.access)
	}
}

func (x *exchange) serve() error {
	client, err := x.clients.Authenticate(bearer(x.r))
	if err != nil {
		// What a stranger goes on to send is not worth a connection: net/http
		// reads on for a moment, so that the answer arrives, and closes it.
		x.w.Header().Set("Connection", "close")
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		return err
	}
	x.client = client.From(x.r.RemoteAddr)
	x.access.Client = client.Name
	route, id, found := find(x.r.URL.Path)
	if !found {
		return ticket.Refuse(ticket.NotFound, "there is nothing at this address")
	}
	x.access.Route, x.access.Ticket, x.id = route.pattern, id, id
	serve := route.methods[x.r.Method]
	if serve == nil {
		x.w.Header().Set("Allow", route.allow)
		return ticket.Refuse(ticket.MethodNotAllowed, "this address takes %s", route.allow)
	}
	return serve(x)
}

// bearer gives the key that the request shows, "" if it shows none or several.
func bearer(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1: in any case
		return ""
	}
	return key
}

// find gives what there is at a path. An id that cannot be one is nowhere.
func find(path string) (r *route, id string, found bool) {
	switch path {
	case pathTickets:
		return &ticketsRoute, "", true
	case pathRedeem:
		return &redeemRoute, "", true
	}
	id, found = strings.CutPrefix(path, pathTickets+"/")
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567" // of base32, in lower case
	if !found || id == "" || len(id) > 64 || strings.Trim(id, alphabet) != "" {
		return nil, "", false
	}
	return &ticketRoute, id, true
}

func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}
