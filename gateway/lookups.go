package gateway

import (
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/sallyport/sallyport/sta/ticket"
)

const (
	// A ticket, with its renewals, has so many look-ups at once by the gateway's
	// DNS, and so many a second afterwards, however many tunnels it asks in. A
	// device that starts up asks for some ten names; a ticket is no resolver for
	// hire.
	lookUpBurst    = 100
	lookUpsASecond = 20
	// maxAskers bounds the tickets whose look-ups are remembered.
	maxAskers = 65_536
)

// lookUps counts what devices have the gateway look up.
type lookUps struct {
	now  func() time.Time
	done *otter.Cache[asker, *rate.Limiter]
}

// asker is a ticket and its renewals. Authorities draw their families without
// asking one another.
type asker struct{ authority, family string }

func newLookUps(now func() time.Time) (*lookUps, error) {
	done, err := otter.New(&otter.Options[asker, *rate.Limiter]{MaximumSize: maxAskers})
	return &lookUps{now, done}, err
}

// by gives what counts the look-ups of a ticket: it tells whether one more may be
// made, and counts it.
func (l *lookUps) by(c *ticket.Claims) func() bool {
	limiter, _ := l.done.ComputeIfAbsent(asker{c.Authority, c.Family}, func() (*rate.Limiter, bool) {
		return rate.NewLimiter(lookUpsASecond, lookUpBurst), false
	})
	return func() bool { return limiter.AllowN(l.now(), 1) }
}
