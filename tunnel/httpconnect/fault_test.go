package httpconnect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sallyport/sallyport/tunnel"
)

// An account tells a client that left from a tunnel that we have cut off.
func TestWhoEndedIt(t *testing.T) {
	w := newWorld(t, Config{}, tunnel.Config{})
	w.overQUIC(t)
	const words = "anything\n level=error"
	for name, leave := range map[string]func(clientHTTP3, *reply){
		"reset":                 func(_ clientHTTP3, r *reply) { r.close() },
		"connection closed":     func(c clientHTTP3, _ *reply) { _ = c.conn.CloseWithError(0x10c, words) },
		"normally, by its code": func(c clientHTTP3, _ *reply) { _ = c.conn.CloseWithError(0x100, words) },
	} {
		c := w.http3(t)
		r := c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
		r.echoes(t, "hello")
		leave(c, r)
		result := <-w.ended
		if result.Reason != tunnel.ClientError || !errors.Is(result.Err, syscall.ECONNRESET) || strings.Contains(fmt.Sprint(result.Err), "level") {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

func TestFault(t *testing.T) {
	const no = quic.ApplicationErrorCode(http3.ErrCodeNoError)
	for _, test := range []struct{ given, want error }{
		{nil, nil},
		{io.EOF, io.EOF},
		{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		{&quic.StreamError{Remote: true}, syscall.ECONNRESET},
		{&quic.StreamError{}, net.ErrClosed},
		{&quic.ApplicationError{Remote: true, ErrorCode: no}, syscall.ECONNRESET},
		{&quic.ApplicationError{ErrorCode: no}, net.ErrClosed},
		{&quic.ApplicationError{ErrorCode: quic.ApplicationErrorCode(http3.ErrCodeFrameUnexpected)}, syscall.ECONNRESET},
		{&quic.TransportError{}, syscall.ECONNRESET},
		{&quic.StatelessResetError{}, syscall.ECONNRESET},
		{&quic.IdleTimeoutError{}, syscall.ETIMEDOUT},
		{net.ErrClosed, net.ErrClosed},
		{errors.New("of a frame"), syscall.ECONNRESET},
	} {
		got := asFault(fmt.Errorf("wrapped: %w", test.given))
		if test.given == nil || test.given == io.EOF { // the one that is compared, and not unwrapped
			got = asFault(test.given)
		}
		if !errors.Is(got, test.want) || test.want != net.ErrClosed && errors.Is(got, net.ErrClosed) {
			t.Errorf("%v: %v, want %v", test.given, got, test.want)
		}
	}
}
