package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Bounds of what a Client waits for and reads.
const (
	// maxAnswer bounds what is read of an answer. A page of the largest tickets,
	// and the most entries that GET /v1/revocations gives, stay well below.
	maxAnswer = 32 << 20
	// slow bounds a whole call, and is how long one waits for the answer to begin
	// that may take an authority some time; quick is for the others.
	slow  = 30 * time.Second
	quick = 10 * time.Second
	// grace is how long a client waits for an answer past the time that it gave
	// the authority, and how long one that began may pause.
	grace = 3 * time.Second
)

// errSilent is the cause of giving up.
var errSilent = errors.New("no answer in time")

// call is one request.
type call struct {
	method   string        // "" for GET
	path     string        // with the query
	body     any           // nil for none
	status   int           // what it is answered with if all is well; 0 for 200
	into     any           // what the answer is read into; nil for none
	patience time.Duration // until the answer begins; 0 for slow
}

// do makes one request. It gives up when the answer does not begin, or does not
// go on.
func (c *Client) do(ctx context.Context, call call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, slow, errSilent)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if call.patience == 0 {
		call.patience = slow
	}
	stalled := time.AfterFunc(call.patience, func() { giveUp(errSilent) })
	defer stalled.Stop()
	request, err := c.request(ctx, &call)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(&moving{response.Body, stalled}, maxAnswer))
	if err != nil {
		return unreachable(ctx, err)
	}
	if call.status == 0 {
		call.status = http.StatusOK
	}
	if response.StatusCode != call.status {
		return refusalIn(response, data)
	}
	if call.into == nil {
		return nil
	}
	if err := json.Unmarshal(data, call.into); err != nil {
		return strange(err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, call *call) (*http.Request, error) {
	var payload io.Reader
	if call.body != nil {
		data, err := json.Marshal(call.body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, call.method, c.base+call.path, payload)
	if err != nil {
		return nil, err
	}
	if !c.key.IsZero() {
		request.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	request.Header.Set("Accept", typeJSON)
	if call.body != nil {
		request.Header.Set("Content-Type", typeJSON)
	}
	return request, nil
}

// moving puts the end of a call off as long as its answer comes in.
type moving struct {
	io.Reader
	stalled *time.Timer
}

func (m *moving) Read(p []byte) (int, error) {
	m.stalled.Reset(grace)
	return m.Reader.Read(p)
}

// unreachable is for an answer that did not come, or not whole.
func unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &ticket.Error{Reason: ticket.Unavailable, Text: "the authority cannot be reached", Err: err}
}

// refusalIn reads a problem. What is none comes from something else that answers
// at this address, such as a proxy.
func refusalIn(response *http.Response, data []byte) error {
	var p problem
	if response.Header.Get("Content-Type") != typeProblem || json.Unmarshal(data, &p) != nil || !known(p.Reason) {
		return strange(fmt.Errorf("HTTP status %d", response.StatusCode))
	}
	refusal := &ticket.Error{Reason: p.Reason, Text: "the authority says: " + printable(p.Detail)}
	if p.Reason == ticket.Ambiguous || len(p.Names) > 0 {
		return &sta.MatchError{Refusal: refusal, Names: harmless(p.Names)}
	}
	return refusal
}

// harmless gives the names that an authority could have given: a bounded number,
// bounded, and without what could mislead.
func harmless(names []string) []string {
	const most = 20
	var good []string
	for _, name := range names[:min(len(names), most)] {
		misleads := strings.ContainsFunc(name, func(r rune) bool {
			return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
		})
		if len(name) <= ticket.MaxText && utf8.ValidString(name) && !misleads {
			good = append(good, name)
		}
	}
	return good
}

// strange is for answers that are not an authority's.
func strange(err error) error {
	return &ticket.Error{Reason: ticket.Unavailable, Text: "the authority's answer makes no sense", Err: err}
}

// printable bounds a text from outside and takes out what could mislead.
func printable(s string) string {
	const most = 512
	s = sta.Redact(s)
	quoted := strconv.QuoteToGraphic(s[:min(len(s), most)])
	return quoted[1 : len(quoted)-1]
}

// known tells whether a reason is one of the closed list that an authority may
// give.
func known(reason ticket.Reason) bool {
	switch reason {
	case ticket.Malformed, ticket.Unknown, ticket.Expired, ticket.NotYetValid, ticket.WrongAudience,
		ticket.WrongAuthority, ticket.BadSignature, ticket.Mismatch, ticket.Revoked, ticket.NotSupported,
		ticket.Unauthenticated, ticket.Forbidden, ticket.Invalid, ticket.NotFound, ticket.Ambiguous, ticket.TooLarge, ticket.Held,
		ticket.MethodNotAllowed, ticket.Unavailable, ticket.Busy:
		return true
	}
	return false
}
