package gateway

import (
	"math/rand/v2"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// recheck is the longest that an expiry sleeps. Timers stand still while a
// machine is suspended, and know nothing of a clock that is set; tickets go by
// the clock.
const recheck = 5 * time.Minute

// awaitExpiry sees to it that a tunnel ends at that time, with its ticket, if it
// has not by then.
func (l *live) awaitExpiry(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expires = at
	l.sleep()
}

// forgetExpiry is for a tunnel that is over: nobody needs to end it any more.
func (l *live) forgetExpiry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.gateway.due.Clear(&l.expiry)
}

// Due is called when it is time to look at the clock.
func (l *live) Due() {
	l.mu.Lock()
	expired := !l.gateway.config.Now().Before(l.expires)
	if !expired {
		l.sleep()
	}
	l.mu.Unlock()
	if expired {
		l.end(EndedExpired)
	}
}

// sleep waits for the end, or for the next look at the clock, unless the tunnel is
// over. Called with mu held.
func (l *live) sleep() {
	if !l.over {
		g := l.gateway
		g.due.Set(&l.expiry, l, min(l.expires.Sub(g.config.Now()), recheck))
	}
}

// endOf is when a tunnel that begins now ends. A ticket that is not refreshable
// bounds set-up, and its tunnels only so that they can be revoked as long as
// they live. Tickets are issued in waves, so ends are spread over the last 5
// minutes, or the last twentieth of a short life: whoever has to log on again
// does not do so with everybody else.
func endOf(c *ticket.Claims, now time.Time) time.Time {
	end := c.Expires
	if !c.Refreshable {
		end = end.Add(ticket.MaxLinger)
	}
	spread := min(5*time.Minute, end.Sub(c.NotBefore)/20, end.Sub(now))
	if spread <= 0 {
		return end
	}
	return end.Add(-rand.N(spread))
}
