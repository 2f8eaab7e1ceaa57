package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// askSOCKS asks for the tunnel by RFC 1928, with the ticket as the password of RFC
// 1929.
func (d *dialer) askSOCKS(ctx context.Context, conn net.Conn, k uint64) error {
	auth := socks.Auth{User: d.endpoint.User, Password: d.ticket(k)}
	return socks.ClientHandshake(ctx, conn, auth, d.host, d.port)
}

// maxAnswer bounds the head of an answer to CONNECT.
const maxAnswer = 16 << 10

// askHTTP asks for the tunnel by CONNECT of HTTP/1.1 (RFC 9110 §9.3.6), with the
// ticket as bearer (RFC 6750).
func (d *dialer) askHTTP(ctx context.Context, conn net.Conn, k uint64) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := "CONNECT " + d.service + " HTTP/1.1\r\nHost: " + d.service + "\r\n"
	if ticket := d.ticket(k); ticket != "" {
		request += "Proxy-Authorization: Bearer " + ticket + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return err
	}
	r := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 1<<10)
	answer, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	var broken net.Error
	switch {
	case errors.As(err, &broken), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case err != nil:
		return fmt.Errorf("%w: no answer to CONNECT", exchange.ErrProtocol)
	case answer.StatusCode/100 != 2:
		return &httpError{answer.StatusCode}
	case r.Buffered() > 0:
		return fmt.Errorf("%w: bytes of the tunnel before anything was asked", exchange.ErrProtocol)
	}
	return nil
}

// isTLS says whether an error is TLS's own: of a handshake, of a record, or an alert,
// which may come after the handshake too (a client certificate that TLS 1.3 refuses).
func isTLS(err error) bool {
	var handshake *tlsError
	var record tls.RecordHeaderError
	var alert *net.OpError // package tls calls its operations "remote error" and "local error"
	return errors.As(err, &handshake) || errors.As(err, &record) ||
		errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}

// maxSessions bounds the sessions that wait to be resumed.
const maxSessions = 20_000

// sessions are TLS sessions of many devices. Every device has one of its own, which
// it uses once (RFC 8446 appendix C.4): so whoever dials takes one out, and as long
// as there is none the handshake is a full one.
type sessions struct {
	mu   sync.Mutex
	wait []*tls.ClientSessionState
}

// Get takes a session out.
func (s *sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wait) == 0 {
		return nil, false
	}
	state := s.wait[0]
	s.wait[0] = nil
	s.wait = s.wait[1:]
	return state, true
}

// Put brings one back, or one that a server has just given. Nil is a session that
// turned out to be no good; Get has taken it out already.
func (s *sessions) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != nil && len(s.wait) < maxSessions {
		s.wait = append(s.wait, state)
	}
}
