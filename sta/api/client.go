package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// ClientConfig describes an authority to talk to.
type ClientConfig struct {
	// URL is where it is: https, host and port; no path, query or user.
	URL string
	// Key is this client's key there. It may be left out where TLS has a client
	// certificate.
	Key sta.Key
	// TLS trusts its certificate, and may have one to show. nil means the system's
	// roots. Ignored when HTTP is set.
	TLS *tls.Config
	// HTTP makes the requests. nil means a client made from TLS. It must not
	// follow redirects with the key.
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
	certificate := c.TLS != nil && (len(c.TLS.Certificates) > 0 || c.TLS.GetClientCertificate != nil)
	if c.Key.IsZero() && !certificate && c.HTTP == nil {
		return nil, errors.New("a client of an authority needs a key or a certificate")
	}
	client := &Client{base: "https://" + base.Host, key: c.Key, http: c.HTTP}
	if client.http == nil {
		client.http = &http.Client{
			Transport: newTransport(c.TLS),
			// An authority does not redirect; whoever does is not to see the key.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return client, nil
}

func newTransport(c *tls.Config) *http.Transport {
	const handshake = 5 * time.Second // of TCP, and of TLS
	return &http.Transport{
		// A copy, for net/http writes into it, and other clients may have been given it.
		TLSClientConfig: c.Clone(), ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: handshake}).DialContext, TLSHandshakeTimeout: handshake,
		IdleConnTimeout: idleClient, MaxIdleConnsPerHost: 16,
		// A connection whose other end is gone without a word would swallow one
		// request after the other.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 3 * time.Second},
	}
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
	if err := c.do(ctx, call{method: http.MethodPost, path: pathTickets, body: wire, status: http.StatusCreated, into: &answer}); err != nil {
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
	err = c.do(ctx, call{path: pathTickets + "/" + url.PathEscape(id), into: &found})
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
	err := c.do(ctx, call{path: path, into: &answer})
	return sta.Page{Tickets: answer.Tickets, Next: answer.Next}, err
}

// Revoke ends tickets; see [sta.Authority.Revoke]. A [*sta.MatchError] says what
// the request matches instead.
func (c *Client) Revoke(ctx context.Context, r sta.RevokeRequest) (sta.RevokeResult, error) {
	wire := revocationRequest{
		Ticket: given(r.Ticket), Family: given(r.Family), User: given(r.User), Device: given(r.Device), All: r.All,
		AllMatching: r.AllMatching, Operator: given(r.Operator),
	}
	if !r.Before.IsZero() {
		before := r.Before.UTC().Format(time.RFC3339)
		wire.Before = &before
	}
	if r.Stage != 0 {
		stage := int64(r.Stage / time.Second)
		wire.Stage = &stage
	}
	if r.Stage%time.Second != 0 {
		return sta.RevokeResult{}, ticket.Refuse(ticket.Invalid, "a stage is whole seconds")
	}
	var answer revoked
	err := c.do(ctx, call{method: http.MethodPost, path: pathRevocations, body: wire, into: &answer})
	if err != nil {
		return sta.RevokeResult{}, err
	}
	result, err := answer.result()
	if err != nil {
		return sta.RevokeResult{}, strange(err)
	}
	return result, nil
}

// given leaves out what is empty.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Redeem gives a ticket's statement; see [sta.Authority.Redeem].
func (c *Client) Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error) {
	var answer redeemed
	err = c.do(ctx, call{method: http.MethodPost, path: pathRedeem, body: redeemRequest{handle.String()}, into: &answer, patience: quick})
	return answer.Statement, err
}
