package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// The phases of a run.
const (
	phaseRamp    = "ramp"
	phaseSustain = "sustain"
	phaseDown    = "down"
	phaseDrain   = "drain" // the schedule is over, something is still under way
	phaseDone    = "done"
)

// Observer looks on. Its functions may be nil. They are called one at a time, and must
// be quick: what they take is missing from the next second.
type Observer struct {
	// Second is called as each second ends. Its Scheduled may grow later, if the
	// generator was late; the result has the final figure.
	Second func(Second)
	// phase is called when a phase begins, with its moment as planned.
	phase func(phase string, at time.Time)
}

// client is one run.
type client struct {
	plan    Plan
	dialer  *dialer
	talk    exchange.Client
	rec     *recorder
	tunnels *tunnels
	pacer   *pacer
	devices sync.WaitGroup // what holds a tunnel
	trigger trigger
}

// Run does what a plan says, and returns what it saw. A zero Begin means now; one
// that has passed makes the first operations late.
//
// If ctx ends, the result is what was seen until then, and the error is ctx's. An
// error without a result says that nothing was run: what Check says, an endpoint
// whose name is unknown, a CA without a certificate. A trigger that failed is an
// error with a result, an *exec.ExitError among others.
func Run(ctx context.Context, p Plan, o Observer) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	d, err := newDialer(ctx, &p)
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	begin := time.Now() // with its monotonic clock: a clock that is set must not move the schedule
	if !p.Begin.IsZero() {
		begin = begin.Add(p.Begin.Sub(begin))
	}
	c := &client{plan: p, dialer: d, rec: newRecorder(begin, p.Scenario)}
	c.tunnels = &tunnels{rec: c.rec, open: make(map[*tunnel]struct{})}
	c.pacer = &pacer{rec: c.rec, slots: make(chan struct{}, p.MaxInFlight), patience: p.Patience, wait: waitSharply}
	if err := waitUntil(ctx, begin); err != nil {
		return Result{}, fmt.Errorf("load: broken off before it began: %w", err)
	}
	return c.run(ctx, o)
}

func (c *client) run(ctx context.Context, o Observer) (Result, error) {
	stop := context.AfterFunc(ctx, c.tunnels.abort)
	defer stop()
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { c.rec.observe(o, over) })
	c.scenario()(ctx)
	c.devices.Wait()
	if ctx.Err() == nil {
		_ = waitUntil(ctx, c.rec.end) // an empty ramp down is part of the run
	}
	broken := ctx.Err()
	close(over)
	watch.Wait()
	c.tunnels.abort()
	result := c.rec.take()
	result.Handshakes, result.Resumed = c.dialer.handshakes.Load(), c.dialer.resumed.Load()
	if broken != nil {
		return result, fmt.Errorf("load: broken off after %v of %v: %w",
			time.Since(c.rec.begin).Round(time.Millisecond), c.rec.end.Sub(c.rec.begin), broken)
	}
	return result, c.trigger.failed()
}

// scenario is what the plan's kind does.
func (c *client) scenario() func(context.Context) {
	switch c.plan.Scenario.Kind {
	case Setup:
		return c.setup
	case Idle:
		return c.idle
	case Bulk:
		return c.bulk
	case Requests:
		return c.requests
	case Push:
		return c.push
	case Storm:
		return c.storm
	case Morning:
		return c.morning
	case Revoke:
		return c.revoke
	case Extender:
		return c.extender
	case Attachments:
		return c.attachments
	}
	return c.day
}

// observe ends seconds and phases at their moments, until over is closed; then it
// ends what is open.
func (r *recorder) observe(o Observer, over <-chan struct{}) {
	tellSecond := func(s Second) {
		if o.Second != nil {
			o.Second(s)
		}
	}
	phases := r.phases()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for i := 0; ; {
		next := r.begin.Add(time.Duration(i+1) * time.Second)
		phase := len(phases) > 0 && !phases[0].at.After(next)
		if phase {
			next = phases[0].at
		}
		alarm.Reset(time.Until(next))
		select {
		case <-alarm.C:
		case <-over:
			r.endSustain()
			tellSecond(r.endSecond(i))
			if o.phase != nil {
				o.phase(phaseDone, time.Now())
			}
			return
		}
		if !phase {
			tellSecond(r.endSecond(i))
			i++
			continue
		}
		phases[0].enter()
		if o.phase != nil {
			o.phase(phases[0].name, phases[0].at)
		}
		phases = phases[1:]
	}
}

type phase struct {
	name  string
	at    time.Time
	enter func()
}

// phases are those of a run, without what is empty. Sustain never is.
func (r *recorder) phases() []phase {
	nothing := func() {}
	var all []phase
	if r.sustain.After(r.begin) {
		all = append(all, phase{phaseRamp, r.begin, nothing})
	}
	all = append(all, phase{phaseSustain, r.sustain, r.beginSustain})
	last := phase{phaseDrain, r.end, r.endSustain}
	if r.end.After(r.down) {
		all = append(all, phase{phaseDown, r.down, r.endSustain})
		last.enter = nothing
	}
	return append(all, last)
}
