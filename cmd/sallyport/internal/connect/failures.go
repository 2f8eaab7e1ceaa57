package connect

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// replyFor puts an error into the words of SOCKS5. What the gateway said is
// passed on as it is.
func replyFor(err error) socks.Reply {
	var refused *socks.ReplyError
	var problem socks.Problem
	var lookup *net.DNSError
	switch {
	case errors.As(err, &refused):
		return refused.Reply
	case errors.Is(err, ErrTicketRefused), errors.Is(err, errNoHost):
		return socks.NotAllowed
	case errors.Is(err, ErrTLS):
		return socks.GeneralFailure
	case timedOut(err):
		return socks.TTLExpired
	case errors.Is(err, syscall.ECONNREFUSED):
		return socks.ConnectionRefused
	case errors.Is(err, ErrUnreachable), errors.Is(err, syscall.ENETUNREACH):
		return socks.NetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &lookup):
		return socks.HostUnreachable
	case errors.As(err, &problem):
		return problem.Reply()
	}
	return socks.GeneralFailure
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// statusFor puts an error into a status of HTTP, and a sentence for people
// that holds nothing of what the client sent.
func statusFor(err error) (status int, text string) {
	var refused *socks.ReplyError
	switch {
	case errors.As(err, &refused) && refused.Reply == socks.NotAllowed:
		return http.StatusForbidden, "The gateway does not allow this destination."
	case errors.Is(err, errNoHost):
		return http.StatusForbidden, "This is no host that a connection may go to."
	case errors.Is(err, ErrNoTicket):
		return http.StatusBadGateway, "There is no ticket to show to the gateway."
	case errors.Is(err, ErrTicketRefused):
		return http.StatusBadGateway, "The gateway refused the ticket."
	case errors.Is(err, ErrTLS):
		return http.StatusBadGateway, "TLS with the gateway failed."
	}
	gateway := errors.Is(err, ErrUnreachable)
	switch reply := replyFor(err); {
	case reply == socks.TTLExpired && gateway:
		return http.StatusGatewayTimeout, "The gateway did not answer in time."
	case gateway:
		return http.StatusBadGateway, "The gateway cannot be reached."
	case reply == socks.TTLExpired:
		return http.StatusGatewayTimeout, "The destination did not answer in time."
	case reply == socks.HostUnreachable, reply == socks.NetworkUnreachable:
		return http.StatusBadGateway, "The destination cannot be found or reached."
	case reply == socks.ConnectionRefused:
		return http.StatusBadGateway, "The destination refuses the connection."
	}
	return http.StatusBadGateway, "The connection could not be made."
}
