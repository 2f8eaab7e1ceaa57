package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/miekg/dns"
)

// race is the asking of one question.
//
//	first server ─── patience over, or failed ──► next server ─── … ──► next
//	     │                                             │
//	     └─────────────── first good answer ───────────┘──► the rest is cancelled
//
// The servers that are up go round in the pool's order, until one answers or
// the attempts are used up. One that has said no, or failed rather than kept
// silent, is not asked again. Those that are down are asked when nobody else is
// left.
type race struct {
	question Question
	left     int       // attempts
	runners  []*member // to be asked, the next one first
	reserve  []*member // those of them that are down
	resort   bool      // nobody else is left: being down is no excuse
	failures []failure
	results  chan outcome
}

// failure is what came of a server, the last time it was asked.
type failure struct {
	of  *member
	err error
}

type outcome struct {
	from *member
	msg  *dns.Msg
	err  error
}

// newRace lines the servers up. Whether they are up is looked at when it is
// their turn, so that nobody is taken for a probe who is never asked.
func newRace(q Question, members []*member, attempts int) *race {
	if attempts == 0 {
		attempts = max(3, len(members))
	}
	return &race{question: q, left: attempts, runners: slices.Clone(members), results: make(chan outcome, attempts)}
}

// run returns the first good answer, nil and the failures, or the context's
// end. Attempts that are still under way then end with the context, which a
// winner cancels; the caller does in any case.
//
// Most questions are answered by the first server they are put to, so its
// attempt runs here. start runs the rest of the race, should there be one.
func (r *race) run(ctx context.Context, cancel context.CancelCauseFunc, start func(func())) (*Reply, error) {
	first := r.next()
	if first == nil {
		return nil, r.verdict()
	}
	type result struct {
		reply *Reply
		err   error
	}
	rest := make(chan result, 1)
	overdue := time.AfterFunc(first.health.patience(first.timeout), func() {
		reply, err := r.goOn(ctx, cancel, start, 1)
		rest <- result{reply, err}
	})
	msg, err := first.attempt(ctx, r.question)
	if !overdue.Stop() {
		r.results <- outcome{first, msg, err}
		all := <-rest
		return all.reply, all.err
	}
	switch {
	case err == nil:
		return &Reply{Msg: msg, Server: first.Server}, nil
	case ctx.Err() != nil:
		return nil, r.giveUp(context.Cause(ctx))
	}
	r.fail(first, err)
	return r.goOn(ctx, cancel, start, 0)
}

// goOn asks the next server, and one after the other what is left, beside so many
// attempts that run already.
func (r *race) goOn(ctx context.Context, cancel context.CancelCauseFunc, start func(func()), running int) (*Reply, error) {
	patience := time.NewTimer(time.Hour)
	defer patience.Stop()
	launch := func() {
		m := r.next()
		if m == nil {
			return
		}
		running++
		patience.Reset(m.health.patience(m.timeout))
		start(func() {
			msg, err := m.attempt(ctx, r.question)
			r.results <- outcome{m, msg, err}
		})
	}
	for launch(); running > 0; {
		select {
		case got := <-r.results:
			if got.err == nil {
				cancel(&overtaken{by: got.from})
				return &Reply{Msg: got.msg, Server: got.from.Server}, nil
			}
			running--
			r.fail(got.from, got.err)
			// For one that kept silent another was asked when patience ended.
			if running == 0 || !isSilence(got.err) {
				launch()
			}
		case <-patience.C:
			launch()
		case <-ctx.Done():
			return nil, r.giveUp(context.Cause(ctx))
		}
	}
	return nil, r.verdict()
}

// next returns who is asked now, or nil.
func (r *race) next() *member {
	if r.left == 0 {
		return nil
	}
	for {
		if len(r.runners) == 0 {
			if len(r.reserve) == 0 {
				return nil
			}
			r.runners, r.reserve, r.resort = r.reserve, nil, true
		}
		m := r.runners[0]
		r.runners = r.runners[1:]
		if !r.resort && !m.health.admit(m.now()) {
			r.reserve = append(r.reserve, m)
			continue
		}
		r.runners = append(r.runners, m)
		r.left--
		return m
	}
}

func (r *race) fail(m *member, err error) {
	if !isSilence(err) {
		r.runners = slices.DeleteFunc(r.runners, func(other *member) bool { return other == m })
	}
	r.failures = slices.DeleteFunc(r.failures, func(f failure) bool { return f.of == m })
	r.failures = append(r.failures, failure{m, err})
}

// isSilence tells a server that did not answer from one that did, or whose
// machine did.
func isSilence(err error) bool {
	var network net.Error
	return errors.Is(err, errSilent) || errors.As(err, &network) && network.Timeout()
}

// verdict is the error of a race that nobody won.
func (r *race) verdict() error {
	kind := ErrTimeout
	for _, f := range r.failures {
		if !isSilence(f.err) {
			kind = ErrFailed
		}
	}
	return &askError{kind: kind, failures: r.failures}
}

// giveUp is the error of a race whose context ended.
func (r *race) giveUp(cause error) error {
	kind := ErrFailed
	if errors.Is(cause, context.DeadlineExceeded) {
		kind = ErrTimeout
	}
	return &askError{kind: kind, cause: cause, failures: r.failures}
}

// maxCause bounds the text of a failure, in bytes.
const maxCause = 250

// brief keeps what happened, and lets go of evidence: the error of a certificate
// holds all of it, and its text the names that a stranger wrote there; what a
// server says at the end of HTTP/2 is as long as it likes. Errors are remembered
// and logged.
func brief(err error) error {
	var certificate *tls.CertificateVerificationError
	if err == nil || isSilence(err) || len(err.Error()) <= maxCause && !errors.As(err, &certificate) {
		return err
	}
	text := err.Error()
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), maxCause)])
	return errors.New(text)
}

// askError is an ErrTimeout or ErrFailed with everything that led to it.
type askError struct {
	kind, cause error // the cause may be nil
	failures    []failure
}

func (e *askError) Error() string {
	var b strings.Builder
	b.WriteString("upstream: " + e.kind.Error())
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	for i, f := range e.failures {
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator + f.of.String() + ": " + f.err.Error())
	}
	return b.String()
}

func (e *askError) Unwrap() []error {
	all := []error{e.kind}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	for _, f := range e.failures {
		all = append(all, f.err)
	}
	return all
}
