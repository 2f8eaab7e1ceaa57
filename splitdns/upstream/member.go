package upstream

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// transport puts a question to one server, one way.
type transport interface {
	// exchange returns a matched answer with the query that it answers.
	exchange(ctx context.Context, q Question, edns bool) (*query, []byte, error)
	close()
}

// member is a server of a pool, and what is known of it.
type member struct {
	Server
	transport transport
	timeout   time.Duration
	now       func() time.Time
	hooks     Hooks
	plain     habit // knows no EDNS
	health    health
}

// errSilent is the cause of a context whose attempt took too long.
var errSilent = errors.New("no answer")

// errDefect is what became of an attempt that ran into a defect.
var errDefect = errors.New("a defect, which the log tells more of")

// overtaken is the cause of a context whose attempt lost to another server's.
type overtaken struct{ by *member }

func (o *overtaken) Error() string { return "no answer before that of " + o.by.String() }

// attempt asks the server once, for as long as an attempt may take, and
// remembers how that went.
func (m *member) attempt(ctx context.Context, q Question) (msg *dns.Msg, err error) {
	defer func() {
		if m.hooks.Panicked == nil {
			return
		}
		if value := recover(); value != nil {
			m.hooks.Panicked(value, debug.Stack())
			m.health.release() // nothing was learnt, and another may be the probe
			msg, err = nil, errDefect
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, errSilent)
	defer cancel()
	started := m.now()
	msg, err = m.ask(ctx, q)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // rather than what it did to a socket
	}
	err = brief(err)
	m.learn(err, m.now().Sub(started))
	if errors.Is(err, errSilent) {
		err = fmt.Errorf("%w in %v", errSilent, m.timeout)
	}
	return msg, err
}

// ask puts the question once more without EDNS to a server that does not know
// it, and keeps that in mind.
func (m *member) ask(ctx context.Context, q Question) (*dns.Msg, error) {
	edns := !m.plain.holds(m.now())
	msg, err := m.put(ctx, q, edns)
	if err == nil && edns && knowsNoEDNS(msg) {
		if msg, err = m.put(ctx, q, false); err == nil && !knowsNoEDNS(msg) {
			m.plain.set(m.now())
		}
	}
	if err == nil {
		err = judge(msg)
	}
	if err != nil {
		return nil, err
	}
	return msg, nil
}

func (m *member) put(ctx context.Context, q Question, edns bool) (*dns.Msg, error) {
	asked, answer, err := m.transport.exchange(ctx, q, edns)
	if err != nil {
		return nil, err
	}
	return asked.read(answer)
}

// learn draws from the outcome of an attempt what it says about the server,
// which is nothing when the caller went away early.
func (m *member) learn(err error, took time.Duration) {
	var refused *refusal
	var lost *overtaken
	switch {
	case err == nil:
		m.tell(m.health.answered(m.now(), took), nil)
	case errors.As(err, &refused):
		m.tell(m.health.answered(m.now(), 0), nil) // it lives; how long a refusal takes says nothing
	case errors.As(err, &lost) && lost.by == m:
		m.health.release() // its own second answer came first
	case errors.As(err, &lost):
		m.tell(m.health.overtaken(m.now(), took, m.timeout), err)
	case errors.Is(err, ErrClosed), isGivenUp(err) && took < m.timeout/2:
		m.health.release()
	default:
		m.tell(m.health.failed(m.now(), isSilence(err) || isGivenUp(err)), err)
	}
}

// isGivenUp tells of an attempt that the caller ended.
func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// turn is what an outcome changed.
type turn uint8

const (
	unchanged turn = iota
	wentDown
	cameUp
)

func (m *member) tell(t turn, cause error) {
	switch {
	case t == wentDown && m.hooks.Down != nil:
		m.hooks.Down(m.Server, cause)
	case t == cameUp && m.hooks.Up != nil:
		m.hooks.Up(m.Server)
	}
}

// health is whether a server is worth asking.
//
//	        3 failures in a row               pause over, one attempt at a time
//	up ───────────────────────────► down ────────────────────────────────► probed
//	▲                                ▲                                       │
//	│                                └───── failure: the pause doubles ──────┤
//	└───────────────────── any answer, a refusal among them ─────────────────┘
//
// Refusals are no failures: a server is not to be put out by a name that
// somebody else has broken. For the same reason silence does not put down one
// that was heard of late: there are names whose own servers are silent.
type health struct {
	mu       sync.Mutex // guards everything here
	failures int        // in a row
	heard    time.Time  // the last answer
	down     bool
	probed   bool
	until    time.Time     // the end of the pause, while down
	pause    time.Duration // the one under way, or the last
	usual    time.Duration // how long an answer takes as a rule; 0: not known
}

const (
	failuresToDown = 3
	// For how long after an answer silence does not put a server down.
	lately     = 2 * time.Second
	firstPause = 2 * time.Second
	lastPause  = 30 * time.Second
	// Nobody is overtaken sooner: a resolver that usually answers from memory
	// must have the time to ask others now and then.
	leastPatience = 50 * time.Millisecond
)

// admit says whether the server may be asked for its own sake. A caller who is
// let in to a server that is down is its probe, and must report.
func (h *health) admit(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down {
		return true
	}
	if h.probed || now.Before(h.until) {
		return false
	}
	h.probed = true
	return true
}

// patience is how long the server is waited for alone. A probe gets less, for
// the price of it is somebody's time.
func (h *health) patience(timeout time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.down:
		return timeout / 8
	case h.usual == 0:
		return timeout / 2
	}
	return min(max(4*h.usual, leastPatience), timeout/2)
}

// answered counts an answer that took so long; 0 says nothing about time.
func (h *health) answered(now time.Time, took time.Duration) turn {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case took <= 0:
	case h.usual == 0:
		h.usual = took
	default:
		h.usual += (took - h.usual) / 8
	}
	was := h.down
	h.heard = now
	h.failures, h.down, h.probed = 0, false, false
	if was {
		return cameUp
	}
	return unchanged
}

// overtaken counts an attempt that was ended because another server answered
// first. That is a failure if it had half of its time, or was a probe. If not,
// the server may just be slower than it was: it gets twice the patience, until
// it answers in it, or has had half of its time.
func (h *health) overtaken(now time.Time, took, timeout time.Duration) turn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took >= timeout/2 || h.probed {
		return h.fail(now, true)
	}
	h.usual = max(2*h.usual, leastPatience/4)
	return unchanged
}

// failed counts a failure, silence or another.
func (h *health) failed(now time.Time, silent bool) turn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fail(now, silent)
}

// fail counts a failure. The caller holds the mutex. Failures of a server that
// is asked in its pause, because all are down, do not prolong it.
func (h *health) fail(now time.Time, silent bool) turn {
	h.failures++
	switch {
	case !h.down && silent && now.Sub(h.heard) < lately: // counted, for when that is over
	case h.down && (h.probed || !now.Before(h.until)):
		h.pause = min(2*h.pause, lastPause)
	case !h.down && h.failures >= failuresToDown:
		h.down, h.usual, h.pause = true, 0, firstPause
		h.until = now.Add(h.pause)
		return wentDown
	default:
		return unchanged
	}
	h.probed = false
	h.until = now.Add(h.pause)
	return unchanged
}

// release takes back what admit gave, with nothing learnt.
func (h *health) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = false
}
