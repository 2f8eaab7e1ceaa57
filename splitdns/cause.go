package splitdns

import (
	"errors"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// lookUpError is an ErrTimeout or ErrFailed with the question that it is about.
type lookUpError struct {
	kind    error
	pending bool // whoever asked did not wait for the end
	key     key
	source  string
	err     error
}

func (e *lookUpError) Error() string {
	text := e.kind.Error() + ": "
	if e.pending {
		text += "no answer yet for "
	}
	return text + e.key.name + " " + dns.Type(e.key.qtype).String() + " (" + e.source + "): " + e.err.Error()
}

func (e *lookUpError) Unwrap() []error { return []error{e.kind, e.err} }

// Cause puts what Resolve and Look return into a few words, for sentences that
// name what was asked for already: who was asked, and what came of it.
//
//	zone corp.example, 10.0.0.53: connection refused
//	no such name (zone corp.example, 10.0.0.53: NXDOMAIN)
func Cause(err error) string {
	var failed *lookUpError
	if errors.As(err, &failed) {
		switch cause := upstream.Cause(failed.err); {
		case cause != "":
			return failed.source + ", " + cause
		case failed.pending:
			return failed.source + ": no answer yet"
		}
		return failed.source + ", " + failed.err.Error()
	}
	if inner := errors.Unwrap(err); inner != nil { // Resolve and Look say first what was asked for
		err = inner
	}
	return err.Error()
}
