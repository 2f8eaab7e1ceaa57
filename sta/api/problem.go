package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// retryAfter is the seconds after which a client should ask again.
const retryAfter = "5"

// statusOf gives the HTTP status of each reason.
func statusOf(reason ticket.Reason) int {
	switch reason {
	case ticket.Malformed:
		return http.StatusBadRequest
	case ticket.Unauthenticated:
		return http.StatusUnauthorized
	case ticket.Forbidden:
		return http.StatusForbidden
	case ticket.NotFound, ticket.Unknown, ticket.Mismatch:
		return http.StatusNotFound
	case ticket.Ambiguous:
		return http.StatusConflict
	case ticket.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case ticket.Expired, ticket.Revoked:
		return http.StatusGone
	case ticket.TooLarge:
		return http.StatusRequestEntityTooLarge
	case ticket.Busy, ticket.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnprocessableEntity
	}
}

// httpError is a refusal whose status is not the one of its reason.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

// writeProblem answers with an error. Of one that is no refusal the client
// learns only that it happened: its text may speak of paths and addresses.
func writeProblem(w http.ResponseWriter, err error) (status int, reason ticket.Reason) {
	reason = ticket.ReasonOf(err)
	status = statusOf(reason)
	p := problem{Type: "about:blank", Detail: "the authority cannot answer at the moment", Reason: reason}
	if refusal, ok := errors.AsType[*ticket.Error](err); ok {
		p.Detail = refusal.Text // without the cause
	}
	if unmatched, ok := errors.AsType[*sta.MatchError](err); ok {
		p.Names = unmatched.Names
	}
	if other, ok := errors.AsType[*httpError](err); ok {
		status = other.status
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	if often, ok := errors.AsType[*sta.RateError](err); ok {
		status = http.StatusTooManyRequests
		seconds := max(1, math.Ceil(often.After.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	p.Status, p.Title = status, http.StatusText(status)
	writeJSON(w, status, typeProblem, p)
	return status, reason
}

// writeJSON answers. An error of writing means that the client has gone.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}
