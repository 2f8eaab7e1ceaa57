package api

import (
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Where everything is.
const (
	pathTickets = "/v1/tickets"
	pathRedeem  = "/v1/redeem"
)

// Bounds of what is sent.
const (
	// MaxBody is the most bytes of a request's body, by default.
	MaxBody = 64 << 10
	// MaxHeader is the most bytes of a request's header.
	MaxHeader = 16 << 10
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// issueRequest is the body of POST /v1/tickets. Member names are lower case;
// decode relies on it.
type issueRequest struct {
	User        string         `json:"user"`
	Device      string         `json:"device"`
	App         string         `json:"app,omitempty"`
	Platform    string         `json:"platform,omitempty"`
	Groups      []string       `json:"groups,omitempty"`
	Policy      string         `json:"policy,omitempty"`
	Services    []string       `json:"services,omitzero"`
	Data        []ticket.Value `json:"data,omitempty"`
	Lifetime    *int64         `json:"lifetime,omitempty"` // seconds
	Refreshable *bool          `json:"refreshable,omitempty"`
}

// issued answers it. "ticket" is the handle.
type issued struct {
	ID      string    `json:"id"`
	Ticket  string    `json:"ticket"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

type page struct {
	Tickets []sta.Ticket `json:"tickets"`
	Next    string       `json:"next,omitempty"`
}

type redeemRequest struct {
	Hash string `json:"hash"`
}

type redeemed struct {
	Statement string `json:"statement"`
}

// revoked answers DELETE. Times are milliseconds.
type revoked struct {
	ID       string       `json:"id"`
	Family   string       `json:"family"`
	Serial   uint64       `json:"serial"`
	Already  bool         `json:"already"`
	Gateways []gatewayCut `json:"gateways"`
	Took     int64        `json:"took_ms"`
	Warning  string       `json:"warning,omitempty"`
}

type gatewayCut struct {
	Name     string `json:"name"`
	Answered bool   `json:"answered"`
	Cut      int    `json:"cut"`
	Took     int64  `json:"took_ms"`
}

func toRevoked(r *sta.RevokeResult) revoked {
	w := revoked{
		ID: r.ID, Family: r.Family, Serial: r.Serial, Already: r.Already,
		Gateways: make([]gatewayCut, 0, len(r.Gateways)), Took: r.Took.Milliseconds(), Warning: r.Warning,
	}
	for _, g := range r.Gateways {
		w.Gateways = append(w.Gateways, gatewayCut{g.Name, g.Answered, g.Cut, g.Took.Milliseconds()})
	}
	return w
}

func (w *revoked) result() sta.RevokeResult {
	r := sta.RevokeResult{
		ID: w.ID, Family: w.Family, Serial: w.Serial, Already: w.Already,
		Took: time.Duration(w.Took) * time.Millisecond, Warning: w.Warning,
	}
	for _, g := range w.Gateways {
		r.Gateways = append(r.Gateways, sta.GatewayCut{
			Name: g.Name, Answered: g.Answered, Cut: g.Cut, Took: time.Duration(g.Took) * time.Millisecond,
		})
	}
	return r
}

// problem is an error on the wire (RFC 9457 §3.1). With "about:blank", title is
// the status's own phrase.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Reason ticket.Reason `json:"reason"`
}
