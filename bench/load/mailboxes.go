package load

import (
	"context"
	"math"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// extender is a Cloud Extender: accounts with streaming connections, each for some of
// the account's mailboxes.
func (c *client) extender(ctx context.Context) {
	s := c.plan.Scenario
	perAccount := (s.Mailboxes + mailboxesPerStream - 1) / mailboxesPerStream
	mailboxes := float64(s.Mailboxes) / float64(perAccount) // on one connection
	c.each(ctx, s.Accounts*perAccount, func(ctx context.Context, k uint64, t *tunnel) {
		// When a run begins the connections are of different ages.
		life := time.Duration(c.plan.draw(k, drawPhase) * float64(s.scaled(streamLife)))
		for n := uint64(0); ctx.Err() == nil && time.Now().Before(c.rec.end); n++ {
			if t == nil {
				if t = c.reopen(ctx, k, n); t == nil {
					continue
				}
			}
			over, err := c.streaming(ctx, k, n, t, mailboxes, time.Now().Add(life))
			life = s.scaled(streamLife)
			if err != nil {
				c.drop(ctx, t)
				t = nil
				continue
			}
			if t = c.renew(ctx, k, t, over); t == nil {
				continue
			}
		}
		if t != nil {
			_ = t.Close()
		}
	})
}

// streaming subscribes, and takes events, until the connection's life is over. It
// returns when that was.
func (c *client) streaming(ctx context.Context, k, n uint64, t *tunnel, mailboxes float64, until time.Time) (time.Time, error) {
	subscribe := exchange.Ask{Up: syncUp, Down: syncUp}
	if err := c.poll(ctx, t, "subscribe", subscribe); err != nil {
		return until, err
	}
	mean := float64(c.plan.Scenario.scaled(mailEvery)) / mailboxes
	for e := uint64(0); time.Now().Before(until) && time.Now().Before(c.rec.end); e++ {
		// Mail comes when it comes: the gaps are exponential.
		gap := -math.Log(c.plan.draw(k^mix(n<<32|e), drawEvent)) * mean
		hold := min(time.Duration(gap), exchange.MaxHold)
		if err := c.poll(ctx, t, "event", exchange.Ask{Down: eventDown, Hold: hold}); err != nil {
			return until, err
		}
	}
	return until, nil
}

// renew replaces a connection whose life is over by another, at once.
func (c *client) renew(ctx context.Context, k uint64, old *tunnel, at time.Time) *tunnel {
	if !time.Now().Before(c.rec.end) {
		return old
	}
	c.end(ctx, old, true)
	if now := time.Now(); at.Before(now) {
		at = now // the last event was waited for
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

// polling is how many of a day's devices hold a poll. At least one does not.
func (s Scenario) polling() int { return int(float64(s.Devices) * dayPolls) }

// day mixes: most devices hold polls; for the others syncs, attachments and new
// tunnels arrive at a rate.
func (c *client) day(ctx context.Context) {
	s := c.plan.Scenario
	polling := s.polling()
	if polling > 0 {
		c.devices.Go(func() { c.each(ctx, polling, c.polls) })
	}
	others := c.fill(ctx, s.Devices-polling)
	c.pacer.run(ctx, c.plan.dayRow, c.rec.begin, c.plan.arrivals(), func(ctx context.Context, k uint64, at time.Time) error {
		switch c.plan.dayRow(k) {
		case "sync":
			return others.step(ctx, "sync", at, exchange.Ask{Up: s.UpBytes, Down: s.DownBytes})
		case "attachment":
			return others.step(ctx, "attachment", at, exchange.Ask{Up: requestUp, Down: c.plan.attachment(k)})
		}
		return c.setupOnce(ctx, k, at)
	})
}

// dayRow is what arrival k of a day does.
func (p *Plan) dayRow(k uint64) string {
	switch what := p.draw(k, drawKind); {
	case what < daySyncs:
		return "sync"
	case what < daySyncs+dayAttachments:
		return "attachment"
	}
	return "setup"
}
