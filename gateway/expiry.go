package gateway

import (
	"math/rand/v2"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel/deadline"
)

// recheck is the longest that an expiry sleeps. Timers stand still while a
// machine is suspended, and know nothing of a clock that is set; tickets go by
// the clock.
const recheck = 5 * time.Minute

// expiry is when a tunnel's ticket ends it.
type expiry struct {
	gateway *Gateway
	at      time.Time
	entry   deadline.Entry
}

// expire sees to it that a tunnel ends with its ticket, if it has not by then.
func (g *Gateway) expire(l *live, c *ticket.Claims) {
	l.expiry.gateway, l.expiry.at = g, endOf(c, g.config.Now())
	l.awaitExpiry()
}

// awaitExpiry sets the entry for the end, or for the next look at the clock, unless
// the tunnel is over.
func (l *live) awaitExpiry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	g := l.expiry.gateway
	g.due.Set(&l.expiry.entry, l, min(l.expiry.at.Sub(g.config.Now()), recheck))
}

// forget is for a tunnel that is over: nobody needs to end it any more.
func (l *live) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.expiry.gateway.due.Clear(&l.expiry.entry)
}

// Due is called when it is time to look at the clock.
func (l *live) Due() {
	if l.expiry.gateway.config.Now().Before(l.expiry.at) {
		l.awaitExpiry()
		return
	}
	l.end(EndedExpired)
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
