package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// The reasons for failures. The list is closed.
const (
	Refused     = "refused"     // the gateway, or the network, does not let the tunnel be
	Ticket      = "ticket"      // the gateway refuses the credential
	TLS         = "tls"         // the handshake failed, or a record made no sense
	Timeout     = "timeout"     // patience was over
	Reset       = "reset"       // the connection was reset
	Ended       = "ended"       // the connection was closed where more was due
	Garbled     = "garbled"     // bytes that were not those that were sent
	Descriptors = "descriptors" // this host has no descriptors left
	Ports       = "ports"       // this host has no ports left for that address
	Source      = "source"      // an address to dial from is none of this host's
	Other       = "other"
)

var allReasons = []string{Refused, Ticket, TLS, Timeout, Reset, Ended, Garbled, Descriptors, Ports, Source, Other}

// tlsError marks what a handshake reported.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// httpError is a proxy's answer to CONNECT that is no success.
type httpError struct{ status int }

func (e *httpError) Error() string { return fmt.Sprintf("CONNECT refused with status %d", e.status) }

// reason is where an error belongs. What the system says of a connection counts
// before the step that it happened in: a reset within a handshake is a reset.
func reason(err error) string {
	var timeout net.Error
	var reply *socks.ReplyError
	var answer *httpError
	var problem socks.Problem
	var call *os.SyscallError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return Descriptors
	case errors.As(err, &call) && call.Syscall == "bind" && errors.Is(err, syscall.EADDRNOTAVAIL):
		return Source
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return Ports
	case errors.Is(err, socks.ErrAuth):
		return Ticket
	case errors.As(err, &answer):
		return statusReason(answer.status)
	case errors.As(err, &reply), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, exchange.ErrRefused),
		errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return Reset
	case errors.Is(err, exchange.ErrGarbled), errors.Is(err, exchange.ErrProtocol),
		errors.Is(err, exchange.ErrVersion), errors.As(err, &problem):
		return Garbled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Ended
	case isTLS(err):
		return TLS
	}
	return Other
}

// statusReason is what the answer to a CONNECT means: 401 and 407 are about the
// credential (RFC 9110), the rest about the tunnel.
func statusReason(status int) string {
	if status == 401 || status == 407 {
		return Ticket
	}
	return Refused
}

// saying keeps the first words for a reason of the list, as far as they are bounded.
func saying(words map[string]string, why, said string) map[string]string {
	const longest = 200
	if _, known := words[why]; known || said == "" || !slices.Contains(allReasons, why) {
		return words
	}
	if words == nil {
		words = make(map[string]string)
	}
	words[why] = strings.ToValidUTF8(said[:min(len(said), longest)], "")
	return words
}
