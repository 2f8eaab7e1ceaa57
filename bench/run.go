package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// run is one run of the bench, on the coordinator.
type run struct {
	Options
	tell Progress

	cast    cast   // who takes part
	service string // as endpoints know it
	direct  string // as clients reach it without an endpoint

	report *report.Report
	valued []valued         // of the report's rounds
	rss    map[string]int64 // of gateways by endpoint, ahead of their first round

	mu   sync.Mutex // guards step
	step Step
}

// Run has the hosts do what options say, and reports it. Once a round has begun there
// is a report whatever happens: with an error it is partial, and marked so. The error
// is ctx's, a *LoopbackError, or says which host went away or refused.
func Run(ctx context.Context, options Options, progress Progress) (*report.Report, error) {
	if err := options.Check(); err != nil {
		return nil, err
	}
	r := &run{Options: options.withDefaults(), tell: progress}
	began := time.Now()
	id := make([]byte, 2)
	rand.Read(id)
	r.report = &report.Report{
		Format: report.Format, ID: began.UTC().Format("20060102T150405Z-") + hex.EncodeToString(id),
		Began: began.Round(0), Version: r.Version, Commit: r.Commit, Command: r.Command,
	}
	for _, e := range r.Endpoints {
		r.report.Endpoints = append(r.report.Endpoints, e.Name)
	}

	// The hosts outlive ctx by a little: when it ends, they are still to say how far
	// they came.
	life, endLife := context.WithCancel(context.WithoutCancel(ctx))
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var attending errgroup.Group
	defer func() { endLife(); _ = attending.Wait() }() // what went wrong is ctx's cause by then
	err := r.prepare(ctx, func(attend func(context.Context) error) {
		attending.Go(func() error {
			err := attend(life)
			if err != nil {
				fail(err)
			}
			return err
		})
	})
	if err == nil {
		err = r.measure(ctx)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // a call that failed is only what followed from it
	}
	if err != nil && len(r.report.Rounds) == 0 && len(r.report.Knees) == 0 {
		return nil, err
	}
	r.finish(life, err)
	return r.report, err
}

// prepare brings the hosts together and looks at them.
func (r *run) prepare(ctx context.Context, start func(func(context.Context) error)) error {
	r.say("reaching the hosts", 0)
	var err error
	if r.cast, err = gather(ctx, r.Options, start); err != nil {
		return err
	}
	if err := r.locate(ctx); err != nil {
		return err
	}
	r.say("looking at the hosts", 0)
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range r.cast.all {
		group.Go(func() error {
			if err := m.party.call(ctx, callLook, nil, &m.host, nil); err != nil {
				return err
			}
			return m.party.call(ctx, callWatch, watched{m.watch}, nil, nil)
		})
	}
	return group.Wait()
}

// measure calibrates, looks for the knee if it is asked for, and does the rounds.
func (r *run) measure(ctx context.Context) error {
	rounds := time.Duration(r.Rounds*len(r.Endpoints)) * r.takes(r.Scenario)
	r.expect(time.Duration(len(r.cast.clients)+2)*r.Calibrate + rounds)
	if r.Knee {
		r.expect(time.Duration(len(r.Endpoints)*kneeTries) * r.takes(shortened(r.Scenario, r.Objectives)))
	}
	if err := r.calibrate(ctx); err != nil {
		return err
	}
	if r.Knee {
		held, err := r.knees(ctx)
		if err != nil {
			return err
		}
		if held == 0 {
			r.expect(-rounds)
			r.mark("no rounds: no load was found at which every endpoint met the objectives")
			return nil
		}
		r.Scenario = withLoad(r.Scenario, held)
	}
	plan := r.plan(r.Endpoints[0], r.Scenario, r.service)
	r.report.Plan, r.report.Turns = redacted(plan), r.Rounds
	for number := 1; number <= r.Rounds; number++ {
		for i := range r.Endpoints {
			// The order moves on by one each round: who comes first meets another machine.
			e := r.Endpoints[(i+number-1)%len(r.Endpoints)]
			r.say(fmt.Sprintf("round %d of %d through %s", number, r.Rounds, e.Name), 0)
			round, v, err := r.round(ctx, e, r.Scenario)
			if v != nil {
				round.Number = number
				r.report.Rounds = append(r.report.Rounds, *round)
				if err == nil {
					r.valued = append(r.valued, newValued(e.Name, number, len(round.Void) > 0, v))
				}
			}
			if err != nil {
				return err
			}
			if number == 1 && servedNothing(v) {
				r.mark(fmt.Sprintf("ended after its first round: nothing was served through %s, whose further rounds would say no more", e.Name))
				return nil
			}
		}
	}
	return nil
}

// servedNothing is whether all that was tried in a round failed.
func servedNothing(v *view) bool {
	r := v.result
	return r.Done == 0 && r.Held == 0 && r.Failed > 0
}

// knees looks for each endpoint's knee. What comes back is the highest load that all
// of them held; 0 if one held none.
func (r *run) knees(ctx context.Context) (held float64, err error) {
	plan := r.plan(r.Endpoints[0], r.Scenario, r.service)
	r.report.Plan = redacted(plan)
	start, unit, whole := loadOf(r.Scenario)
	each := r.takes(shortened(r.Scenario, r.Objectives)) // as was expected
	for i, e := range r.Endpoints {
		tries := 0
		knee, err := searchKnee(ctx, start, whole, func(ctx context.Context, at float64) (attempt, error) {
			tries++
			r.say(fmt.Sprintf("knee of %s, try %d of %d at most: %.4g %s", e.Name, tries, kneeTries, at, unit), 0)
			s := shortened(withLoad(r.Scenario, at), r.Objectives)
			r.expect(r.takes(s) - each)
			if plan := r.plan(e, s, r.service); plan.Check() != nil {
				r.expect(-r.takes(s))
				return attempt{void: "a plan allows no more than this"}, nil
			}
			round, v, err := r.round(ctx, e, s)
			if err != nil {
				return attempt{}, err
			}
			a := attemptOf(v, r.Objectives)
			if len(round.Void) > 0 {
				a.void = round.Void[0].Says
				r.mark(fmt.Sprintf("the search for the knee of %s ended at %.4g %s, where the try was void: %s", e.Name, at, unit, a.void))
			}
			return a, nil
		})
		knee.Endpoint, knee.Unit = e.Name, unit
		if len(knee.Tries) > 0 {
			r.report.Knees = append(r.report.Knees, knee)
		}
		if err != nil {
			return 0, err
		}
		r.expect(-time.Duration(kneeTries-tries) * each)
		if i == 0 || knee.Load < held {
			held = knee.Load
		}
	}
	return held, nil
}

// takes is how long a round is.
func (r *run) takes(s load.Scenario) time.Duration { return r.Settle + lead + lasts(s) + tail }

// expect has the whole run take so much longer than was expected.
func (r *run) expect(longer time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step.Of += longer
}

// say tells where the run is; spent is what has been done since the last time.
func (r *run) say(text string, spent time.Duration) {
	r.mu.Lock()
	if text != "" {
		r.step.Text = text
	}
	r.step.Done += spent
	r.step.Second = load.Second{}
	step := r.step
	r.mu.Unlock()
	if r.tell != nil {
		r.tell(step)
	}
}

// sayYet tells of a second that a client saw.
func (r *run) sayYet(s load.Second) {
	r.mu.Lock()
	r.step.Second = s
	step := r.step
	r.mu.Unlock()
	if r.tell != nil {
		r.tell(step)
	}
}

// interrupted is whether an error is the user's own doing.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
