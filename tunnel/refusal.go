package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// Refusal is an error that carries what each audience needs: the client's
// protocol, the metrics, the log, and the code that asks errors.Is.
type Refusal struct {
	// Reply is what a SOCKS5 client is told. Succeeded, the zero value, and
	// unassigned values are sent as GeneralFailure.
	Reply socks.Reply
	// Status is what an HTTP client is told, 4xx or 5xx; zero means 502.
	Status int
	// Label is a metric label out of a closed list; see the Label constants for
	// those that this package gives.
	Label string
	// Text is for the log. No unescaped client text, no secret.
	Text string
	// Err is the cause, for errors.Is and As; may be nil. It is never printed:
	// libraries quote their input in errors.
	Err error
}

// The labels of the refusals that begin in this package. Those of malformed
// SOCKS5 messages are the values of socks.Problem.
const (
	LabelNotTLS       = "not_tls"       // the first bytes are not a TLS handshake
	LabelTLS          = "tls"           // handshake or record layer failed
	LabelTimeout      = "setup_timeout" // not done within Config.SetupTimeout
	LabelHungUp       = "hung_up"       // the client went away
	LabelCancelled    = "cancelled"     // our side ended it: shutdown, or the handler's context
	LabelTooMuch      = "too_much"      // over Config.MaxPreAuthBytes, or a handshake of over 16 KiB
	LabelShed         = "shed"          // closed to make room for another connection
	LabelFull         = "full"          // all of Config.MaxStreams are taken
	LabelNoCredential = "no_credential" // no authentication, and the destination is none
	LabelUnanswered   = "unanswered"    // the handler returned without a word
	LabelConnection   = "connection"    // any other failure of the connection
)

func (r *Refusal) Error() string {
	if r.Text != "" {
		return r.Text
	}
	return "refused: " + r.Label
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// reply is the code that goes over the wire for err. A refusal never says
// success, however it was filled in.
func reply(err error) socks.Reply {
	var r *Refusal
	if !errors.As(err, &r) || r.Reply == socks.Succeeded || r.Reply > socks.AddressNotSupported {
		return socks.GeneralFailure
	}
	return r.Reply
}

var errTooMuch = errors.New("tunnel: too many bytes before authentication")

// refuse makes the Refusal for an error met while speaking with the client;
// doing tells at which step, in our words.
func refuse(ctx context.Context, doing string, err error) *Refusal {
	r := &Refusal{Reply: socks.GeneralFailure, Status: 400, Err: err}
	var problem socks.Problem
	switch {
	case errors.As(err, &problem):
		r.Reply, r.Label, r.Text = problem.Reply(), string(problem), doing+": "+problem.Error()
	case errors.Is(err, errTooMuch):
		r.Label, r.Text = LabelTooMuch, doing+": too many bytes before authentication"
	case errors.Is(err, errFull):
		r.Status, r.Label, r.Text = 503, LabelFull, doing+": there are as many tunnels as there may be"
	case errors.Is(context.Cause(ctx), errShed), errors.Is(err, errShed):
		r.Status, r.Label, r.Text = 503, LabelShed, doing+": closed to make room for others"
	case errors.Is(ctx.Err(), context.Canceled):
		r.Status, r.Label, r.Text = 503, LabelCancelled, doing+": ended from our side"
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		r.Status, r.Label, r.Text = 408, LabelTimeout, doing+": the client took too long"
	case hungUp(err):
		r.Label, r.Text = LabelHungUp, doing+": the client went away"
	default:
		r.Label, r.Text = LabelConnection, doing+": "+SafeText(err.Error(), maxErrorText)
	}
	return r
}

// maxErrorText bounds what a library's error may add to a log line.
const maxErrorText = 200

func hungUp(err error) bool {
	for _, gone := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
		syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
