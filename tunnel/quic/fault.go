package quic

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	quicgo "github.com/quic-go/quic-go"
)

// Code says to the peer why a stream was reset, or a connection closed, under
// tunnel.ALPN (RFC 9000 section 20.2). HTTP/3 has codes of its own.
type Code uint64

// The codes.
const (
	CodeNone     Code = iota // a normal end
	CodeCut                  // the tunnel was cut off: do not come back with this ticket
	CodeDraining             // no more streams here: connect anew, and get another server
	CodeUnused               // the connection had no tunnel
	CodeBusy                 // too many connections without a tunnel from this source
	CodeFailures             // too many streams in a row came to nothing
	CodeShutdown             // the server ends
	CodeBroken               // the tunnel's other side broke off
)

var codeNames = [...]string{"none", "cut", "draining", "unused", "busy", "failures", "shutdown", "broken"}

// String is the code's name, as a metric label: a closed list.
func (c Code) String() string {
	if c < Code(len(codeNames)) {
		return codeNames[c]
	}
	return "unknown"
}

// fault is an error of a stream or connection, in the words of net. It prints nothing
// that the peer chose but a number.
type fault struct {
	kind  error // net.ErrClosed, or a syscall.Errno
	what  string
	cause error // quic-go's
}

func (f *fault) Error() string { return "quic: " + f.what }

// Unwrap gives what it means. The cause is left to As: quic-go's errors all call
// themselves net.ErrClosed, whoever closed.
func (f *fault) Unwrap() error { return f.kind }

// As finds the cause.
func (f *fault) As(target any) bool { return errors.As(f.cause, target) }

// asFault translates an error of quic-go's.
func asFault(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	var stream *quicgo.StreamError
	var app *quicgo.ApplicationError
	var transport *quicgo.TransportError
	var idle *quicgo.IdleTimeoutError
	var handshake *quicgo.HandshakeTimeoutError
	var reset *quicgo.StatelessResetError
	switch {
	case errors.As(err, &stream):
		return closing(err, stream.Remote, fmt.Sprintf("stream reset with code %#x", uint64(stream.ErrorCode)))
	case errors.As(err, &app):
		return closing(err, app.Remote, fmt.Sprintf("connection closed with code %#x", uint64(app.ErrorCode)))
	case errors.As(err, &transport):
		// One of ours says that the peer broke the protocol: it is not our side's wish.
		return &fault{syscall.ECONNRESET, fmt.Sprintf("connection failed with code %#x, by %s",
			uint64(transport.ErrorCode), side(transport.Remote)), err}
	case errors.As(err, &idle), errors.As(err, &handshake):
		return &fault{syscall.ETIMEDOUT, "nothing was heard from the peer for too long", err}
	case errors.As(err, &reset):
		return &fault{syscall.ECONNRESET, "the peer does not know the connection any more", err}
	default:
		return &fault{net.ErrClosed, "the stream, or what carries it, is closed", err}
	}
}

func closing(err error, remote bool, what string) error {
	kind := net.ErrClosed
	if remote {
		kind = syscall.ECONNRESET
	}
	return &fault{kind, what + ", by " + side(remote), err}
}

func side(remote bool) string {
	if remote {
		return "the peer"
	}
	return "our side"
}
