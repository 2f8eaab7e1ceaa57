package load

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// wakes yields the devices for which of is true, with the moments at which they are
// woken, counted from Begin, in order.
func (c *client) wakes(of func(k uint64) bool) iter.Seq2[uint64, time.Duration] {
	type wake struct {
		k uint64
		d time.Duration
	}
	var all []wake
	s := c.plan.Scenario
	for k, d := range c.plan.spread(s.Devices, s.Within, s.Poisson) {
		if of(k) {
			all = append(all, wake{k, s.Ramp + d})
		}
	}
	slices.SortStableFunc(all, func(a, b wake) int { return int(a.d - b.d) })
	return func(yield func(uint64, time.Duration) bool) {
		for _, w := range all {
			if !yield(w.k, w.d) {
				return
			}
		}
	}
}

// warm says whether device k holds a tunnel when it is woken: exactly so many of
// every hundred, spread among the rest.
func (s Scenario) warm(k uint64) bool {
	return uint64(float64(k+1)*s.Warm) > uint64(float64(k)*s.Warm)
}

// storm wakes all devices. A warm one has a poll standing, whose answer is the wake;
// a cold one opens a tunnel. Both then sync and fetch, and are done with the last
// byte.
func (c *client) storm(ctx context.Context) {
	s := c.plan.Scenario
	moments := make(map[uint64]time.Time)
	for k, d := range c.wakes(s.warm) {
		moments[k] = c.rec.begin.Add(d)
	}
	c.devices.Go(func() {
		c.pacer.run(ctx, row("setup"), c.rec.begin, c.warmOnes(), func(opening context.Context, k uint64, at time.Time) error {
			t, err := c.open(opening, k, at)
			if err == nil {
				c.hold(t)
			}
			c.devices.Go(func() { c.wakeWarm(ctx, k, t, moments[k]) })
			return err
		})
	})
	cold := c.wakes(func(k uint64) bool { return !s.warm(k) })
	c.pacer.run(ctx, row("wake"), c.rec.begin, cold, c.wakeCold)
}

// warmOnes are the warm devices with the moments at which their tunnels are opened.
func (c *client) warmOnes() iter.Seq2[uint64, time.Duration] {
	s := c.plan.Scenario
	return func(yield func(uint64, time.Duration) bool) {
		for k, d := range c.plan.spread(s.Devices, s.Ramp, false) {
			if s.warm(k) && !yield(k, d) {
				return
			}
		}
	}
}

// wakeWarm is the life of a warm device. If its tunnel is not there when it is woken,
// it opens one like a cold one.
func (c *client) wakeWarm(ctx context.Context, k uint64, t *tunnel, at time.Time) {
	var late time.Duration
	if t != nil {
		t, late = c.awaitWake(ctx, t, at)
	}
	if t == nil {
		free := time.Now() // after at, if the tunnel ended while its answer was due
		if waitUntil(ctx, at) == nil {
			c.pacer.resume(ctx, "wake", k, at, free, c.wakeCold)
		}
		return
	}
	c.rec.woken("wake", at)
	err := c.sync(t, at, late)
	c.pacer.finish(ctx, "wake", at, err)
	if err != nil {
		c.drop(ctx, t)
		return
	}
	_ = t.watch(c.rec.end)
	_ = t.Close()
}

// awaitWake holds a poll that is answered at at, and returns how late the service was.
// The tunnel is nil if it did not live that long.
func (c *client) awaitWake(ctx context.Context, t *tunnel, at time.Time) (*tunnel, time.Duration) {
	hold := min(max(0, time.Until(at)), exchange.MaxHold)
	answer, err := c.ask(t, exchange.Ask{Up: pollUp, Down: pollDown, Hold: hold}, at)
	if err != nil {
		c.drop(ctx, t)
		return nil, 0
	}
	c.rec.took("poll", at, at, answer.Late)
	return t, answer.Late
}

// wakeCold opens a tunnel, syncs, fetches, and closes it.
func (c *client) wakeCold(ctx context.Context, k uint64, at time.Time) error {
	t, err := c.open(ctx, k, at)
	if err != nil {
		return err
	}
	defer t.Close()
	c.rec.took("setup", at, at, unknown)
	return c.sync(t, at, 0)
}

// sync is what a device does once it is awake and has a tunnel: with the fetch's last
// byte the wake is over. Patience is with each of the two. Late is the service's share
// so far.
func (c *client) sync(t *tunnel, at time.Time, late time.Duration) error {
	s := c.plan.Scenario
	synced, err := c.step(t, "sync", at, time.Now(), exchange.Ask{Up: s.UpBytes, Down: syncDown})
	if err != nil {
		return err
	}
	fetched, err := c.step(t, "fetch", at, time.Now(), exchange.Ask{Up: fetchUp, Down: s.DownBytes})
	if err != nil {
		return err
	}
	c.rec.took("wake", at, at, late+synced+fetched)
	return nil
}

// morningExchanges are those after a log-on.
const morningExchanges = 3

// morning lets everybody log on: open a tunnel, three exchanges, and hold a poll.
func (c *client) morning(ctx context.Context) {
	s := c.plan.Scenario
	all := c.wakes(func(uint64) bool { return true })
	c.pacer.run(ctx, row("morning"), c.rec.begin, all, func(arriving context.Context, k uint64, at time.Time) error {
		t, err := c.open(arriving, k, at)
		if err != nil {
			return err
		}
		c.rec.took("setup", at, at, unknown)
		var late time.Duration
		for range morningExchanges {
			share, err := c.step(t, "exchange", at, time.Now(), exchange.Ask{Up: s.UpBytes, Down: s.DownBytes})
			if err != nil {
				_ = t.Close()
				return err
			}
			late += share
		}
		c.rec.took("morning", at, at, late)
		c.hold(t)
		c.devices.Go(func() {
			if c.stand(t, exchange.Ask{Up: pollUp, Down: pollDown}) != nil {
				c.drop(ctx, t)
			}
			_ = t.Close()
		})
		return nil
	})
}
