package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicConnection is SOCKS5 on its streams, or HTTP/3.
type quicConnection struct {
	*quic.Conn
	by      *dialer
	http    *http3.ClientConn // nil without HTTP/3
	via     *quic.Transport
	socket  *net.UDPConn
	goodbye quic.ApplicationErrorCode // that nothing is wrong
}

// connectQUIC uses a socket for each connection, as devices do.
func (d *dialer) connectQUIC(ctx context.Context) (connection, error) {
	gateway, err := netip.ParseAddrPort(d.Gateway)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	c := &quicConnection{by: d, via: &quic.Transport{Conn: takeMerged(socket)}, socket: socket}
	c.Conn, err = c.via.Dial(ctx, net.UDPAddrFromAddrPort(gateway), d.tls, &quic.Config{
		MaxIdleTimeout:                 time.Hour,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
	})
	if err == nil {
		err = d.comparable(c.ConnectionState().TLS)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if d.Carrier == carrierH3 {
		c.goodbye = quic.ApplicationErrorCode(http3.ErrCodeNoError)
		c.http = (&http3.Transport{DisableCompression: true}).NewClientConn(c.Conn)
	}
	return c, nil
}

func (c *quicConnection) Close() error {
	if c.Conn != nil {
		_ = c.CloseWithError(c.goodbye, "") // it may have ended already
	}
	return errors.Join(c.via.Close(), c.socket.Close())
}

func (c *quicConnection) tunnel(ctx context.Context, password string) (io.ReadWriteCloser, error) {
	if c.http != nil {
		return c.connectHTTP3(ctx, password)
	}
	opened, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	t := &quicTunnel{opened, c.LocalAddr(), c.RemoteAddr()}
	if err := c.by.negotiateSOCKS(ctx, t, password); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (c *quicConnection) connectHTTP3(ctx context.Context, ticket string) (io.ReadWriteCloser, error) {
	opened, err := c.http.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	t := http3Tunnel{opened}
	defer context.AfterFunc(ctx, func() { _ = opened.SetDeadline(time.Unix(1, 0)) })()
	if err := opened.SendRequestHeader(c.by.connectRequest(ticket)); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	answer, err := opened.ReadResponse()
	if err == nil {
		err = granted(answer)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// quicTunnel is a stream as a net.Conn, which SOCKS5 wants.
type quicTunnel struct {
	*quic.Stream
	local, remote net.Addr
}

func (t *quicTunnel) LocalAddr() net.Addr  { return t.local }
func (t *quicTunnel) RemoteAddr() net.Addr { return t.remote }

// Close ends both directions.
func (t *quicTunnel) Close() error {
	t.CancelRead(0)
	return t.Stream.Close()
}

type http3Tunnel struct{ *http3.RequestStream }

// Close ends both directions.
func (t http3Tunnel) Close() error {
	t.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return t.RequestStream.Close()
}
