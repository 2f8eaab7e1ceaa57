package load

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"
)

// pacer starts operations at their moments. It starts them in order, never early,
// and as soon as it can; it leaves none out because it is late; and whatever it is
// late by is in the slip, and in the latency.
type pacer struct {
	rec      *recorder
	slots    chan struct{} // one for every operation that may be under way
	patience time.Duration
	wait     func(ctx context.Context, then time.Time) error // waitSharply
}

// operation does number k, which is due at at. Its error is why it failed.
type operation func(ctx context.Context, k uint64, at time.Time) error

// naming says which row operation k belongs to.
type naming func(k uint64) string

// row is the name of all.
func row(name string) naming { return func(uint64) string { return name } }

// errNoSlot says that patience was over before an operation could begin.
var errNoSlot = errors.New("load: too many operations under way")

// run starts do for everything that is due, each in a goroutine of its own, and
// returns when all have ended. Moments are counted from begin. Once ctx has ended no
// more are started.
func (p *pacer) run(ctx context.Context, name naming, begin time.Time, due iter.Seq2[uint64, time.Duration], do operation) {
	var under sync.WaitGroup
	dispatched := make(chan struct{})
	go func() { // a goroutine of its own, because sharpClock keeps its thread
		defer close(dispatched)
		sharpClock()
		for k, moment := range due {
			at := begin.Add(moment)
			if p.wait(ctx, at) != nil {
				return
			}
			switch err := p.slot(ctx, at); {
			case errors.Is(err, errNoSlot):
				p.rec.unstarted(at)
			case err != nil:
				return
			default:
				under.Go(func() {
					defer func() { <-p.slots }()
					p.attempt(ctx, name(k), k, at, do)
				})
			}
		}
	}()
	<-dispatched
	under.Wait()
}

// attempt does one operation, now, and records how it ended.
func (p *pacer) attempt(ctx context.Context, name string, k uint64, at time.Time, do operation) {
	p.rec.started(name, at, time.Now())
	p.finish(ctx, name, at, do(ctx, k, at))
}

// resume is attempt for a device that had to do with the gateway until free. If that
// was later than at, the difference is the gateway's, and only the rest is slip.
func (p *pacer) resume(ctx context.Context, name string, k uint64, at, free time.Time, do operation) {
	slip := time.Since(at)
	if free.After(at) {
		slip = time.Since(free)
	}
	p.rec.started(name, at, at.Add(slip))
	p.finish(ctx, name, at, do(ctx, k, at))
}

// finish records how what was started has ended.
func (p *pacer) finish(ctx context.Context, name string, at time.Time, err error) {
	switch {
	case err == nil:
		p.rec.succeeded(at)
	case ctx.Err() != nil:
		p.rec.abandoned(at) // it may have failed because the run is being broken off
	default:
		p.rec.gaveUp(name, at, err)
	}
}

// slot takes one of the slots, while patience with what is due at at lasts.
func (p *pacer) slot(ctx context.Context, at time.Time) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	p.rec.full(at)
	patience := time.NewTimer(time.Until(at.Add(p.patience)))
	defer patience.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-patience.C:
		return errNoSlot
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitUntil waits until then; not at all if that has passed. It may be a millisecond
// late, as the runtime's timers are. The error is ctx's.
func waitUntil(ctx context.Context, then time.Time) error {
	if d := time.Until(then); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// waitSharply is the same on the thread of sharpClock. The last bit is left to the
// kernel, so on an idle Linux machine it is exact to some ten microseconds; SelfTest
// says how exact here.
func waitSharply(ctx context.Context, then time.Time) error {
	if err := waitUntil(ctx, then.Add(-finest)); err != nil {
		return err
	}
	for {
		d := time.Until(then)
		if d <= 0 {
			return ctx.Err()
		}
		nap(d)
	}
}
