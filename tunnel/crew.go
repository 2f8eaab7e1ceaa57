package tunnel

import (
	"sync"
	"sync/atomic"
)

// maxResting is how many goroutines of a crew wait for work.
const maxResting = 16

// crew serves connections on goroutines that have served some before: the stack
// that a handshake takes has grown then, which is a twentieth of its cost.
type crew struct {
	work    chan func()
	resting atomic.Int32
	over    chan struct{} // closed when no more work comes
	members sync.WaitGroup
}

func newCrew() *crew { return &crew{work: make(chan func()), over: make(chan struct{})} }

// do runs f on a goroutine that rests, or else on a new one.
func (c *crew) do(f func()) {
	select {
	case c.work <- f:
	default:
		c.members.Go(func() { c.serve(f) })
	}
}

// disband is for when all work is done, and no more comes. Nobody is left when it
// returns.
func (c *crew) disband() {
	close(c.over)
	c.members.Wait()
}

func (c *crew) serve(f func()) {
	for {
		f()
		if c.resting.Add(1) > maxResting {
			c.resting.Add(-1)
			return
		}
		select {
		case f = <-c.work:
			c.resting.Add(-1)
		case <-c.over:
			return
		}
	}
}
