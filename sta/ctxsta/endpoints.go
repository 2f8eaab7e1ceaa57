package ctxsta

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// httpError is a refusal that HTTP has a status for. Others are answered 200,
// with an ErrorId: clients of this protocol take any other status for an
// authority that is out of order, and turn to the next.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

// retryAfter is the seconds after which a client should ask again.
const retryAfter = "5"

// statusOf gives the HTTP status of an error.
func statusOf(err error) int {
	var withStatus *httpError
	var malformed *malformedError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &withStatus):
		return withStatus.status
	case errors.As(err, &malformed):
		return http.StatusBadRequest
	}
	switch ticket.ReasonOf(err) {
	case ticket.Forbidden:
		return http.StatusForbidden
	case ticket.Busy, ticket.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// send writes the answer, or that there is none.
func (x *exchange) send(err error) {
	x.access.Status = statusOf(err)
	if err != nil {
		x.answer.errorID = string(errorID(x.access.Message, x.access.Reason))
	}
	body := x.answer.encode()
	header := x.w.Header()
	header.Set("Content-Type", "text/xml")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	switch x.access.Status {
	case http.StatusUnauthorized:
		// One has to be named (RFC 9110 §11.6.1), and the header's name is
		// nobody's business who does not know it.
		header.Set("WWW-Authenticate", "XmlServiceKey")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter)
	}
	x.w.WriteHeader(x.access.Status)
	_, _ = x.w.Write(body) // an error means that the client has gone
}

// errorID is what the client is told. Of a ticket that he asks about he learns
// whether it is good; of everything else, what was wrong.
func errorID(message string, reason ticket.Reason) ticket.Reason {
	if message != requestData {
		return reason
	}
	switch reason {
	case ticket.Forbidden, ticket.Unavailable, ticket.Busy, ticket.Invalid, ticket.NotSupported:
		return reason
	}
	return ticket.Unknown
}

// read gives the body of a POST and the charset that its type states.
func (x *exchange) read() ([]byte, charset, error) {
	stated, ok := isXML(x.r.Header.Values("Content-Type"))
	if !ok || len(x.r.Header.Values("Content-Encoding")) > 0 {
		return nil, unstated, &httpError{http.StatusUnsupportedMediaType,
			ticket.Refuse(ticket.Invalid, "the body's type is text/xml, uncompressed, in UTF-8, US-ASCII or ISO-8859-1")}
	}
	tooLarge := &httpError{http.StatusRequestEntityTooLarge,
		ticket.Refuse(ticket.TooLarge, "the body is over %d bytes", MaxBody)}
	if x.r.ContentLength > MaxBody {
		return nil, unstated, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, MaxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, unstated, tooLarge
	case err != nil:
		return nil, unstated, &httpError{http.StatusBadRequest, ticket.Refuse(ticket.Invalid, "the body could not be read")}
	}
	return body, stated, nil
}

// dispatch answers a message, or err, which is why it was not understood.
func (x *exchange) dispatch(message *request, err error) error {
	information, _ := informationOf(message.message)
	switch message.message {
	case requestTicket:
		x.answer.message = responseTicket
		if err == nil {
			err = x.issue(&message.ticket)
		}
	case requestData:
		x.answer.message = responseData
		// The right comes first: who may not redeem is not told whether what he
		// sent could be a ticket.
		if refused := x.client.Check(sta.MayRedeem); refused != nil {
			return refused
		}
		if err == nil {
			err = x.redeem(message.handle)
		}
	case "":
	default:
		x.answer.message = information
	}
	return err
}

// issue makes a ticket. XML clients need not say for whom; what they say is
// bounded by the authority, as for any door.
func (x *exchange) issue(t *ticketRequest) error {
	var who connInfo
	if xdata := t.value(valueXData); xdata != "" {
		var err error
		if who, err = parseConnInfo(xdata); err != nil {
			return err
		}
	}
	request := sta.IssueRequest{
		User: who.fullUser(), App: who.app, Device: t.value(valueDevice), Anonymous: true,
		Data: t.kept(who), Refreshable: &t.refreshable,
	}
	if !t.refreshable {
		request.Lifetime = x.nonRefreshable()
	}
	issued, err := x.authority.Issue(x.r.Context(), x.client, request)
	if err != nil {
		return err
	}
	x.access.Ticket = issued.ID
	x.answer.handle, x.answer.version = issued.Handle, t.version
	return nil
}

// nonRefreshable gives the life of a ticket that is not refreshable: no more
// than authority and client allow, where asking for more would be refused.
func (x *exchange) nonRefreshable() time.Duration {
	life := x.options.NonRefreshableLifetime
	for _, most := range []time.Duration{x.options.MaxLifetime, x.client.MaxLifetime} {
		if most > 0 {
			life = min(life, most)
		}
	}
	return max(life.Truncate(time.Second), time.Second)
}

// redeem gives the data of a ticket that is good.
func (x *exchange) redeem(handle ticket.Handle) error {
	hash := handle.Hash()
	statement, err := x.authority.Redeem(x.r.Context(), hash)
	if err != nil {
		return err
	}
	claims, err := x.options.Verify(statement, hash)
	if err != nil {
		return err
	}
	x.access.Ticket = claims.ID
	if err := x.authority.Judge(claims); err != nil {
		return err
	}
	x.answer.values = claims.Data
	return nil
}
