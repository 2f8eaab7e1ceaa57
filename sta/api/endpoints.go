package api

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
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
		lifetime, err := seconds(*wire.Lifetime)
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

// seconds gives a lifetime. 0 is refused: left out means the default, and a
// client that computed 0 did not mean a week.
func seconds(n int64) (time.Duration, error) {
	if n < 1 || n > math.MaxInt64/int64(time.Second) {
		return 0, ticket.Refuse(ticket.Invalid, "lifetime is a number of seconds, at least 1")
	}
	return time.Duration(n) * time.Second, nil
}

func (x *exchange) list() error {
	filter, err := parseFilter(x.r.URL.RawQuery)
	if err != nil {
		return &httpError{http.StatusBadRequest, err}
	}
	found, err := x.authority.List(x.r.Context(), x.client, filter)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, page{found.Tickets, found.Next})
}

// parseFilter reads a query as strictly as a body is read.
func parseFilter(query string) (sta.Filter, error) {
	var f sta.Filter
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, ticket.Refuse(ticket.Invalid, "the query is malformed")
	}
	for name, value := range values {
		if len(value) != 1 {
			return f, ticket.Refuse(ticket.Invalid, "parameter %s stands twice", quoted(name))
		}
		switch name {
		case "user":
			f.User = value[0]
		case "device":
			f.Device = value[0]
		case "app":
			f.App = value[0]
		case "status":
			f.Status = sta.Status(value[0])
		case "after":
			f.After = value[0]
		case "limit":
			if f.Limit, err = strconv.Atoi(value[0]); err != nil || f.Limit < 1 {
				return f, ticket.Refuse(ticket.Invalid, "limit is 1 to %d", sta.MaxPage)
			}
		default:
			return f, ticket.Refuse(ticket.Invalid, "parameter %s is not known here", quoted(name))
		}
	}
	return f, nil
}

func (x *exchange) show() error {
	found, err := x.authority.Show(x.r.Context(), x.client, x.id)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, found)
}

func (x *exchange) revoke() error {
	result, err := x.authority.Revoke(x.r.Context(), x.client, x.id)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, toRevoked(&result))
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
func (x *exchange) read(v any) error {
	if !isJSON(x.r.Header.Values("Content-Type")) {
		return &httpError{http.StatusUnsupportedMediaType,
			ticket.Refuse(ticket.Invalid, "the body's type is %s", typeJSON)}
	}
	data, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return ticket.Refuse(ticket.TooLarge, "the body is over %d bytes", tooLarge.Limit)
	case err != nil:
		return &httpError{http.StatusBadRequest, ticket.Refuse(ticket.Invalid, "the body could not be read")}
	}
	if err := decode(data, v); err != nil {
		return &httpError{http.StatusBadRequest, err}
	}
	return nil
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
