package api

import (
	"encoding/json"
	"errors"
	"net/http"

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
	var withStatus *httpError
	if errors.As(err, &withStatus) {
		status = withStatus.status
	}
	detail := "the authority cannot answer at the moment"
	var refusal *ticket.Error
	if errors.As(err, &refusal) {
		detail = refusal.Text // without the cause
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, status, typeProblem, problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Reason: reason,
	})
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
