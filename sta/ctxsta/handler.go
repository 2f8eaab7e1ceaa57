package ctxsta

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Path is where the door is. Clients write it in any case; see [IsPath].
const Path = "/Scripts/CtxSTA.dll"

// IsPath tells whether a request's path is this door's, for whoever serves it
// beside others.
func IsPath(path string) bool {
	// EqualFold would take ſ for s, and ToLower alone İ for i, which is longer.
	const lower = "/scripts/ctxsta.dll"
	return len(path) == len(lower) && strings.ToLower(path) == lower
}

// Bounds and defaults of the door.
const (
	// MaxBody is the most bytes of a request's body.
	MaxBody = 64 << 10
	// DefaultKeyHeader is where a client shows its key.
	DefaultKeyHeader = "X-Citrix-XmlServiceKey"
	// DefaultNonRefreshable is how long a ticket lives that is not refreshable.
	DefaultNonRefreshable = 100 * time.Second
)

// Options of NewHandler. AuthorityID and Verify are required.
type Options struct {
	// AuthorityID is the authority's ID; it stands in every answer.
	AuthorityID string
	// Verify judges a statement of the authority for the handle with this hash,
	// as [ticket.Verifier.Verify] does: what TicketData says is taken from
	// nothing less.
	Verify func(statement string, handle ticket.Hash) (*ticket.Claims, error)
	// KeyHeader is the header that a client shows its key in. "" means
	// [DefaultKeyHeader].
	KeyHeader string
	// NonRefreshableLifetime is the life of a ticket that was not asked for as
	// refreshable; a refreshable one gets the longest that its client may have.
	// 0 means [DefaultNonRefreshable].
	NonRefreshableLifetime time.Duration
	// MaxLifetime is the authority's own bound, [sta.Config]'s Lifetime, below
	// which NonRefreshableLifetime is kept. 0 means that it is longer anyway.
	MaxLifetime time.Duration
	// Log is called once for each request, after its answer. nil means no log.
	Log func(Access)
}

// Access is one request as logs and metrics see it.
type Access struct {
	Client  string // "" for somebody unknown
	Method  string // GET, HEAD, POST, else "other"
	Route   string // Path, or "" for elsewhere; never what was sent
	Message string // the request's name, of the known ones, else ""
	Ticket  string // the id of the ticket it was about, if that came to be known
	Status  int
	Reason  ticket.Reason // the real one, also where the client is not told; "" when it went well
	Err     error         // what it went wrong by, with its cause; never for clients
	Source  string        // the peer's address
	Took    time.Duration
}

// handler is the door; it is immutable.
type handler struct {
	authority *sta.Authority
	clients   *sta.Clients
	options   Options
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// NewHandler gives the authority's XML door. The caller brings TLS, and a server
// with bounds on header and time.
func NewHandler(authority *sta.Authority, clients *sta.Clients, options Options) (http.Handler, error) {
	if err := ticket.CheckAuthorityID(options.AuthorityID); err != nil {
		return nil, err
	}
	if options.KeyHeader == "" {
		options.KeyHeader = DefaultKeyHeader
	}
	if options.NonRefreshableLifetime == 0 {
		options.NonRefreshableLifetime = DefaultNonRefreshable
	}
	switch {
	case authority == nil || clients == nil || options.Verify == nil:
		return nil, errors.New("the XML door needs an authority, its clients and a verifier")
	case !headerName.MatchString(options.KeyHeader):
		return nil, errors.New("not the name of a header")
	case options.NonRefreshableLifetime < time.Second || options.MaxLifetime < 0:
		return nil, errors.New("tickets live at least 1 s")
	}
	return &handler{authority, clients, options}, nil
}

// exchange is one request on its way.
type exchange struct {
	*handler
	w      http.ResponseWriter
	r      *http.Request
	client *sta.Client
	answer answer
	access Access
}

// ServeHTTP answers everything in the protocol's own words.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	x := &exchange{
		handler: h, w: w, r: r,
		answer: answer{protocol: newest, message: responseError, authority: h.options.AuthorityID},
		access: Access{Method: knownMethod(r.Method), Status: http.StatusOK, Source: r.RemoteAddr},
	}
	if IsPath(r.URL.Path) {
		x.access.Route = Path
	}
	err := x.serve()
	x.access.Err = err
	x.access.Reason = ticket.ReasonOf(err)
	x.send(err)
	if h.options.Log != nil {
		x.access.Took = time.Since(start)
		h.options.Log(x.access)
	}
}

// serve fills in the answer, or returns why there is none.
func (x *exchange) serve() error {
	here := x.access.Route != ""
	if here && x.r.Method != http.MethodPost {
		if x.hasBody() {
			x.leaveBody()
		}
		return &httpError{http.StatusNotAcceptable, ticket.Refuse(ticket.MethodNotAllowed, "requests are POSTed")}
	}
	client, err := x.clients.Admit(sta.Presented{Key: x.key(), TLS: x.r.TLS, Address: x.r.RemoteAddr})
	var often *sta.RateError
	if errors.As(err, &often) {
		x.access.Client = often.Client
		x.leaveBody()
		x.w.Header().Set("Retry-After", strconv.Itoa(int(often.After/time.Second)+1))
		return &httpError{http.StatusTooManyRequests, err}
	}
	if err != nil {
		x.leaveBody()
		return &httpError{http.StatusUnauthorized, err}
	}
	x.client = client.From(x.r.RemoteAddr)
	x.access.Client = client.Name
	if !here {
		x.leaveBody()
		return &httpError{http.StatusNotFound, ticket.Refuse(ticket.NotFound, "there is nothing at this address")}
	}
	body, stated, err := x.read()
	if err != nil {
		x.leaveBody()
		return err
	}
	message, err := parseRequest(body, stated)
	x.answer.protocol, x.access.Message = message.protocol, message.message
	return x.dispatch(&message, err)
}

func (x *exchange) hasBody() bool { return x.r.ContentLength != 0 }

// maxLeft is what is read of a body that nobody wants: what a client has sent
// along with its request, so that closing the connection does not lose it the
// answer. It is read for a moment, and never more of it.
const (
	maxLeft = 16 << 10
	leaving = 500 * time.Millisecond
)

// leaveBody has the connection closed rather than read for the rest of a body
// that nobody wants. Who waits for "100 Continue" is never given it. Without the
// deadline net/http would go on to read 256 KiB, in the hope of keeping the
// connection.
func (x *exchange) leaveBody() {
	x.w.Header().Set("Connection", "close")
	if !x.hasBody() {
		return
	}
	control := http.NewResponseController(x.w)
	if x.r.Header.Get("Expect") == "" {
		_ = control.SetReadDeadline(time.Now().Add(leaving))
		_, _ = io.CopyN(io.Discard, x.r.Body, maxLeft)
	}
	_ = control.SetReadDeadline(time.Unix(1, 0))
}

// key gives the key that the request shows, "" if it shows none. Several, or an
// empty one, are nobody's, whatever certificate is beside them.
func (x *exchange) key() string {
	const nobodys = "?"
	switch values := x.r.Header.Values(x.options.KeyHeader); {
	case len(values) == 0:
		return ""
	case len(values) > 1 || values[0] == "":
		return nobodys
	default:
		return values[0]
	}
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return method
	}
	return "other"
}
