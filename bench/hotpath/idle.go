package main

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"time"
)

// idle measures what tunnels hold that carry nothing any more. Each variant has
// processes of its own, for what was once in use leaves traces.
func (b *bench) idle(ctx context.Context) error {
	for range b.plan.IdleRounds {
		exchange := order{Do: "exchange", Times: 1, Parallel: b.plan.Parallel, Up: message, Down: message}
		if err := b.idleAfter(ctx, idleBoth, exchange); err != nil {
			return err
		}
		exchange.Up, exchange.Down = upload, 1
		if err := b.idleAfter(ctx, idleUpload, exchange); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) idleAfter(ctx context.Context, figure string, exchange order) error {
	return b.withLanes(ctx, b.gateways, func(lanes []*lane) error {
		var resting []*rested
		err := b.turns(ctx, figure, lanes, 1, func(l *lane) error {
			r := &rested{lane: l}
			resting = append(resting, r)
			if err := b.fill(ctx, r, b.plan.Tunnels, exchange); err != nil {
				return err
			}
			held, err := r.held(b.plan.Tunnels)
			if err != nil {
				return err
			}
			b.results.add(atOnce(figure), "KiB RSS", l.gateway, held)
			if err := r.idleFor(ctx, min(settling, b.plan.After)); err != nil {
				return err
			}
			if held, err = r.held(b.plan.Tunnels); err != nil {
				return err
			}
			b.results.add(figure, "KiB RSS", l.gateway, held)
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range resting {
			if err := b.lookAgain(ctx, figure, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// rested is a lane that has all its tunnels.
type rested struct {
	*lane
	base  int64     // KiB that the gateway had before
	since time.Time // nothing happens
}

// idleFor waits until nothing has happened for so long.
func (r *rested) idleFor(ctx context.Context, d time.Duration) error {
	enough := time.NewTimer(time.Until(r.since.Add(d)))
	defer enough.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-enough.C:
		return nil
	}
}

// held is what the gateway has more than before, in KiB a tunnel.
func (r *rested) held(tunnels int) (float64, error) {
	now, err := resident(r.process.pid())
	return float64(now-r.base) / float64(tunnels), err
}

// fill opens all tunnels and leaves them idle. The base is from when the gateway
// had had a few tunnels and had none.
func (b *bench) fill(ctx context.Context, r *rested, tunnels int, exchange order) (err error) {
	open := order{Do: "open", N: min(tunnels, 2*b.plan.Parallel), Parallel: b.plan.Parallel}
	if err := r.doAll(ctx, open, exchange, order{Do: "drop"}); err != nil {
		return err
	}
	if _, err := r.rest(ctx); err != nil {
		return err
	}
	if r.base, err = resident(r.process.pid()); err != nil {
		return err
	}
	open.N = tunnels
	return b.leaveIdle(ctx, r, open, exchange)
}

// leaveIdle opens tunnels, uses all that are there once, and notes when that is over.
func (b *bench) leaveIdle(ctx context.Context, r *rested, open, exchange order) error {
	if err := r.doAll(ctx, open, exchange); err != nil {
		return err
	}
	_, err := r.rest(ctx)
	r.since = time.Now()
	return err
}

// lookAgain measures once the lane has idled for long enough. It counts only if
// the tunnels are still there, which it asks afterwards, for that is no rest.
func (b *bench) lookAgain(ctx context.Context, figure string, r *rested) error {
	b.progress("%s: %g s of rest, gateway %s", figure, b.plan.After.Seconds(), r.gateway)
	if err := r.idleFor(ctx, b.plan.After); err != nil {
		return err
	}
	held, err := r.held(b.plan.Tunnels)
	if err != nil {
		return err
	}
	answer, err := r.do(ctx, order{Do: "probe", Parallel: b.plan.Parallel, Up: headSize, Down: 1})
	if err != nil {
		return err
	}
	if answer.Dead > 0 {
		b.results.miss(later(figure, b.plan.After)+", gateway "+r.gateway,
			fmt.Sprintf("%d of %d tunnels had ended by then", answer.Dead, b.plan.Tunnels))
		return nil
	}
	b.results.add(later(figure, b.plan.After), "KiB RSS", r.gateway, held)
	if figure != idleBoth {
		return nil
	}
	if _, err := r.rest(ctx); err != nil {
		return err
	}
	return b.addGoroutines(r.lane)
}

// addGoroutines ends a gateway, which was written in Go and has no debugging
// door, by SIGQUIT: it prints all its goroutines when it dies of that.
func (b *bench) addGoroutines(l *lane) error {
	var n int
	l.process.said.follow(func(line []byte) {
		if bytes.HasPrefix(line, []byte("goroutine ")) && bytes.HasSuffix(line, []byte("]:")) {
			n++
		}
	})
	const within = time.Minute // thousands of stacks take a while
	err := l.process.end(within, func() { l.process.signalGroup(syscall.SIGQUIT) })
	l.process.said.follow(nil) // nobody counts any more
	switch {
	case err != nil:
		return err
	case l.process.killed:
		b.results.miss(goroutines+", gateway "+l.gateway, "it had not printed them all after "+within.String())
	default:
		b.results.add(goroutines, "", l.gateway, float64(n)/float64(b.plan.Tunnels))
	}
	return nil
}
