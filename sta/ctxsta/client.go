package ctxsta

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// maxAnswer is the most bytes of an answer that are read.
const maxAnswer = 64 << 10

// ClientConfig describes an authority that speaks this protocol.
type ClientConfig struct {
	// URL is where it is: https, host and port, and perhaps a path; without one,
	// [Path]. No query or user.
	URL string
	// AuthorityID is the ID it has to have; answers that name another are
	// refused. "" takes any.
	AuthorityID string
	// Key is this client's key there. The zero Key shows none: there are
	// authorities that ask for none.
	Key sta.Key
	// KeyHeader is the header to show it in. "" means [DefaultKeyHeader].
	KeyHeader string
	// TLS trusts its certificate. nil means the system's roots. Ignored when
	// HTTP is set.
	TLS *tls.Config
	// HTTP makes the requests, from a copy that follows no redirects. nil means
	// a client made from TLS, with a timeout of 10 s.
	HTTP *http.Client
}

// Client talks to an authority over XML. It is safe for concurrent use. Its
// errors are *[ticket.Error]. [ticket.Unavailable] is all that leaves the question
// open: no answer, one that makes no sense, one of another authority, a key that
// is not taken. Only a no to what was asked has a reason of its own.
type Client struct {
	url       string
	authority string
	key       sta.Key
	keyHeader string
	http      *http.Client
}

// NewClient refuses an address that is not https: key and tickets would travel
// in the clear.
func NewClient(c ClientConfig) (*Client, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return nil, errors.New("an authority's URL is https://host:port/path")
	}
	if at.Path == "" || at.Path == "/" {
		at.Path = Path
	}
	if c.AuthorityID != "" {
		if err := ticket.CheckAuthorityID(c.AuthorityID); err != nil {
			return nil, err
		}
	}
	if c.KeyHeader == "" {
		c.KeyHeader = DefaultKeyHeader
	}
	if !headerName.MatchString(c.KeyHeader) {
		return nil, errors.New("not the name of a header")
	}
	client := &http.Client{Timeout: 10 * time.Second}
	if c.HTTP != nil {
		*client = *c.HTTP
	} else {
		client.Transport = &http.Transport{TLSClientConfig: c.TLS.Clone(), ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16}
	}
	// An authority does not redirect; whoever does is to see neither key nor ticket.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{url: at.String(), authority: c.AuthorityID, key: c.Key, keyHeader: c.KeyHeader, http: client}, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// TicketRequest is what to ask for.
type TicketRequest struct {
	// Version of the ticket is 10, 20, 22 or 40; 0 means 40.
	Version int
	// User, Domain and App say for whom it is. If any is set they are sent as
	// XData, which must then not be in Data.
	User, Domain, App string
	// Data is the named values to go with it, such as ICAAddress.
	Data []ticket.Value
	// Refreshable asks for the long life.
	Refreshable bool
}

// Ticket is what an authority gave.
type Ticket struct {
	Authority string // its ID
	Handle    ticket.Handle
	Version   int
}

// RequestTicket asks for a ticket. A no is [ticket.Invalid], of our own as of the
// authority.
func (c *Client) RequestTicket(ctx context.Context, t TicketRequest) (Ticket, error) {
	if t.Version == 0 {
		t.Version = 40
	}
	g, known := byVersion(t.Version)
	if !known {
		return Ticket{}, ticket.Refuse(ticket.Invalid, "a ticket's version is 10, 20, 22 or 40")
	}
	values := t.Data
	if who := (connInfo{t.User, t.Domain, t.App}); who != (connInfo{}) {
		values = append(values[:len(values):len(values)], ticket.Value{Name: valueXData, Value: who.encode()})
	}
	a, err := c.do(ctx, &request{protocol: g.protocol, message: requestTicket, ticket: ticketRequest{
		version: t.Version, values: values, refreshable: t.Refreshable,
	}}, responseTicket, ticket.Invalid)
	if err != nil {
		return Ticket{}, err
	}
	if ticket.CheckAuthorityID(a.authority) != nil {
		return Ticket{}, strange(errors.New("no authority ID"))
	}
	return Ticket{Authority: a.authority, Handle: a.handle, Version: a.version}, nil
}

// RequestData redeems a ticket of this version, 0 for 40, and gives the values
// that it was issued with: as the authority sent them, at most 64 KiB, and not
// judged in any way. A no is [ticket.Unknown].
func (c *Client) RequestData(ctx context.Context, handle ticket.Handle, version int) ([]ticket.Value, error) {
	if version == 0 {
		version = 40
	}
	g, known := byVersion(version)
	if !known || handle.IsZero() {
		return nil, ticket.Refuse(ticket.Unknown, "not a ticket that this authority could know")
	}
	a, err := c.do(ctx, &request{protocol: g.protocol, message: requestData, handle: handle}, responseData, ticket.Unknown)
	return a.values, err
}

// do makes one request. An ErrorId is a refusal with the reason no.
func (c *Client) do(ctx context.Context, message *request, want string, no ticket.Reason) (answer, error) {
	body := message.encode()
	if len(body) > MaxBody {
		return answer{}, ticket.Refuse(ticket.TooLarge, "the request would be over %d bytes", MaxBody)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, strange(err)
	}
	r.Header.Set("Content-Type", "text/xml")
	r.Header.Set("Accept", "text/xml")
	if !c.key.IsZero() {
		r.Header.Set(c.keyHeader, c.key.Reveal())
	}
	response, err := c.http.Do(r)
	if err != nil {
		return answer{}, &ticket.Error{Reason: ticket.Unavailable, Text: "the authority cannot be reached", Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return answer{}, &ticket.Error{Reason: ticket.Unavailable, Text: "the authority does not take our key, or not for this",
			Err: fmt.Errorf("HTTP status %d", response.StatusCode)}
	default:
		return answer{}, strange(fmt.Errorf("HTTP status %d", response.StatusCode))
	}
	a, err := readAnswer(response, want)
	switch {
	case err != nil:
		return answer{}, strange(err)
	case c.authority != "" && a.authority != "" && a.authority != c.authority:
		return answer{}, strange(fmt.Errorf("it comes from another authority than %s", c.authority))
	case a.errorID != "":
		return answer{}, refusalOf(a.errorID, no)
	}
	return a, nil
}

// readAnswer takes XML, under the bounds of every document.
func readAnswer(response *http.Response, want string) (answer, error) {
	stated, ok := isXML(response.Header.Values("Content-Type"))
	if !ok {
		return answer{}, errors.New("it is not XML by its type")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, err
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("it is over %d bytes", maxAnswer)
	}
	return parseAnswer(body, stated, want)
}

// refusalOf gives an authority's no a reason. Of the words of our own, some do not
// speak of what was asked; what a foreign one says is for people only.
func refusalOf(errorID string, no ticket.Reason) error {
	switch ticket.Reason(errorID) {
	case ticket.Unavailable, ticket.Busy, ticket.Forbidden, ticket.Unauthenticated:
		no = ticket.Unavailable
	}
	return ticket.Refuse(no, "the authority says: %s", printable(errorID))
}

// strange is for answers that are not an authority's. What is refused in one is
// its own fault: the reason inside does not show through.
func strange(err error) error {
	return &ticket.Error{Reason: ticket.Unavailable, Text: "the authority's answer makes no sense", Err: err}
}

// printable bounds a text from outside and takes out what could mislead. It is
// also too short for a ticket: an authority that echoes one does not get it into
// our logs.
func printable(s string) string {
	const most = ticket.HandleLength - 1
	quoted := strconv.QuoteToASCII(s[:min(len(s), most)])
	return quoted[1 : len(quoted)-1]
}
