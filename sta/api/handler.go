package api

import (
	"errors"
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

// exchange is one request on its way.
type exchange struct {
	*handler
	w      http.ResponseWriter
	r      *http.Request
	client *sta.Client
	id     string // of {id}
	query  map[string]string
	access Access
}

// endpoint serves one method at one route. It answers itself, or returns an
// error for ServeHTTP to answer.
type endpoint struct {
	serve func(*exchange) error
	takes []string // the parameters that its query may have
}

// route is what there is at an address.
type route struct {
	pattern string
	allow   string // the methods, for 405
	methods map[string]endpoint
}

// routes is everything that is here; ticketRoute is the one whose path has an id.
var (
	routes = []route{
		ticketRoute,
		{pathTickets, "GET, POST", map[string]endpoint{
			"GET":  {(*exchange).list, []string{"user", "device", "app", "status", "limit", "after"}},
			"POST": {(*exchange).issue, nil},
		}},
		{pathRevocations, "GET, POST", map[string]endpoint{
			"GET":  {(*exchange).updates, []string{"gateway", "after", "wait"}},
			"POST": {(*exchange).revoke, nil},
		}},
		{pathRedeem, "POST", map[string]endpoint{"POST": {(*exchange).redeem, nil}}},
		{pathHeads, "GET", map[string]endpoint{"GET": {(*exchange).heads, nil}}},
		{pathCuts, "POST", map[string]endpoint{"POST": {(*exchange).cuts, []string{"gateway"}}}},
		{pathKeys, "GET", map[string]endpoint{"GET": {(*exchange).keys, nil}}},
		{pathOpenAPI, "GET", map[string]endpoint{"GET": {(*exchange).openAPI, nil}}},
	}
	ticketRoute = route{pathTickets + "/{id}", "GET, DELETE", map[string]endpoint{
		"GET": {(*exchange).show, nil},
		// A header would not carry the name of everybody who asks.
		"DELETE": {(*exchange).revokeTicket, []string{"operator"}},
	}}
)

// ServeHTTP authenticates before it looks at anything else, but for the document
// that says how to ask.
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
	if x.r.Method == http.MethodGet && x.r.URL.Path == pathOpenAPI && x.r.URL.RawQuery == "" {
		x.access.Route = pathOpenAPI
		x.leave()
		return x.openAPI()
	}
	client, err := x.clients.Admit(sta.Presented{Key: bearer(x.r), TLS: x.r.TLS, Address: x.r.RemoteAddr})
	if err != nil {
		if often, ok := errors.AsType[*sta.RateError](err); ok {
			x.access.Client = often.Client
			return err
		}
		x.leave()
		return err
	}
	x.client = client.From(x.r.RemoteAddr)
	x.access.Client = client.Name
	route, id, found := find(x.r.URL.Path)
	if !found {
		return ticket.Refuse(ticket.NotFound, "there is nothing at this address")
	}
	x.access.Route, x.access.Ticket, x.id = route.pattern, id, id
	at, found := route.methods[x.r.Method]
	if !found {
		x.w.Header().Set("Allow", route.allow)
		return ticket.Refuse(ticket.MethodNotAllowed, "this address takes %s", route.allow)
	}
	if x.query, err = parseQuery(x.r.URL.RawQuery, at.takes...); err != nil {
		return badRequest(err)
	}
	return at.serve(x)
}

// leave has the connection closed after the answer. What a stranger goes on to
// send is not worth one: net/http reads on for a moment, so that the answer
// arrives.
func (x *exchange) leave() {
	x.w.Header().Set("Connection", "close")
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(500 * time.Millisecond))
}

// unreadable stands for a key that is shown otherwise than as it should be: it is
// nobody's, and goes before a certificate. No key has this character.
const unreadable = "?"

// bearer gives the key that the request shows, "" if it shows none.
func bearer(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return ""
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || key == "" || !strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1: in any case
		return unreadable
	}
	return key
}

// find gives what there is at a path. An id that cannot be one is nowhere.
func find(path string) (r *route, id string, found bool) {
	for i := range routes {
		if routes[i].pattern == path && !strings.HasSuffix(path, "}") {
			return &routes[i], "", true
		}
	}
	id, found = strings.CutPrefix(path, pathTickets+"/")
	if !found || !isID(id) {
		return nil, "", false
	}
	return &ticketRoute, id, true
}

// isID tells whether a text can be the name of a ticket or a family.
func isID(s string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567" // of base32, in lower case
	return s != "" && len(s) <= 64 && strings.Trim(s, alphabet) == ""
}

func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}
