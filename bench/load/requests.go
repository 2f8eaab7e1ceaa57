package load

import (
	"context"
	"os"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// setup opens tunnels at a rate, with one exchange each.
func (c *client) setup(ctx context.Context) {
	c.pacer.run(ctx, row("setup"), c.rec.begin, c.plan.arrivals(), c.setupOnce)
}

func (c *client) setupOnce(ctx context.Context, k uint64, at time.Time) error {
	t, err := c.open(ctx, k, at)
	if err != nil {
		return err
	}
	defer t.Close()
	c.rec.took("setup", at, at, unknown)
	s := c.plan.Scenario
	_, err = c.step(t, "exchange", at, time.Now(), exchange.Ask{Up: s.UpBytes, Down: s.DownBytes})
	return err
}

// seats are tunnels that are held, and used by whatever operation is next. A device
// has its seat, and opens another tunnel when it needs one and the last has ended.
type seats struct {
	*client
	free chan *seat
}

type seat struct {
	k uint64
	t *tunnel // nil when it has ended
}

// fill opens n seats in the ramp.
func (c *client) fill(ctx context.Context, n int) *seats {
	s := &seats{c, make(chan *seat, n)}
	c.devices.Go(func() {
		c.pacer.run(ctx, row("setup"), c.rec.begin, c.plan.spread(n, c.plan.Scenario.Ramp, false),
			func(ctx context.Context, k uint64, at time.Time) error {
				t, err := c.open(ctx, k, at)
				if err != nil {
					s.free <- &seat{k, nil}
					return err
				}
				s.free <- &seat{k, c.hold(t)}
				return nil
			})
	})
	return s
}

// step does one exchange on the seat that has been free for longest. Waiting for a
// seat is no slip: the generator was ready, and all tunnels were busy.
func (s *seats) step(ctx context.Context, name string, at time.Time, a exchange.Ask) error {
	seat, err := s.take(ctx, at)
	if err != nil {
		return err
	}
	defer func() { s.free <- seat }()
	if seat.t == nil {
		t, err := s.open(ctx, seat.k, at)
		if err != nil {
			return err
		}
		seat.t = s.hold(t)
	}
	if _, err = s.client.step(seat.t, name, at, at, a); err != nil {
		s.drop(ctx, seat.t)
		seat.t = nil
	}
	return err
}

func (s *seats) take(ctx context.Context, at time.Time) (*seat, error) {
	patience := time.NewTimer(time.Until(at.Add(s.plan.Patience)))
	defer patience.Stop()
	select {
	case seat := <-s.free:
		return seat, nil
	case <-patience.C:
		return nil, os.ErrDeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// requests does exchanges at a rate over tunnels that are held.
func (c *client) requests(ctx context.Context) {
	s := c.fill(ctx, c.plan.Scenario.Devices)
	a := exchange.Ask{Up: c.plan.Scenario.UpBytes, Down: c.plan.Scenario.DownBytes}
	c.pacer.run(ctx, row("exchange"), c.rec.begin, c.plan.arrivals(), func(ctx context.Context, _ uint64, at time.Time) error {
		return s.step(ctx, "exchange", at, a)
	})
}

// attachments are the same, of sizes that differ.
func (c *client) attachments(ctx context.Context) {
	s := c.fill(ctx, c.plan.Scenario.Devices)
	c.pacer.run(ctx, row("attachment"), c.rec.begin, c.plan.arrivals(), func(ctx context.Context, k uint64, at time.Time) error {
		return s.step(ctx, "attachment", at, exchange.Ask{Up: requestUp, Down: c.plan.attachment(k)})
	})
}

// bulk moves as many bytes as go through: a closed loop, for there is no such thing
// as a schedule of all one can.
func (c *client) bulk(ctx context.Context) {
	for i, moment := range c.plan.spread(c.plan.Scenario.Streams, c.plan.Scenario.Ramp, false) {
		c.devices.Go(func() {
			if waitUntil(ctx, c.rec.begin.Add(moment)) == nil {
				c.stream(ctx, i)
			}
		})
	}
}

// stream is one of bulk's. A transfer that the end of the run cuts off is in the
// bytes and in no other count.
func (c *client) stream(ctx context.Context, i uint64) {
	a := exchange.Ask{Up: c.plan.Scenario.UpBytes, Write: c.plan.Scenario.Write}
	if d := c.plan.Scenario.Direction; d == "down" || d == "both" && i/uint64(c.plan.Of)%2 == 0 {
		a = exchange.Ask{Down: c.plan.Scenario.DownBytes, Write: c.plan.Scenario.Write}
	}
	var t *tunnel
	for ctx.Err() == nil && time.Now().Before(c.rec.end) {
		at := time.Now()
		answer, err := exchange.Answer{}, error(nil)
		if t == nil {
			t, err = c.open(ctx, i, at)
		}
		if err == nil {
			answer, err = c.transfer(t, a)
		}
		switch {
		case err != nil && !time.Now().Before(c.rec.end):
		case err != nil:
			c.rec.started("transfer", at, at)
			c.pacer.finish(ctx, "transfer", at, err)
			if t != nil {
				c.drop(ctx, t)
				t = nil
			}
			_ = waitUntil(ctx, time.Now().Add(retryAfter))
		default:
			c.rec.started("transfer", at, at)
			c.rec.took("transfer", at, at, answer.Late)
			c.pacer.finish(ctx, "transfer", at, nil)
		}
	}
	if t != nil {
		_ = t.Close()
	}
}

// transfer is one exchange that may take any time, as long as bytes move: patience
// is with each of them. It ends with the run.
func (c *client) transfer(t *tunnel, a exchange.Ask) (exchange.Answer, error) {
	var last time.Time
	extend := func() {
		if now := time.Now(); now.Sub(last) > c.plan.Patience/8 {
			last = now
			until := now.Add(c.plan.Patience)
			if until.After(c.rec.end) {
				until = c.rec.end
			}
			_ = t.SetDeadline(until) // a closed connection tells the next call
		}
	}
	extend()
	return c.talk.Do(t, a, func(up, down int) {
		c.rec.moved(up, down)
		extend()
	})
}
