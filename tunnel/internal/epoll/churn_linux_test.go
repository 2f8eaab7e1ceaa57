package epoll

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// visitor is an owner whose two sockets are the ends of one pair, and whose
// bytes are its own number. Because nobody else reads them, and the kernel says
// only what is so, every event can be checked: Readable finds our number, and
// Hangup comes only after we have hung up.
type visitor struct {
	churn  *churn
	number uint64
	fds    [2]int
	heard  chan struct{}

	mu     sync.Mutex // guards the rest, and keeps fds open while Ready reads
	hungUp bool
	gone   bool
}

type churn struct {
	t    *testing.T
	p    *Poller
	late atomic.Int64
	told atomic.Int64
}

func (v *visitor) Ready(side int, e Events, _ bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone {
		v.churn.late.Add(1)
		return
	}
	v.churn.told.Add(1)
	if e&Hangup != 0 && !v.hungUp {
		v.churn.t.Errorf("visitor %d is told %v, and has not hung up", v.number, e)
	}
	if e&Readable == 0 {
		return
	}
	var buf [16]byte
	n, err := unix.Read(v.fds[side], buf[:])
	switch {
	case err != nil:
		v.churn.t.Errorf("visitor %d is told %v: %v", v.number, e, err)
	case n == 0 && !v.hungUp:
		v.churn.t.Errorf("visitor %d finds an end that it has not made", v.number)
	case n == 8 && binary.NativeEndian.Uint64(buf[:]) == v.number:
		v.heard <- struct{}{}
	case n != 0:
		v.churn.t.Errorf("visitor %d reads %x", v.number, buf[:n])
	}
}

// visit opens, adds, perhaps speaks, removes and closes. How it leaves depends
// on its number, so that events of all kinds are on their way at that moment.
func (c *churn) visit(number uint64) error {
	fds, err := openPair()
	if err != nil {
		return err
	}
	v := &visitor{churn: c, number: number, fds: fds, heard: make(chan struct{}, 2)}
	token, err := c.p.Add(v, fds)
	if err != nil {
		return err
	}
	marker := binary.NativeEndian.AppendUint64(nil, number)
	if _, err := unix.Write(fds[number&1], marker); err != nil {
		return err
	}
	if number%8 == 0 {
		<-v.heard
	}
	if number%3 == 0 {
		v.mu.Lock()
		v.hungUp = true
		v.mu.Unlock()
		if err := unix.Shutdown(fds[0], unix.SHUT_WR); err != nil {
			return err
		}
	}
	c.p.Remove(token)
	v.mu.Lock()
	v.gone = true
	v.mu.Unlock()
	closeAll(fds)
	return nil
}

// 100,000 tunnels come and go. Numbers of descriptors and slots are used again
// all the time, and no event reaches another tunnel than its own.
func TestChurn(t *testing.T) {
	const visits, workers = 100_000, 8
	before := descriptors(t)
	c := &churn{t: t, p: start(t)}
	var all sync.WaitGroup
	for w := range uint64(workers) {
		all.Go(func() {
			for i := w; i < visits && !t.Failed(); i += workers {
				if err := c.visit(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d events told, %d more came late to their own owner", c.told.Load(), c.late.Load())
	if c.p.Len() != 0 {
		t.Errorf("%d are still in", c.p.Len())
	}
	if n := len(c.p.slots.table); n > workers {
		t.Errorf("%d slots for %d tunnels at once", n, workers)
	}
	if c.told.Load() < visits/8 {
		t.Errorf("%d events are too few to say anything", c.told.Load())
	}
	if err := c.p.Close(); err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
