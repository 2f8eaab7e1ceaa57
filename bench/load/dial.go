package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// dialer opens tunnels to the service through an endpoint.
type dialer struct {
	endpoint  Endpoint
	service   string // host:port
	host      string // of service
	port      uint16
	addresses []string // of the endpoint, in turn: looked up once, so that no dial waits for DNS
	sources   []netip.Addr
	tls       *tls.Config // nil for plain TCP
	turn      atomic.Uint64

	handshakes, resumed atomic.Uint64
}

// newDialer looks up the endpoint, and prepares what all dials share.
func newDialer(ctx context.Context, p *Plan) (*dialer, error) {
	d := &dialer{endpoint: p.Endpoint, service: p.Service, sources: p.Sources}
	var err error
	if p.Service != "" { // tls may do without
		if d.host, d.port, err = splitService(p.Service); err != nil {
			return nil, err
		}
	}
	target := p.Endpoint.Address
	if p.Endpoint.Way == "tcp" && target == "" {
		target = p.Service
	}
	if d.addresses, err = lookUp(ctx, target); err != nil {
		return nil, err
	}
	if p.Endpoint.Way == "tcp" {
		return d, nil
	}
	d.tls, err = p.Endpoint.tlsConfig()
	return d, err
}

func splitService(s string) (host string, port uint16, err error) {
	host, number, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || host == "" || len(host) > 255 || !visible(host) {
		return "", 0, fmt.Errorf("%q is not host:port", s)
	}
	return host, uint16(n), nil
}

// visible says whether there is nothing in s that could end a line, or look like it.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 127 })
}

// lookUp returns the addresses of host:port, each with the port.
func lookUp(ctx context.Context, target string) ([]string, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return all, nil
}

func (e *Endpoint) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: e.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		host, _, err := net.SplitHostPort(e.Address)
		if err != nil {
			return nil, err
		}
		c.ServerName = host
	}
	if len(e.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(e.CA) {
			return nil, errors.New("no certificate in the CA's PEM")
		}
	}
	if e.TLS12 {
		c.MaxVersion = tls.VersionTLS12
	}
	if id, ok := curve(e.Curve); ok && id != 0 {
		c.CurvePreferences = []tls.CurveID{id}
	}
	if e.ALPN != "" {
		c.NextProtos = []string{e.ALPN}
	}
	if e.Resume {
		c.ClientSessionCache = &sessions{}
	}
	return c, nil
}

// curve is the key exchange of a name: 0 for Go's choice.
func curve(name string) (tls.CurveID, bool) {
	switch name {
	case "":
		return 0, true
	case "X25519":
		return tls.X25519, true
	case "P-256":
		return tls.CurveP256, true
	case "X25519MLKEM768":
		return tls.X25519MLKEM768, true
	}
	return 0, false
}

// dial opens a tunnel for device k. When it returns, the service has been reached as
// far as the endpoint says so. The end of ctx ends it.
func (d *dialer) dial(ctx context.Context, k uint64) (net.Conn, error) {
	n := d.turn.Add(1) - 1
	plain := net.Dialer{KeepAlive: -1} // an idle tunnel is to be idle
	if len(d.sources) > 0 {
		plain.LocalAddr = &net.TCPAddr{IP: d.sources[n%uint64(len(d.sources))].AsSlice()}
		plain.Control = bindWithoutPort
	}
	conn, err := plain.DialContext(ctx, "tcp", d.addresses[n%uint64(len(d.addresses))])
	if err != nil {
		return nil, err
	}
	tunnel, err := d.negotiate(ctx, conn, k)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

// negotiate makes a connection to the endpoint one to the service.
func (d *dialer) negotiate(ctx context.Context, conn net.Conn, k uint64) (net.Conn, error) {
	if d.tls == nil {
		return conn, nil
	}
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until) // a closed connection tells the next call
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &tlsError{err}
	}
	d.handshakes.Add(1)
	if secure.ConnectionState().DidResume {
		d.resumed.Add(1)
	}
	switch d.endpoint.Way {
	case "socks":
		return secure, d.askSOCKS(ctx, secure, k)
	case "https":
		return secure, d.askHTTP(ctx, secure, k)
	}
	return secure, nil
}

// ticket is what device k presents.
func (d *dialer) ticket(k uint64) string {
	if len(d.endpoint.Tickets) == 0 {
		return ""
	}
	return d.endpoint.Tickets[k%uint64(len(d.endpoint.Tickets))]
}
