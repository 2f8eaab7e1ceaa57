package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// device is the life of device k from when its tunnel stands; nil if it could not be
// opened.
type device func(ctx context.Context, k uint64, t *tunnel)

// each opens n tunnels in the ramp, and lets each device live.
func (c *client) each(ctx context.Context, n int, live device) {
	c.pacer.run(ctx, row("setup"), c.rec.begin, c.plan.spread(n, c.plan.Scenario.Ramp, false),
		func(opening context.Context, k uint64, at time.Time) error {
			t, err := c.open(opening, k, at)
			if err == nil {
				c.hold(t)
			}
			c.devices.Go(func() { live(ctx, k, t) })
			return err
		})
}

// idle holds tunnels, and uses each once in the last tenth of sustain, spread over
// it: a tunnel that is open and dead shows.
func (c *client) idle(ctx context.Context) {
	s := c.plan.Scenario
	moments := make(map[uint64]time.Time)
	for k, d := range c.plan.spread(s.Devices, s.Sustain/10, false) {
		moments[k] = c.rec.down.Add(d - s.Sustain/10)
	}
	c.each(ctx, s.Devices, func(ctx context.Context, k uint64, t *tunnel) {
		if t == nil {
			return
		}
		at, free := moments[k], time.Now() // free after at, if the tunnel was so long in coming
		if err := t.watch(at); err != nil {
			if ctx.Err() == nil {
				c.rec.started("exchange", at, at)
				c.pacer.finish(ctx, "exchange", at, err)
			}
			c.drop(ctx, t)
			return
		}
		c.pacer.resume(ctx, "exchange", k, at, free, func(ctx context.Context, _ uint64, at time.Time) error {
			_, err := c.step(t, "exchange", at, at, exchange.Ask{Up: s.UpBytes, Down: s.DownBytes})
			return err
		})
		_ = t.watch(c.rec.end) // what comes of it does not matter any more
		_ = t.Close()
	})
}

// push lets devices hold long polls.
func (c *client) push(ctx context.Context) { c.each(ctx, c.plan.Scenario.Devices, c.polls) }

// polls is the life of a device that holds a poll, and the next as soon as it is
// answered, until the run ends.
func (c *client) polls(ctx context.Context, k uint64, t *tunnel) {
	for n := uint64(0); ctx.Err() == nil && time.Now().Before(c.rec.end); n++ {
		if t == nil {
			if t = c.reopen(ctx, k, n); t == nil {
				continue
			}
		}
		ask := exchange.Ask{Up: pollUp, Down: pollDown, Hold: c.plan.heartbeat(k, n)}
		if err := c.poll(ctx, t, "poll", ask); err != nil {
			c.drop(ctx, t)
			t = nil
		}
	}
	if t != nil {
		_ = t.Close()
	}
}

// reopen is what a device does whose tunnel has ended: after a while, another.
func (c *client) reopen(ctx context.Context, k, n uint64) *tunnel {
	at := time.Now().Add(retryAfter + time.Duration(c.plan.draw(k^mix(n), drawMoment)*float64(retryAfter)))
	if !at.Before(c.rec.end) {
		at = c.rec.end
	}
	if waitUntil(ctx, at) != nil || !at.Before(c.rec.end) {
		return nil
	}
	var t *tunnel
	c.pacer.attempt(ctx, "setup", k, at, func(ctx context.Context, k uint64, at time.Time) (err error) {
		if t, err = c.open(ctx, k, at); err == nil {
			c.rec.took("setup", at, at, unknown)
			c.hold(t)
		}
		return err
	})
	return t
}

// poll asks and waits for the answer. It is due at its start and the hold, and that
// is the moment that counts; one that is due after the run stands until the run ends.
func (c *client) poll(ctx context.Context, t *tunnel, name string, a exchange.Ask) error {
	due := time.Now().Add(a.Hold)
	if !due.Before(c.rec.end) {
		return c.stand(t, a)
	}
	answer, err := c.ask(t, a, due)
	now := time.Now()
	if err != nil && now.Before(due) {
		if due = now; ctx.Err() != nil {
			return err // broken off before it was due
		}
	}
	c.rec.started(name, due, due)
	if err == nil {
		c.rec.took(name, due, due, answer.Late)
	}
	c.pacer.finish(ctx, name, due, err)
	return err
}

// ask does one exchange whose answer is due at due.
func (c *client) ask(t *tunnel, a exchange.Ask, due time.Time) (exchange.Answer, error) {
	if err := t.SetDeadline(due.Add(c.plan.Patience)); err != nil {
		return exchange.Answer{}, err
	}
	return c.talk.Do(t, a, c.rec.moved)
}

// stand holds polls until the run ends. It is nil if the tunnel lived that long.
func (c *client) stand(t *tunnel, a exchange.Ask) error {
	if err := t.SetDeadline(c.rec.end); err != nil {
		return err
	}
	for {
		a.Hold = min(exchange.MaxHold, max(0, time.Until(c.rec.end))+c.plan.Patience)
		switch _, err := c.talk.Do(t, a, c.rec.moved); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
}

// trigger is revoke's command.
type trigger struct {
	mu    sync.Mutex // guards the rest
	began time.Time
	err   error
}

func (t *trigger) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// since is the moment that ends are reckoned from: when the command was started, or
// for a client that has none, when it was to be.
func (t *trigger) since(planned time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		return planned
	}
	return t.began
}

// pull runs the command at at, and kills it, with its children, if it goes on until end.
// What it prints is dropped: it may hold secrets.
func (t *trigger) pull(ctx context.Context, argv []string, at, end time.Time) {
	if waitUntil(ctx, at) != nil {
		return
	}
	t.mu.Lock()
	t.began = time.Now()
	t.mu.Unlock()
	bounded, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	command := exec.CommandContext(bounded, argv[0], argv[1:]...)
	asGroup(command)
	command.WaitDelay = time.Second // for children that keep its output open
	err := command.Run()
	endGroup(command) // what it left in the background
	if err == nil || ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = fmt.Errorf("load: the trigger %q: %w", argv[0], err)
	if bounded.Err() != nil {
		t.err = fmt.Errorf("load: the trigger %q had not ended when the run did: %w", argv[0], err)
	}
}

// revoke holds tunnels, has them ended, and sees how long each still lives. Only the
// client whose share is 0 runs the command.
func (c *client) revoke(ctx context.Context) {
	s, middle := c.plan.Scenario, c.rec.middle()
	if len(s.Trigger) > 0 && c.plan.Share == 0 {
		c.devices.Go(func() { c.trigger.pull(ctx, s.Trigger, middle, c.rec.end) })
	}
	c.each(ctx, s.Devices, func(ctx context.Context, _ uint64, t *tunnel) {
		if t == nil {
			return
		}
		err := t.watch(c.rec.down)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
		case err == nil:
			c.rec.lived()
		case now.Before(middle):
			c.drop(ctx, t) // died before anybody asked it to
		default:
			from := c.trigger.since(middle)
			c.rec.started("revoke", middle, from)
			c.rec.took("revoke", middle, from, unknown)
			c.rec.succeeded(middle)
		}
		_ = t.Close()
	})
}
