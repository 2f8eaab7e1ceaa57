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

// denial is an ErrNotFound that servers said. It is told of a name over and over,
// from the cache: so it is put into words only where somebody reads them.
type denial struct {
	noSuchName     bool // else the name is there, without addresses
	source, server string
}

func (d *denial) Error() string {
	teller := teller(d.source, d.server)
	if d.noSuchName {
		return ErrNotFound.Error() + " (" + teller + ": NXDOMAIN)"
	}
	return ErrNotFound.Error() + ": it has no address (" + teller + ")"
}

func (d *denial) Unwrap() error { return ErrNotFound }

// aboutName says first what was asked for.
type aboutName struct {
	name string
	err  error
}

func (a *aboutName) Error() string { return "splitdns: " + a.name + ": " + a.err.Error() }
func (a *aboutName) Unwrap() error { return a.err }

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
