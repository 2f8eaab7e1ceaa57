package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// connectRequest is a CONNECT to the service.
func (d *dialer) connectRequest(ticket string) *http.Request {
	return &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: d.service()}, Host: d.service(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Proxy-Authorization": {"Bearer " + ticket}},
	}
}

func granted(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT was answered %s", answer.Status)
	}
	return nil
}

// negotiateHTTP1 leaves conn at the first byte of the tunnel: services say nothing
// before they are asked.
func (d *dialer) negotiateHTTP1(ctx context.Context, conn net.Conn, ticket string) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	request := d.connectRequest(ticket)
	if err := request.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, request)
	if err != nil {
		return err
	}
	if in.Buffered() > 0 {
		return errors.New("there is more than an answer to CONNECT")
	}
	return granted(answer)
}

// http2Dialer is net/http's client, taken by the connection: its pool is not used.
type http2Dialer struct {
	by        *dialer
	transport *http.Transport
}

func newHTTP2Dialer(d *dialer) *http2Dialer {
	only := new(http.Protocols)
	only.SetHTTP2(true)
	return &http2Dialer{d, &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dialTLS(ctx) },
		Protocols:      only, DisableCompression: true,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow},
	}}
}

func (h *http2Dialer) connect(ctx context.Context) (connection, error) {
	conn, err := h.transport.NewClientConn(ctx, "https", h.by.Gateway)
	if err != nil {
		return nil, err
	}
	return &http2Connection{conn, h.by}, nil
}

type http2Connection struct {
	*http.ClientConn
	by *dialer
}

func (c *http2Connection) tunnel(ctx context.Context, ticket string) (io.ReadWriteCloser, error) {
	life, end := context.WithCancel(context.Background()) // the tunnel's, not only its set-up's
	defer context.AfterFunc(ctx, end)()
	body, up := io.Pipe()
	request := c.by.connectRequest(ticket).WithContext(life)
	request.Body, request.ContentLength = body, -1
	answer, err := c.RoundTrip(request)
	if err != nil {
		end()
		return nil, err
	}
	t := &http2Tunnel{Reader: answer.Body, up: up, body: answer.Body, end: end}
	if err := granted(answer); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

type http2Tunnel struct {
	io.Reader
	up   *io.PipeWriter
	body io.Closer
	end  context.CancelFunc
}

func (t *http2Tunnel) Write(p []byte) (int, error) { return t.up.Write(p) }

func (t *http2Tunnel) Close() error {
	defer t.end()
	return errors.Join(t.up.Close(), t.body.Close())
}
