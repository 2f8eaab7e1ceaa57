package api

import (
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Where everything is.
const (
	pathTickets     = "/v1/tickets" // and one of them at /v1/tickets/{id}
	pathRevocations = "/v1/revocations"
	pathRedeem      = "/v1/redeem"
	pathHeads       = "/v1/heads"
	pathCuts        = "/v1/cuts"
	pathKeys        = "/v1/keys"
	pathOpenAPI     = "/v1/openapi.json"
)

// Bounds of what is sent.
const (
	// MaxBody is the most bytes of a request's body, by default.
	MaxBody = 64 << 10
	// MaxHeader is the most bytes of a request's header. The longest there is
	// names how far a gateway has read each writer's log.
	MaxHeader = 32 << 10
	// MaxWait is the longest that GET /v1/revocations waits for one.
	MaxWait = 5 * time.Second

	// maxReport is the most bytes of POST /v1/cuts, which may bring entries.
	maxReport = 1 << 20
	// maxReportLogs and maxReportCuts are what a Client puts into one of them,
	// so that it fits: signed entries in bytes, and counts.
	maxReportLogs = 512 << 10
	maxReportCuts = 4096
	// maxLogs is the most bytes of signed entries in one answer: more than
	// [sta.Authority.Updates] usually gives.
	maxLogs = 16 << 20
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

// revocationRequest is the body of POST /v1/revocations. A member that is there
// and empty is a mistake of whoever filled it in, and would end more than was
// meant.
type revocationRequest struct {
	Ticket      *string `json:"ticket,omitempty"`
	Family      *string `json:"family,omitempty"`
	User        *string `json:"user,omitempty"`
	Device      *string `json:"device,omitempty"`
	All         bool    `json:"all,omitempty"`
	Before      *string `json:"before,omitempty"` // RFC 3339
	Stage       *int64  `json:"stage,omitempty"`  // seconds
	AllMatching bool    `json:"all_matching,omitempty"`
	Operator    *string `json:"operator,omitempty"`
}

// revoked answers it. Times are milliseconds.
type revoked struct {
	Scope      string       `json:"scope"`
	ID         string       `json:"id,omitempty"`
	Family     string       `json:"family,omitempty"`
	Entry      string       `json:"entry,omitempty"` // a ticket.Ref
	Matched    int          `json:"matched"`
	Already    bool         `json:"already"`
	Copies     int          `json:"copies"`
	SingleCopy bool         `json:"single_copy"`
	Cut        int          `json:"cut"`
	Gateways   []gatewayCut `json:"gateways"`
	Took       int64        `json:"took_ms"`
	Warnings   []string     `json:"warnings"`
}

type gatewayCut struct {
	Name     string `json:"name"`
	Answered bool   `json:"answered"`
	Cut      int    `json:"cut"`
	Took     int64  `json:"took_ms"`
}

func toRevoked(r *sta.RevokeResult) revoked {
	w := revoked{
		Scope: r.Scope, ID: r.ID, Family: r.Family, Matched: r.Matched, Already: r.Already,
		Copies: r.Copies, SingleCopy: r.SingleCopy, Cut: r.Cut(),
		Gateways: make([]gatewayCut, 0, len(r.Gateways)), Took: r.Took.Milliseconds(),
		Warnings: append([]string{}, r.Warnings...),
	}
	if r.Entry != (ticket.Ref{}) {
		w.Entry = r.Entry.String()
	}
	for _, g := range r.Gateways {
		w.Gateways = append(w.Gateways, gatewayCut{g.Name, g.Answered, g.Cut, g.Took.Milliseconds()})
	}
	return w
}

func (w *revoked) result() (sta.RevokeResult, error) {
	r := sta.RevokeResult{
		Scope: w.Scope, ID: w.ID, Family: w.Family, Matched: w.Matched, Already: w.Already,
		Copies: w.Copies, SingleCopy: w.SingleCopy,
		Took: time.Duration(w.Took) * time.Millisecond, Warnings: w.Warnings,
	}
	for _, g := range w.Gateways {
		r.Gateways = append(r.Gateways, sta.GatewayCut{
			Name: g.Name, Answered: g.Answered, Cut: g.Cut, Took: time.Duration(g.Took) * time.Millisecond,
		})
	}
	if w.Entry == "" {
		return r, nil
	}
	var err error
	r.Entry, err = ticket.ParseRef(w.Entry)
	return r, err
}

// cutReport is the body of POST /v1/cuts: a [ticket.CutReport].
type cutReport struct {
	Applied *ticket.Positions   `json:"applied"`
	Cuts    map[ticket.Ref]int  `json:"cuts,omitempty"`
	Logs    map[string][]string `json:"logs,omitempty"`
}

// heads and keySet answer GET /v1/heads and /v1/keys, with signed ones.
type heads struct {
	Heads map[string]string `json:"heads"`
}

type keySet struct {
	Keys string `json:"keys"`
}

// problem is an error on the wire (RFC 9457 §3.1). With "about:blank", title is
// the status's own phrase.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Reason ticket.Reason `json:"reason"`
	Names  []string      `json:"names,omitempty"` // of a sta.MatchError
}
