package api

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func (x *exchange) issue() error {
	var wire issueRequest
	if err := x.read(&wire); err != nil {
		return err
	}
	request := sta.IssueRequest{
		User: wire.User, Device: wire.Device, App: wire.App, Platform: wire.Platform,
		Groups: wire.Groups, Policy: wire.Policy, Services: wire.Services, Data: wire.Data,
		Refreshable: wire.Refreshable,
	}
	if wire.Lifetime != nil {
		lifetime, err := seconds("lifetime", *wire.Lifetime)
		if err != nil {
			return err
		}
		request.Lifetime = lifetime
	}
	made, err := x.authority.Issue(x.r.Context(), x.client, request)
	if err != nil {
		return err
	}
	x.access.Ticket = made.ID
	return x.answer(http.StatusCreated, issued{made.ID, made.Handle.Reveal(), made.Token(), made.Expires})
}

// seconds gives a time. 0 is refused: left out means the default, and a client
// that computed 0 did not mean a week.
func seconds(member string, n int64) (time.Duration, error) {
	if n < 1 || n > math.MaxInt64/int64(time.Second) {
		return 0, ticket.Refuse(ticket.Invalid, "%s is a number of seconds, at least 1", member)
	}
	return time.Duration(n) * time.Second, nil
}

func (x *exchange) list() error {
	filter, err := parseFilter(x.query)
	if err != nil {
		return badRequest(err)
	}
	found, err := x.authority.List(x.r.Context(), x.client, filter)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, page{found.Tickets, found.Next})
}

func (x *exchange) show() error {
	found, err := x.authority.Show(x.r.Context(), x.client, x.id)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, found)
}

func (x *exchange) revokeTicket() error {
	return x.end(sta.RevokeRequest{Ticket: x.id, Operator: x.query["operator"]})
}

func (x *exchange) revoke() error {
	var wire revocationRequest
	if err := x.read(&wire); err != nil {
		return err
	}
	request, err := wire.request()
	if err != nil {
		return err
	}
	return x.end(request)
}

func (x *exchange) end(request sta.RevokeRequest) error {
	result, err := x.authority.Revoke(x.r.Context(), x.client, request)
	if err != nil {
		return err
	}
	x.access.Ticket = result.ID
	return x.answer(http.StatusOK, toRevoked(&result))
}

// request gives what the body says.
func (w *revocationRequest) request() (sta.RevokeRequest, error) {
	r := sta.RevokeRequest{All: w.All, AllMatching: w.AllMatching}
	for _, text := range []struct {
		member string
		from   *string
		to     *string
	}{
		{"ticket", w.Ticket, &r.Ticket}, {"family", w.Family, &r.Family}, {"user", w.User, &r.User},
		{"device", w.Device, &r.Device}, {"operator", w.Operator, &r.Operator},
	} {
		switch {
		case text.from == nil:
		case *text.from == "":
			return r, ticket.Refuse(ticket.Invalid, "%s is empty; leave it out", text.member)
		default:
			*text.to = *text.from
		}
	}
	// An id goes into the log of revocations as it is. What cannot be one may be
	// a secret in the wrong place.
	if w.Ticket != nil && !isID(r.Ticket) {
		return r, ticket.Refuse(ticket.NotFound, "no ticket has this id")
	}
	if w.Family != nil && !isID(r.Family) {
		return r, ticket.Refuse(ticket.NotFound, "no ticket is of this family")
	}
	if w.Before != nil {
		if err := r.Before.UnmarshalText([]byte(*w.Before)); err != nil {
			return r, ticket.Refuse(ticket.Invalid, "before is a time as in RFC 3339")
		}
	}
	if w.Stage == nil {
		return r, nil
	}
	var err error
	r.Stage, err = seconds("stage", *w.Stage)
	return r, err
}

func (x *exchange) redeem() error {
	// The right comes first: the authority itself asks no one's name for this.
	if err := x.client.Check(sta.MayRedeem); err != nil {
		return err
	}
	var wire redeemRequest
	if err := x.read(&wire); err != nil {
		return err
	}
	hash, err := ticket.ParseHash(wire.Hash)
	if err != nil {
		return err
	}
	statement, err := x.authority.Redeem(x.r.Context(), hash)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, redeemed{statement})
}

// read decodes the request's body.
func (x *exchange) read(v any) error { return x.readUpTo(x.maxBody, v) }

// readUpTo does so for one of at most so many bytes; for open see decode.
func (x *exchange) readUpTo(most int64, v any, open ...string) error {
	if !isJSON(x.r.Header.Values("Content-Type")) {
		return &httpError{http.StatusUnsupportedMediaType,
			ticket.Refuse(ticket.Invalid, "the body's type is %s", typeJSON)}
	}
	data, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return ticket.Refuse(ticket.TooLarge, "the body is over %d bytes", tooLarge.Limit)
	case err != nil:
		return &httpError{http.StatusBadRequest, ticket.Refuse(ticket.Invalid, "the body could not be read")}
	}
	return badRequest(decode(data, v, open...))
}

// isJSON takes application/json, in UTF-8 if it says so: JSON has no other
// encoding (RFC 8259 §8.1).
func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	media, parameters, err := mime.ParseMediaType(contentType[0])
	if err != nil || media != typeJSON {
		return false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}

func (x *exchange) answer(status int, v any) error {
	x.access.Status = status
	writeJSON(x.w, status, typeJSON, v)
	return nil
}
