package httpconnect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// fault is an error of an HTTP/3 stream, in the words of net. It prints nothing that
// the client chose but a number.
type fault struct {
	kind error // net.ErrClosed, or a syscall.Errno
	what string
}

func (f *fault) Error() string { return "httpconnect: " + f.what }
func (f *fault) Unwrap() error { return f.kind }

// asFault translates an error of the library's. QUIC's errors all call themselves
// net.ErrClosed, whoever closed, and that is our word for what our side did.
func asFault(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	var stream *quic.StreamError
	var app *quic.ApplicationError
	var idle *quic.IdleTimeoutError
	switch {
	case errors.As(err, &stream):
		return &fault{kindOf(stream.Remote), fmt.Sprintf("stream reset with code %#x", uint64(stream.ErrorCode))}
	case errors.As(err, &app):
		// The library closes with another code when the client broke the protocol.
		theirs := app.Remote || app.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError)
		return &fault{kindOf(theirs), fmt.Sprintf("connection closed with code %#x", uint64(app.ErrorCode))}
	case errors.As(err, &idle):
		return &fault{syscall.ETIMEDOUT, "nothing was heard from the client for too long"}
	case errors.As(err, new(*quic.TransportError)), errors.As(err, new(*quic.StatelessResetError)):
		return &fault{syscall.ECONNRESET, "the connection failed"}
	case errors.Is(err, net.ErrClosed):
		return &fault{net.ErrClosed, "the stream, or what carries it, is closed"}
	}
	return &fault{syscall.ECONNRESET, "the client broke the protocol"}
}

func kindOf(theirs bool) error {
	if theirs {
		return syscall.ECONNRESET
	}
	return net.ErrClosed
}
