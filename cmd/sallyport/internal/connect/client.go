package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// What fails on the way to the gateway, for errors.Is. A refusal of the
// destination is a *socks.ReplyError.
var (
	ErrUnreachable   = errors.New("gateway unreachable")
	ErrTLS           = errors.New("TLS with the gateway failed")
	ErrTicketRefused = errors.New("ticket refused by the gateway")
	ErrNoTicket      = errors.New("no ticket to present")
	// ErrProtocol: the gateway broke off, or speaks something other than SOCKS5.
	ErrProtocol = errors.New("no SOCKS5 answer from the gateway")
)

// Client opens tunnels through one gateway. It is safe for concurrent use. One whose
// Carrier is not TCP has connections that outlive their tunnels, and must be closed.
type Client struct {
	gateway  string
	user     string
	ticket   func() (string, error)
	carrier  Carrier
	tls      *tls.Config
	dialer   net.Dialer
	links    *links // nil if the carrier is TCP
	networks *networks
}

// NewClient checks its part of the config.
func NewClient(c Config) (*Client, error) {
	host, port, err := net.SplitHostPort(c.Gateway)
	if err != nil || host == "" || port == "" {
		return nil, errors.New("the gateway must be host:port")
	}
	if c.Ticket == nil {
		return nil, ErrNoTicket
	}
	if len(c.User) > maxField {
		return nil, fmt.Errorf("the user name is longer than %d bytes", maxField)
	}
	if c.Carrier > Auto {
		return nil, errors.New("unknown carrier")
	}
	if c.KeepAlive < 0 || c.KeepAlive > 0 && c.KeepAlive < time.Second {
		return nil, errors.New("the keep-alive needs a second at least, or 0 for none")
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	client := &Client{
		gateway: c.Gateway,
		user:    c.User,
		ticket:  c.Ticket,
		carrier: c.Carrier,
		tls:     clientTLS(c),
		dialer: net.Dialer{
			KeepAlive: c.KeepAlive,
			Resolver:  localResolver(c.LocalDNS),
		},
	}
	if c.KeepAlive == 0 {
		client.dialer.KeepAlive = -1 // an idle tunnel lets the radio sleep
	}
	if c.Carrier != TCP {
		client.networks = newNetworks(time.Now)
		client.links = newLinks(c, host, port, client.networks.works)
	}
	return client, nil
}

// Close ends the tunnels that go by QUIC, and what is under way to the gateway. It
// returns when nothing of it is left. Tunnels over TCP go on.
func (c *Client) Close() error {
	if c.links != nil {
		c.links.close()
	}
	return nil
}

// clientTLS also keeps sessions for resumption: a device opens many short
// tunnels to the same gateway.
func clientTLS(c Config) *tls.Config {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.ServerName,
		RootCAs:            c.RootCAs,
		NextProtos:         []string{tunnel.ALPN},
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	if c.Pin != nil {
		certs.Pin(config, c.Pin)
		pinned := config.VerifyConnection
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if err := pinned(state); err != nil {
				// As what crypto/tls calls it elsewhere, so that it is known in any carrier's error.
				return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
			}
			return nil
		}
	}
	return config
}

// Dial opens a tunnel to addr, a host:port with a numeric port, whatever the
// split tunnel says. A name goes to the gateway as it is. Set-up takes at most
// 30 s, and less if ctx ends; ctx means nothing to the connection afterwards. The
// connection is a tunnel.Stream: its CloseWrite ends one direction.
//
// Errors are ErrUnreachable, ErrTLS, ErrNoTicket, ErrTicketRefused, ErrProtocol
// or *socks.ReplyError; those of ctx are wrapped beside them.
func (c *Client) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, &net.AddrError{Err: "the port must be a number up to 65535", Addr: addr}
	}
	stream, err := c.open(ctx, host, uint16(port))
	if err != nil {
		return nil, err // a nil Stream in a net.Conn would not be nil
	}
	return stream, nil
}

// dialDNS opens a tunnel to the gateway's DNS.
func (c *Client) dialDNS(ctx context.Context) (net.Conn, error) {
	stream, err := c.open(ctx, stub.DeviceDNS, stub.DevicePort)
	if err != nil {
		return nil, err // as in Dial
	}
	return stream, nil
}

// open goes step by step: a way to the gateway, the credential, the destination.
func (c *Client) open(ctx context.Context, host string, port uint16) (tunnel.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	request, err := socks.AppendRequest(nil, host, port)
	if err != nil {
		return nil, err
	}
	handle, err := c.ticket()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTicket, err)
	}
	if handle == "" || len(handle) > maxField {
		return nil, fmt.Errorf("%w: it must have 1 to %d bytes", ErrNoTicket, maxField)
	}
	stream, err := c.reach(ctx, socks.Auth{User: c.user, Password: handle})
	if err != nil {
		return nil, err
	}
	if err := socks.ClientRequest(ctx, stream, request); err != nil {
		_ = stream.Close()
		return nil, handshakeError(err)
	}
	return stream, nil
}

// reach returns a stream on which the gateway has taken the credential.
func (c *Client) reach(ctx context.Context, auth socks.Auth) (tunnel.Stream, error) {
	switch c.carrier {
	case Auto:
		return c.race(ctx, auth)
	case QUIC:
		stream, err := c.links.open(ctx, auth, &progress{})
		if err != nil {
			return nil, err // as in Dial
		}
		return stream, nil
	}
	stream, err := c.dialTLS(ctx)
	if err != nil {
		return nil, err
	}
	if err := present(ctx, stream, auth); err != nil {
		return nil, err
	}
	return stream, nil
}

// dialTLS reaches the gateway over TCP.
func (c *Client) dialTLS(ctx context.Context) (*gatewayStream, error) {
	raw, err := c.dialer.DialContext(ctx, "tcp", c.gateway)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stream := &gatewayStream{Conn: tls.Client(unended{raw}, c.tls), raw: raw}
	if err := stream.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return stream, nil
}

// present shows the credential, and closes the stream if it is not taken.
func present(ctx context.Context, stream tunnel.Stream, auth socks.Auth) error {
	if err := socks.ClientAuthenticate(ctx, stream, auth); err != nil {
		_ = stream.Close()
		return handshakeError(err)
	}
	return nil
}

// handshakeError tells a refused ticket and a broken conversation apart.
func handshakeError(err error) error {
	var refused *socks.ReplyError
	switch {
	case errors.Is(err, socks.ErrAuth):
		return ErrTicketRefused
	case errors.As(err, &refused):
		return err
	}
	return fmt.Errorf("%w: %w", ErrProtocol, err)
}

// closeLimit is how long Close tries to say goodbye; crypto/tls alone would wait
// five seconds for a gateway that takes nothing any more.
const closeLimit = 200 * time.Millisecond

// gatewayStream is a tunnel as the device sees it.
type gatewayStream struct {
	*tls.Conn
	raw net.Conn
}

var _ tunnel.Stream = (*gatewayStream)(nil)

// Abort ends it without a goodbye.
func (s *gatewayStream) Abort() { _ = s.raw.Close() }

// Break delivers what was written, and has no goodbye follow.
func (s *gatewayStream) Break() {
	if raw, ok := s.raw.(tunnel.Stream); ok { // it is TCP's
		tunnel.Break(raw)
		return
	}
	s.Abort()
}

// Close ends the tunnel promptly, whatever state the other side is in.
func (s *gatewayStream) Close() error {
	cut := time.AfterFunc(closeLimit, func() { _ = s.raw.Close() })
	defer cut.Stop()
	return s.Conn.Close()
}

// unended is a connection below TLS, whose end is none: that is for close_notify to
// say (RFC 8446 section 6.1). A gateway that leaves it out passes on that the service
// broke off, and crypto/tls would take it for an end.
type unended struct{ net.Conn }

var errBrokeOff = fmt.Errorf("the connection broke off: %w", io.ErrUnexpectedEOF)

func (c unended) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		err = errBrokeOff
	}
	return n, err
}
