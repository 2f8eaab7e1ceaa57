package gateway

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

func TestEndOf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	week := 168 * time.Hour
	for name, c := range map[string]struct {
		life, age   time.Duration
		refreshable bool
		from, to    time.Duration // counted from the expiry
	}{
		"a week":             {week, 0, true, -5 * time.Minute, 0},
		"a minute":           {time.Minute, 0, true, -3 * time.Second, 0},
		"in its last second": {week, week - time.Second, true, -time.Second, 0},
		"expired":            {week, week, true, 0, 0},
		"not refreshable":    {100 * time.Second, 0, false, ticket.MaxLinger - 5*time.Minute, ticket.MaxLinger},
	} {
		claims := &ticket.Claims{NotBefore: now.Add(-c.age), Expires: now.Add(c.life - c.age), Refreshable: c.refreshable}
		for range 200 {
			if end := endOf(claims, now).Sub(claims.Expires); end < c.from || end > c.to {
				t.Errorf("%s: ends %v after expiry", name, end)
			}
		}
	}
}

// Timers stand still while the machine is suspended. The tunnel ends all the
// same, within the interval of the looks at the clock.
func TestExpiryGoesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		g := &Gateway{config: Config{Now: func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }}}
		client, service := net.Pipe()
		l := &live{gateway: g, tunnel: both{pipe{client}, pipe{service}}}
		l.awaitExpiry(time.Now().Add(168 * time.Hour))
		defer l.forgetExpiry()
		time.Sleep(time.Hour)
		if l.ended() != "" {
			t.Error("ended early")
		}
		slept.Store(int64(200 * time.Hour))
		time.Sleep(recheck + time.Second)
		if l.ended() != EndedExpired {
			t.Error("lives on its expired ticket")
		}
	})
}

// TestEndedTunnelsAwaitNothing: whatever is due meanwhile.
func TestEndedTunnelsAwaitNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gateway{config: Config{Now: time.Now}}
		for range 100 {
			l := &live{gateway: g, tunnel: both{}}
			l.awaitExpiry(time.Now().Add(time.Hour))
			go l.Due()
			go l.forgetExpiry()
		}
		synctest.Wait()
		if n := g.due.Len(); n != 0 {
			t.Errorf("%d are still waiting", n)
		}
	})
}

// both are the two streams of a tunnel that moves nothing.
type both []tunnel.Stream

func (b both) Abort() {
	for _, s := range b {
		tunnel.Abort(s)
	}
}

// pipe is a stream that need not be half-closed.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return nil }

var _ tunnel.Stream = pipe{}
