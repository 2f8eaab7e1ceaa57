package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// maxStrangers bounds the connections that have not proved anything yet, or are
// about to be told that the agent is busy.
const maxStrangers = 64

// errCrowd is what becomes of a stranger who gives way.
var errCrowd = errors.New("it proved nothing while others came")

// strangers are the connections that have proved nothing yet. When there are as many
// as may be, one of the source that has most of them gives way to the one that comes:
// who waits keeps nobody out, and who comes again and again keeps out himself. Which one
// is left to chance, so that of many sources none can count on it, as it could if the
// oldest gave way. Whoever holds the key proves it within a round trip or three, and may
// try again.
type strangers struct {
	slots chan struct{} // one for each that has not ended, those that gave way among them

	mu      sync.Mutex
	waiting []*stranger // guarded by mu
}

type stranger struct {
	from netip.Prefix // see sourceOf
	end  context.CancelCauseFunc
}

// sourceOf is whom connections are counted by: an IPv4 address, or the network of 64
// bits that an IPv6 host has to itself.
func sourceOf(remote net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Prefix{} // all that are not of TCP together
	}
	addr, bits := at.Addr().WithZone("").Unmap(), 32
	if addr.Is6() {
		bits = 64
	}
	from, _ := addr.Prefix(bits) // there are as many
	return from
}

func newStrangers() *strangers {
	return &strangers{slots: make(chan struct{}, maxStrangers)}
}

// crowd is one of those who wait, of the source that has most; mu is held.
func (s *strangers) crowd() int {
	of := make(map[netip.Prefix]int)
	most := 0
	for _, each := range s.waiting {
		of[each.from]++
		most = max(most, of[each.from])
	}
	var theirs []int
	for i, each := range s.waiting {
		if of[each.from] == most {
			theirs = append(theirs, i)
		}
	}
	return theirs[rand.IntN(len(theirs))]
}

// admit takes in one that has just come. Its context ends when it has to give way, and
// in any case proveTime from now; leave is to be called, once or more often, when it is
// a stranger no more. An error is ctx's.
func (s *strangers) admit(ctx context.Context, from netip.Prefix) (proving context.Context, leave func(), err error) {
	within, cancel := context.WithTimeout(ctx, proveTime)
	proving, end := context.WithCancelCause(within)
	newest := &stranger{from, end}
	s.mu.Lock()
	if len(s.waiting) == maxStrangers {
		i := s.crowd()
		s.waiting[i].end(errCrowd)
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.waiting = append(s.waiting, newest)
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting = slices.DeleteFunc(s.waiting, func(have *stranger) bool { return have == newest })
		cancel()
	}
	select {
	case s.slots <- struct{}{}: // at once, or when the one that gave way has ended
		return proving, sync.OnceFunc(func() { gone(); <-s.slots }), nil
	case <-ctx.Done():
		gone()
		return nil, nil, context.Cause(ctx)
	}
}
