package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// maxAnswer bounds what is read of an answer. A ticket's token has at most 4 KiB,
// so a page of the largest ones, escapes included, stays well below.
const maxAnswer = 32 << 20

// ClientConfig describes an authority to talk to.
type ClientConfig struct {
	// URL is where it is: https, host and port; no path, query or user.
	URL string
	// Key is this client's key there.
	Key sta.Key
	// TLS trusts its certificate. nil means the system's roots. Ignored when
	// HTTP is set.
	TLS *tls.Config
	// HTTP makes the requests. nil means a client made from TLS, with a
	// timeout of 30 s. It must not follow redirects with the key.
	HTTP *http.Client
}

// Client talks to an authority. It is safe for concurrent use. What the
// authority refuses is an *[ticket.Error] with the reason that it gave; what
// prevents an answer is a [ticket.Unavailable] with its cause.
type Client struct {
	base string
	key  sta.Key
	http *http.Client
}

// NewClient refuses an address that is not https: the key would travel in the
// clear.
func NewClient(c ClientConfig) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("an authority's URL is https://host:port")
	}
	if c.Key.IsZero() {
		return nil, errors.New("a client of an authority needs a key")
	}
	client := &Client{base: "https://" + base.Host, key: c.Key, http: c.HTTP}
	if client.http == nil {
		client.http = &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: c.TLS, ForceAttemptHTTP2: true, IdleConnTimeout: idleClient, MaxIdleConnsPerHost: 16},
			// An authority does not redirect; whoever does is not to see the key.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return client, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Issue asks for a ticket; see [sta.Authority.Issue]. Anonymous is not for this
// door.
func (c *Client) Issue(ctx context.Context, request sta.IssueRequest) (sta.Issued, error) {
	wire := issueRequest{
		User: request.User, Device: request.Device, App: request.App, Platform: request.Platform,
		Groups: request.Groups, Policy: request.Policy, Services: request.Services, Data: request.Data,
		Refreshable: request.Refreshable,
	}
	if request.Lifetime != 0 {
		lifetime := int64(request.Lifetime / time.Second)
		wire.Lifetime = &lifetime
	}
	var answer issued
	if err := c.do(ctx, http.MethodPost, pathTickets, wire, http.StatusCreated, &answer); err != nil {
		return sta.Issued{}, err
	}
	statement, handle, err := ticket.ParseToken(answer.Token)
	if err != nil || handle.Reveal() != answer.Ticket {
		return sta.Issued{}, strange(errors.New("ticket and token do not belong together"))
	}
	return sta.Issued{ID: answer.ID, Handle: handle, Statement: statement, Expires: answer.Expires}, nil
}

// Show gives one ticket; see [sta.Authority.Show].
func (c *Client) Show(ctx context.Context, id string) (found sta.Ticket, err error) {
	err = c.do(ctx, http.MethodGet, pathTickets+"/"+url.PathEscape(id), nil, http.StatusOK, &found)
	return found, err
}

// List gives one page of tickets; see [sta.Authority.List].
func (c *Client) List(ctx context.Context, f sta.Filter) (sta.Page, error) {
	query := make(url.Values)
	for name, value := range map[string]string{
		"user": f.User, "device": f.Device, "app": f.App, "status": string(f.Status), "after": f.After,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Limit != 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	path := pathTickets
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var answer page
	err := c.do(ctx, http.MethodGet, path, nil, http.StatusOK, &answer)
	return sta.Page{Tickets: answer.Tickets, Next: answer.Next}, err
}

// Revoke ends a ticket's family; see [sta.Authority.Revoke].
func (c *Client) Revoke(ctx context.Context, id string) (sta.RevokeResult, error) {
	var answer revoked
	err := c.do(ctx, http.MethodDelete, pathTickets+"/"+url.PathEscape(id), nil, http.StatusOK, &answer)
	return answer.result(), err
}

// Redeem gives a ticket's statement; see [sta.Authority.Redeem].
func (c *Client) Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error) {
	var answer redeemed
	err = c.do(ctx, http.MethodPost, pathRedeem, redeemRequest{handle.String()}, http.StatusOK, &answer)
	return answer.Statement, err
}

// do makes one request and reads its answer into v.
func (c *Client) do(ctx context.Context, method, path string, body any, status int, v any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	request.Header.Set("Accept", typeJSON)
	if body != nil {
		request.Header.Set("Content-Type", typeJSON)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return &ticket.Error{Reason: ticket.Unavailable, Text: "the authority cannot be reached", Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return strange(err)
	}
	if response.StatusCode != status {
		return refusalIn(response, data)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return strange(err)
	}
	return nil
}

// refusalIn reads a problem. What is none comes from something else that answers
// at this address, such as a proxy.
func refusalIn(response *http.Response, data []byte) error {
	var p problem
	if response.Header.Get("Content-Type") != typeProblem || json.Unmarshal(data, &p) != nil || !known(p.Reason) {
		return strange(fmt.Errorf("HTTP status %d", response.StatusCode))
	}
	return &ticket.Error{Reason: p.Reason, Text: "the authority says: " + printable(p.Detail)}
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
		ticket.Unauthenticated, ticket.Forbidden, ticket.Invalid, ticket.NotFound, ticket.TooLarge,
		ticket.MethodNotAllowed, ticket.Unavailable, ticket.Busy:
		return true
	}
	return false
}
