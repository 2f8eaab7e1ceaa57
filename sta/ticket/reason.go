package ticket

import (
	"errors"
	"fmt"
)

// Reason says why something was refused. The list is closed: the same words go
// over the wire between authority and gateway, into logs, metric labels and the
// audit file. A device is never told one: on its wire all refusals of a ticket
// look the same.
type Reason string

const (
	// Malformed: not the form of a handle, token, hash or presentation.
	Malformed Reason = "malformed"
	// Unknown: the authority holds no ticket with this handle.
	Unknown Reason = "unknown_ticket"
	// Expired: exp has come.
	Expired Reason = "expired"
	// NotYetValid: nbf or iat lies further ahead than clocks may differ.
	NotYetValid Reason = "not_yet_valid"
	// WrongAudience: the ticket is for other gateways.
	WrongAudience Reason = "wrong_audience"
	// WrongAuthority: signed by, or presented for, an authority not configured here.
	WrongAuthority Reason = "wrong_authority"
	// BadSignature: signature, algorithm, type or key is not what it must be.
	BadSignature Reason = "bad_signature"
	// Mismatch: the statement speaks of another handle.
	Mismatch Reason = "handle_mismatch"
	// Revoked: the ticket or its family was revoked.
	Revoked Reason = "revoked"
	// Held: everyone was cut, and this ticket's turn to be let in again has not come.
	Held Reason = "held_back"
	// NotSupported: a form of presentation that this door does not take.
	NotSupported Reason = "not_supported"

	// Unauthenticated: the client showed no valid key.
	Unauthenticated Reason = "unauthenticated"
	// Forbidden: the client may not do this.
	Forbidden Reason = "forbidden"
	// Invalid: a request that does not say what it must, or says too much.
	Invalid Reason = "invalid_request"
	// NotFound: no such resource, or no ticket with this id.
	NotFound Reason = "not_found"
	// Ambiguous: a name that means more than was probably meant.
	Ambiguous Reason = "ambiguous"
	// TooLarge: the request, or the ticket it would make, is over its bound.
	TooLarge Reason = "too_large"
	// MethodNotAllowed: this address does not take that HTTP method.
	MethodNotAllowed Reason = "method_not_allowed"
	// Unavailable: the store, the audit file or the authority cannot be reached.
	Unavailable Reason = "unavailable"
	// Busy: too many are asking at once.
	Busy Reason = "busy"
)

// Error carries the reason of a refusal; find it with errors.As or ReasonOf.
// Text is for operators' eyes and holds no secret and nothing that a client
// chose.
type Error struct {
	Reason Reason
	Text   string
	Err    error // the cause, or nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

func (e *Error) Unwrap() error { return e.Err }

// Refuse makes an *[Error] with a reason and a text.
func Refuse(r Reason, format string, args ...any) error { return refuse(r, format, args...) }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Text: fmt.Sprintf(format, args...)}
}

// ReasonOf gives the reason that err carries, [Unavailable] for an error that
// carries none (something failed rather than was refused), and "" for nil.
func ReasonOf(err error) Reason {
	var refusal *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refusal):
		return refusal.Reason
	default:
		return Unavailable
	}
}
