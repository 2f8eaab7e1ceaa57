package exchange

import (
	"sync/atomic"
	"time"
)

// Account is what a service has done, since it began or between two looks (Sub).
// Busy and Waited divide the time of all connections that were within an exchange:
// Waited for the network (a read or a write that blocked), Busy for itself, whatever
// slows it included. A service that is Busy for most of it is the limit of a run.
type Account struct {
	Connections, Open uint64 // served so far; open now
	TurnedAway        uint64 // closed as soon as they came: there were as many as may be
	Asks, Failed      uint64 // answered whole; ended otherwise, heads that were none included
	Up, Down          uint64 // bytes of bodies
	// Busy and Waited: holds, and the time between asks, are in neither. A wait that
	// goes on is counted when it ends.
	Busy, Waited time.Duration
	LateMax      time.Duration
}

// Sub is what was done since an earlier look. Open is as of now, and LateMax since
// the service began: maxima have no difference.
func (a Account) Sub(earlier Account) Account {
	a.Connections -= earlier.Connections
	a.TurnedAway -= earlier.TurnedAway
	a.Asks -= earlier.Asks
	a.Failed -= earlier.Failed
	a.Up -= earlier.Up
	a.Down -= earlier.Down
	a.Busy -= earlier.Busy
	a.Waited -= earlier.Waited
	return a
}

// books are an Account while it is being written by many.
type books struct {
	connections, ended atomic.Uint64
	turnedAway         atomic.Uint64
	asks, failed       atomic.Uint64
	up, down           atomic.Uint64
	busy, waited       atomic.Int64
	lateMax            atomic.Int64
}

// open is how many connections there are, or were a moment ago.
func (b *books) open() uint64 {
	_, open := b.counted()
	return open
}

func (b *books) counted() (connections, open uint64) {
	ended := b.ended.Load() // before connections, or more would have ended than begun
	connections = b.connections.Load()
	return connections, connections - ended
}

func (b *books) late(d time.Duration) {
	for {
		old := b.lateMax.Load()
		if int64(d) <= old || b.lateMax.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Account is what the service has done until now. It may be asked at any time.
func (s *Service) Account() Account {
	b := &s.books
	connections, open := b.counted()
	return Account{
		Connections: connections, Open: open, TurnedAway: b.turnedAway.Load(),
		Asks: b.asks.Load(), Failed: b.failed.Load(),
		Up: b.up.Load(), Down: b.down.Load(),
		Busy: time.Duration(b.busy.Load()), Waited: time.Duration(b.waited.Load()),
		LateMax: time.Duration(b.lateMax.Load()),
	}
}
