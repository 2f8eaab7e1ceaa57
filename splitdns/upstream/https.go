package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

const dnsMessage = "application/dns-message"

// httpLink is an HTTP/2 connection to a DoH server (RFC 8484). It is a bare
// connection without an http.Client: nothing follows a redirect, keeps a cookie
// or asks the environment for a proxy.
type httpLink struct {
	conn *http.ClientConn
	raw  net.Conn // beneath TLS
	to   string
}

var errNoHTTP2 = errors.New("the server does not speak HTTP/2")

// httpDialer returns how to connect to a DoH server.
func httpDialer(c *Config, dial dialFunc, server Server) func(ctx context.Context) (link, error) {
	config := tlsConfig(c, server, "h2")
	to := url.URL{Scheme: "https", Host: httpHost(server), Path: server.Path}
	return func(ctx context.Context) (link, error) {
		conn, err := dialTLS(ctx, dial, server.Addr.String(), config)
		if err != nil {
			return nil, err
		}
		raw := conn.NetConn()
		if conn.ConnectionState().NegotiatedProtocol != "h2" {
			raw.Close()
			return nil, errNoHTTP2
		}
		framed, err := speakHTTP(ctx, conn, c.Timeout)
		if err != nil {
			raw.Close()
			return nil, err
		}
		return &httpLink{framed, raw, to.String()}, nil
	}
}

// speakHTTP begins HTTP/2 on a connection that has negotiated it. A peer that
// stops answering pings is gone, however many of its streams are open.
func speakHTTP(ctx context.Context, conn net.Conn, patience time.Duration) (*http.ClientConn, error) {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols:              &protocols,
		MaxResponseHeaderBytes: 16 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: patience, PingTimeout: patience, WriteByteTimeout: patience},
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	return transport.NewClientConn(ctx, "https", conn.RemoteAddr().String())
}

// httpHost is the authority of the URL: the name, or the address, that the
// certificate is for.
func httpHost(server Server) string {
	host := server.certificateName()
	if server.Addr.Port() != ports["https"] {
		return net.JoinHostPort(host, fmt.Sprint(server.Addr.Port()))
	}
	if server.Name == "" && server.Addr.Addr().Is6() {
		return "[" + host + "]"
	}
	return host
}

// exchange posts the query with the id 0 (RFC 8484 §4.1): the stream of HTTP/2
// matches the answer to it.
func (h *httpLink) exchange(ctx context.Context, q Question, edns bool) (*query, []byte, error) {
	asked := newQuery(q, form{edns: edns, padded: true})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.to, bytes.NewReader(asked.wire))
	if err != nil {
		return nil, nil, err
	}
	request.Header = http.Header{
		"Content-Type": {dnsMessage},
		"Accept":       {dnsMessage},
		"User-Agent":   nil, // says nothing rather than the library's name
	}
	response, err := h.conn.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := readBody(response)
	if err != nil {
		return nil, nil, err
	}
	if verdict, lie := asked.match(answer); verdict == foreign {
		return nil, nil, fmt.Errorf("%w: wrong %s", errGarbled, lie)
	}
	return asked, answer, nil
}

func readBody(response *http.Response) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || kind != dnsMessage {
		return nil, errors.New("HTTP answer of another type than " + dnsMessage)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxMessage+1))
	if err != nil {
		return nil, err
	}
	if len(answer) > maxMessage {
		return nil, errors.New("HTTP answer longer than a DNS message can be")
	}
	return answer, nil
}

// alive: the server has not said goodbye, and has not got all the requests that
// it allows at a time.
func (h *httpLink) alive() bool { return h.conn.Err() == nil && h.conn.Available() > 0 }

// close closes what is beneath first, so that no farewell is waited for.
func (h *httpLink) close() {
	h.raw.Close()
	h.conn.Close()
}
