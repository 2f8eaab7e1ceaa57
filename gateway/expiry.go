package gateway

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// recheck is the longest that an expiry timer sleeps. Timers stand still while a
// machine is suspended, and know nothing of a clock that is set; tickets go by
// the clock.
const recheck = 5 * time.Minute

// expiry ends one tunnel when its ticket says so.
type expiry struct {
	at  time.Time
	now func() time.Time
	end func()

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// expire sees to it that a tunnel ends with its ticket.
func (g *Gateway) expire(l *live, c *ticket.Claims) *expiry {
	e := &expiry{at: endOf(c, g.config.Now()), now: g.config.Now, end: func() { l.end(EndedExpired) }}
	e.arm()
	return e
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

// arm sets the timer for the end, or for the next look at the clock.
func (e *expiry) arm() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.timer = time.AfterFunc(min(e.at.Sub(e.now()), recheck), e.look)
	}
}

func (e *expiry) look() {
	if e.now().Before(e.at) {
		e.arm()
		return
	}
	e.end()
}

func (e *expiry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	e.timer.Stop()
}
