package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// connection is what tunnels are opened on: one over TCP, but for HTTP/2, and as
// many as the gateway takes over the others.
type connection interface {
	// tunnel opens one more. The context bounds how long that takes.
	tunnel(ctx context.Context, password string) (io.ReadWriteCloser, error)
	// Close ends the connection, with its tunnels.
	Close() error
}

// The receive windows of clients whose protocol has its own: what a service may be
// ahead of them. TCP's, below the others, are the kernel's.
const (
	streamWindow     = 2 << 20
	connectionWindow = 4 << 20
)

// dialer makes connections, by one carrier.
type dialer struct {
	clientSetup
	tls   *tls.Config // nil without gateway
	http2 *http2Dialer
}

// newDialer fixes what must not differ between gateways. There is no session
// cache, so every handshake is a full one.
func newDialer(setup clientSetup) (*dialer, error) {
	d := &dialer{clientSetup: setup}
	if setup.Gateway == "" {
		return d, nil
	}
	pem, err := os.ReadFile(setup.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", setup.CA)
	}
	d.tls = &tls.Config{
		RootCAs: roots, ServerName: setup.Name,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if setup.Carrier != "" {
		d.tls.NextProtos = []string{protocols()[setup.Carrier]}
	}
	d.http2 = newHTTP2Dialer(d)
	return d, nil
}

// protocols are what a carrier agrees on by ALPN. SOCKS5 over TLS asks for none.
func protocols() map[string]string {
	return map[string]string{carrierH1: "http/1.1", carrierH2: "h2", carrierH3: "h3", carrierQUIC: "sallyport/1"}
}

// connect makes a connection, and makes sure that it is what is to be measured.
func (d *dialer) connect(ctx context.Context) (connection, error) {
	switch d.Carrier {
	case carrierH2:
		return d.http2.connect(ctx)
	case carrierH3, carrierQUIC:
		return d.connectQUIC(ctx)
	}
	if d.Gateway == "" {
		conn, err := dialTCP(ctx, d.service())
		if err != nil {
			return nil, err
		}
		return &single{conn, noNegotiation}, nil
	}
	conn, err := d.dialTLS(ctx)
	if err != nil {
		return nil, err
	}
	if d.Carrier == carrierH1 {
		return &single{conn, d.negotiateHTTP1}, nil
	}
	return &single{conn, d.negotiateSOCKS}, nil
}

// service is where all tunnels lead to.
func (d *dialer) service() string { return fmt.Sprintf("%s:%d", d.Host, d.Port) }

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	plain := net.Dialer{KeepAlive: -1} // see listenLoopback
	return plain.DialContext(ctx, "tcp", addr)
}

func (d *dialer) dialTLS(ctx context.Context) (*tls.Conn, error) {
	plain, err := dialTCP(ctx, d.Gateway)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, d.tls)
	if err = conn.HandshakeContext(ctx); err == nil {
		err = d.comparable(conn.ConnectionState())
	}
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// comparable refuses a connection whose cryptography would cost something else, or
// that speaks another protocol than it was dialled for.
func (d *dialer) comparable(state tls.ConnectionState) error {
	switch {
	case state.DidResume:
		return errors.New("the handshake was no full one")
	case state.CurveID != tls.X25519:
		return fmt.Errorf("the key exchange is %s, not X25519", state.CurveID)
	case state.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("the suite is %s, not AES-128-GCM; has this processor no AES?", tls.CipherSuiteName(state.CipherSuite))
	case state.NegotiatedProtocol != protocols()[d.Carrier]:
		return fmt.Errorf("the protocol is %q, not %q", state.NegotiatedProtocol, protocols()[d.Carrier])
	}
	return nil
}

// single is a connection that becomes its one tunnel.
type single struct {
	net.Conn
	negotiate func(ctx context.Context, conn net.Conn, password string) error
}

func (s *single) tunnel(ctx context.Context, password string) (io.ReadWriteCloser, error) {
	return s.Conn, s.negotiate(ctx, s.Conn, password)
}

func noNegotiation(context.Context, net.Conn, string) error { return nil }

func (d *dialer) negotiateSOCKS(ctx context.Context, conn net.Conn, password string) error {
	return socks.ClientHandshake(ctx, conn, socks.Auth{User: d.User, Password: password}, d.Host, d.Port)
}
