package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// badRequest is for what cannot be read.
func badRequest(err error) error {
	if err == nil {
		return nil
	}
	return &httpError{http.StatusBadRequest, err}
}

// parseQuery reads a query as strictly as a body is read: each parameter is known
// and stands once.
func parseQuery(query string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, ticket.Refuse(ticket.Invalid, "the query is malformed")
	}
	parameters := make(map[string]string, len(values))
	for name, value := range values {
		if !slices.Contains(known, name) {
			return nil, ticket.Refuse(ticket.Invalid, "parameter %s is not known here", quoted(name))
		}
		if len(value) != 1 {
			return nil, ticket.Refuse(ticket.Invalid, "parameter %s stands twice", quoted(name))
		}
		parameters[name] = value[0]
	}
	return parameters, nil
}

// parseFilter reads the query of a list.
func parseFilter(p map[string]string) (f sta.Filter, err error) {
	f = sta.Filter{User: p["user"], Device: p["device"], App: p["app"], Status: sta.Status(p["status"]), After: p["after"]}
	if limit, given := p["limit"]; given {
		if f.Limit, err = strconv.Atoi(limit); err != nil || f.Limit < 1 {
			return sta.Filter{}, ticket.Refuse(ticket.Invalid, "limit is 1 to %d", sta.MaxPage)
		}
	}
	return f, nil
}

// poll is the query of GET /v1/revocations.
type poll struct {
	gateway string // as given
	after   ticket.Positions
	wait    time.Duration
}

func parsePoll(p map[string]string) (poll, error) {
	after, err := ticket.ParsePositions(p["after"])
	if err != nil {
		return poll{}, refusalOf(err)
	}
	wait, err := parseWait(p["wait"])
	return poll{p["gateway"], after, wait}, err
}

// parseWait takes 0 to 5 seconds, with a fraction if need be. "" is 0.
func parseWait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(s, 64)
	// ParseFloat takes more forms of a number than anybody needs.
	if err != nil || len(s) > 8 || strings.Trim(s, "0123456789.") != "" || seconds > MaxWait.Seconds() {
		return 0, ticket.Refuse(ticket.Invalid, "wait is 0 to %v seconds", MaxWait.Seconds())
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// followerName gives the name under which a gateway is told to operators. One
// client may be several gateways, and none can take the name of another client.
func followerName(client, gateway string) (string, error) {
	if gateway == "" || gateway == client {
		return client, nil
	}
	if ticket.CheckWriter(gateway) != nil || sta.Redact(gateway) != gateway { // the same alphabet and length, and no ticket
		return "", ticket.Refuse(ticket.Invalid, "gateway is 1 to %d of a-z A-Z 0-9 . _ -", ticket.MaxWriter)
	}
	return client + "/" + gateway, nil
}
