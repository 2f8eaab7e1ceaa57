package node

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/netutil"
)

// The bounds on connections to the authority, known and unknown ones together.
// Its clients are enrolment servers and operators, not devices; none of them
// may keep the others from revoking.
const (
	maxRequesters          = 4096
	maxRequestersPerSource = 512
)

// limitRequesters bounds the connections that l gives out: in all, where more
// wait in the kernel's queue, and for each source, where more are closed.
func limitRequesters(l net.Listener) net.Listener {
	perSource := &sourceLimit{Listener: l, most: maxRequestersPerSource, open: make(map[netip.Addr]int)}
	return netutil.LimitListener(perSource, maxRequesters)
}

// sourceLimit closes what a source opens beyond its share.
type sourceLimit struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func (l *sourceLimit) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if l.take(source) {
			return &countedConn{Conn: conn, gone: func() { l.give(source) }}, nil
		}
		conn.Close()
	}
}

func (l *sourceLimit) take(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source] >= l.most {
		return false
	}
	l.open[source]++
	return true
}

func (l *sourceLimit) give(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source]--; l.open[source] == 0 {
		delete(l.open, source)
	}
}

// countedConn tells once when it is closed.
type countedConn struct {
	net.Conn
	once sync.Once
	gone func()
}

func (c *countedConn) Close() error {
	c.once.Do(c.gone)
	return c.Conn.Close()
}

// requesterTLS is the authority's TLS: 1.2 with AEAD suites and without session
// tickets, where one key would open all recorded sessions, or 1.3.
func requesterTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: certificate,
		NextProtos:     []string{"h2", "http/1.1"},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		SessionTicketsDisabled: true,
	}
}
