package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
)

const (
	// maxCalls bounds what a coordinator may have under way, and maxWatched the processes
	// that it has watched.
	maxCalls   = 8
	maxWatched = 16
	// maxPast and maxAhead are how far from now a plan may begin, and maxLasts is how
	// long it may take.
	maxPast  = time.Minute
	maxAhead = time.Hour
	maxLasts = 24 * time.Hour
)

var (
	errBusy    = errors.New("busy with another run")
	errEnded   = errors.New("the coordinator ended the run")
	errBroken  = errors.New("broken off by the coordinator")
	errTrigger = errors.New("commands are not run here: start it with --trigger to allow them")
	errNothing = errors.New("there is no exchange service here")
)

// deeds are what a host can do. They are functions so that a test can have a clock
// that is wrong, or a load that takes as long as it likes.
type deeds struct {
	now      func() time.Time
	look     func(context.Context) (evidence.Host, error)
	watch    func([]evidence.Watched) func() (evidence.Sample, error) // the first sample sets the base
	account  func() exchange.Account                                  // nil without a service
	rehearse func(context.Context, rehearsal) (rehearsed, error)
	run      func(context.Context, load.Plan, func(load.Second)) (load.Result, error)
}

// host is the agent's side of a session: what one coordinator may do with this host.
type host struct {
	version   string
	service   string
	addresses func() []netip.Addr // they change while an agent runs
	trigger   bool                // a plan may name a command
	do        deeds
}

// session is what goes on for one coordinator. Calls run beside one another, so that
// a plan does not keep clock and heartbeat waiting; all of them end with ctx.
type session struct {
	*host
	link *link
	ctx  context.Context
	end  context.CancelCauseFunc

	calls sync.WaitGroup
	slots chan struct{}

	mu       sync.Mutex
	breakOff context.CancelCauseFunc // of the plan that runs; nil if none does
	watching bool
}

// serve answers one coordinator until it goes away, is silent for too long, or ctx
// ends, and says which. Nothing that it began is left then.
func (h *host) serve(ctx context.Context, l *link) error {
	ctx, end := context.WithCancelCause(ctx)
	s := &session{host: h, link: l, ctx: ctx, end: end, slots: make(chan struct{}, maxCalls)}
	defer s.calls.Wait()
	defer l.close()
	defer end(errEnded)
	defer context.AfterFunc(ctx, l.close)()

	limit := maxHello
	for greeted := false; ; greeted = true {
		m, err := l.receive(limit)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		if err := m.fits(maxPlain); err != nil && m.Call != callRun {
			return err
		}
		if m.Call == "" || greeted == (m.Call == callHello) {
			return fmt.Errorf("%w: a call was expected, and hello first", errFrame)
		}
		if err := s.take(m); err != nil {
			return err
		}
		limit = maxPlan
	}
}

// take answers what takes no time at once, and starts the rest. An error ends the
// session.
func (s *session) take(m message) error {
	switch m.Call {
	case callHello:
		return s.hello(m)
	case callBeat:
		return s.answer(m, nil, nil)
	case callClock:
		return s.answer(m, s.do.now().Round(0), nil)
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return s.answer(m, nil, errors.New("too many calls at a time"))
	}
	s.calls.Go(func() {
		defer func() { <-s.slots }()
		body, err := s.perform(m)
		if err := s.answer(m, body, err); err != nil {
			s.end(err)
		}
	})
	return nil
}

func (s *session) hello(m message) error {
	var theirs hello
	if err := unpack(m.Body, &theirs); err != nil {
		return err
	}
	if theirs.Version != s.version {
		err := fmt.Errorf("version %s runs here, and %.100q asks: use the same program on all hosts", s.version, theirs.Version)
		return errors.Join(err, s.answer(m, nil, err))
	}
	return s.answer(m, hello{Version: s.version, Addresses: s.addresses(), Service: s.service, PID: os.Getpid()}, nil)
}

// perform does what a call asks for.
func (s *session) perform(m message) (any, error) {
	switch m.Call {
	case callLook:
		return s.do.look(s.ctx)
	case callAccount:
		if s.do.account == nil {
			return nil, errNothing
		}
		return s.do.account(), nil
	case callWatch:
		var w watched
		if err := unpack(m.Body, &w); err != nil {
			return nil, err
		}
		return nil, s.watch(m.ID, w)
	case callRehearse:
		var r rehearsal
		if err := unpack(m.Body, &r); err != nil {
			return nil, err
		}
		return s.do.rehearse(s.ctx, r)
	case callRun:
		return s.run(m.ID, m.Body)
	case callBreak:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.breakOff != nil {
			s.breakOff(errBroken)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("%.40q is not a call", m.Call)
}

// run carries out a plan, one at a time, and sends its seconds as they pass. A plan
// that was broken off has a result too.
func (s *session) run(id uint64, body json.RawMessage) (any, error) {
	ctx, breakOff := context.WithCancelCause(s.ctx)
	defer breakOff(nil)
	s.mu.Lock()
	if s.breakOff != nil {
		s.mu.Unlock()
		return nil, errors.New("a plan is running already")
	}
	s.breakOff = breakOff
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.breakOff = nil
	}()
	var plan load.Plan
	if err := unpack(body, &plan); err != nil {
		return nil, err
	}
	if err := errors.Join(plan.Check(), timely(plan, s.do.now())); err != nil {
		return nil, err
	}
	if len(plan.Scenario.Trigger) > 0 && !s.trigger {
		return nil, errTrigger
	}
	result, err := s.do.run(ctx, plan, func(second load.Second) { s.event(id, eventSecond, second) })
	if err != nil && ctx.Err() == nil {
		return nil, errors.New(withoutTrigger(err.Error(), plan.Scenario.Trigger))
	}
	answer := ran{Result: result}
	if cause := context.Cause(ctx); cause != nil {
		answer.Broken = cause.Error()
	}
	return answer, nil
}

// timely refuses a plan for another time, by this host's clock. Nobody waits an hour for
// a beginning, and what should have begun a minute ago would make up for it all at once:
// a clock was read wrongly, or set since.
func timely(plan load.Plan, now time.Time) error {
	if all := lasts(plan.Scenario); all > maxLasts {
		return fmt.Errorf("the plan lasts %s, where a day is the most", all)
	}
	switch ahead := plan.Begin.Sub(now); {
	case plan.Begin.IsZero(): // at once
	case ahead < -maxPast:
		return fmt.Errorf("the plan began %s ago by this host's clock, where a minute is the most: did a clock move?", -ahead.Round(time.Second))
	case ahead > maxAhead:
		return fmt.Errorf("the plan begins in %s by this host's clock, where an hour is the most: did a clock move?", ahead.Round(time.Second))
	}
	return nil
}

// watch samples the host every second until the session ends.
func (s *session) watch(id uint64, w watched) error {
	if len(w.Processes) > maxWatched {
		return fmt.Errorf("%d processes are to be watched, where %d are the most", len(w.Processes), maxWatched)
	}
	for i := range w.Processes {
		if w.Processes[i].PID == 0 { // this one
			w.Processes[i].PID = os.Getpid()
		}
		if pid := w.Processes[i].PID; !evidence.Lives(pid) {
			return fmt.Errorf("there is no process %d on this host", pid)
		}
	}
	s.mu.Lock()
	before := s.watching
	s.watching = true
	s.mu.Unlock()
	if before {
		return errors.New("this host is watched already")
	}
	sample := s.do.watch(w.Processes)
	if _, err := sample(); err != nil {
		return err
	}
	s.calls.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-ticker.C:
			}
			taken, err := sample()
			if err != nil {
				s.end(fmt.Errorf("sampling: %w", err))
				return
			}
			s.event(id, eventSample, taken)
		}
	})
	return nil
}

func (s *session) event(id uint64, name string, body any) {
	raw, err := pack(body)
	if err == nil {
		err = s.link.send(message{ID: id, Event: name, Body: raw})
	}
	if err != nil {
		s.end(err)
	}
}

// answer sends what became of a call. Its error is the link's.
func (s *session) answer(m message, body any, failed error) error {
	out := message{ID: m.ID}
	if failed != nil {
		out.Error = failed.Error()
	} else {
		raw, err := pack(body)
		if err != nil {
			return err
		}
		out.Body = raw
	}
	return s.link.send(out)
}
