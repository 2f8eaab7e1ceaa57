package sta

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// lease is how long a gateway counts as following after it last asked.
const lease = 10 * time.Second

// maxFollowers bounds the gateways that are remembered.
const maxFollowers = 4096

// followers knows the gateways that follow the revocations, and brings together
// who waits for one to be applied and who applied it. Leases and waits are
// measured, not stamped, so they go by time.Now whatever Config.Now says.
type followers struct {
	mu     sync.Mutex // guards all below
	byName map[string]*follower
	waits  map[*cutWait]struct{}
	wake   chan struct{} // closed, and replaced, when there is a new revocation
}

type follower struct {
	seen  time.Time // when it last asked or reported
	asked uint64    // past which serial it last asked
	// done is the serial, and cut the count, of its newest report.
	done uint64
	cut  int
}

// cutWait collects the reports on one revocation. followers.mu guards it.
type cutWait struct {
	owner   *followers
	serial  uint64
	start   time.Time
	open    map[string]bool // who has not reported
	reports []GatewayCut
	done    chan struct{} // closed when open is empty
}

func (f *followers) init() {
	f.byName = make(map[string]*follower)
	f.waits = make(map[*cutWait]struct{})
	f.wake = make(chan struct{})
}

// news gives a channel that is closed at the next revocation.
func (f *followers) news() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wake
}

// follow notes that a gateway asks for what comes after a serial.
func (f *followers) follow(name string, after uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.seen(name)
	if err != nil {
		return err
	}
	g.asked = after
	if after < g.done {
		// It began anew and has yet to apply what it had once reported.
		g.done, g.cut = after, 0
	}
	return nil
}

// report notes that a gateway has applied everything up to serial.
func (f *followers) report(name string, serial uint64, cut int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.seen(name)
	if err != nil {
		return err
	}
	g.done, g.cut = serial, cut
	for w := range f.waits {
		if w.serial <= serial && w.open[name] {
			w.answer(name, cut)
			w.settle()
		}
	}
	return nil
}

// seen gives the follower, known or new, with its lease renewed. The caller
// holds the lock.
func (f *followers) seen(name string) (*follower, error) {
	g := f.byName[name]
	if g == nil {
		if len(f.byName) >= maxFollowers {
			f.dropLapsed()
		}
		if len(f.byName) >= maxFollowers {
			return nil, ticket.Refuse(ticket.Busy, "over %d gateways follow already", maxFollowers)
		}
		g = &follower{}
		f.byName[name] = g
	}
	g.seen = time.Now()
	return g, nil
}

func (f *followers) dropLapsed() {
	for name, g := range f.byName {
		if time.Since(g.seen) > lease {
			delete(f.byName, name)
		}
	}
}

// announce wakes whoever waits for news of a revocation, and begins to collect
// reports on it from every gateway with a lease.
func (f *followers) announce(serial uint64, already bool) *cutWait {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLapsed()
	w := &cutWait{
		owner: f, serial: serial, start: time.Now(),
		open: make(map[string]bool), done: make(chan struct{}),
	}
	f.waits[w] = struct{}{}
	for name, g := range f.byName {
		w.open[name] = true
		switch {
		case already && max(g.done, g.asked) >= serial:
			w.answer(name, 0) // it was cut then, and counted then
		case g.done >= serial:
			w.answer(name, g.cut) // it read the store before we got here
		}
	}
	w.settle()
	close(f.wake)
	f.wake = make(chan struct{})
	return w
}

// answer notes one gateway's report. The caller holds the lock.
func (w *cutWait) answer(name string, cut int) {
	delete(w.open, name)
	w.reports = append(w.reports, GatewayCut{Name: name, Answered: true, Cut: cut, Took: time.Since(w.start)})
}

// settle ends the wait when nobody is waited for any more. The caller holds the
// lock, and has just changed who is.
func (w *cutWait) settle() {
	if len(w.open) == 0 {
		close(w.done)
	}
}

// collect waits until every gateway has reported, the time is up, or ctx ends,
// and gives what there is, sorted by name.
func (w *cutWait) collect(ctx context.Context, most time.Duration) []GatewayCut {
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	case <-ctx.Done():
	}
	f := w.owner
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waits, w)
	for name := range w.open {
		missing := GatewayCut{Name: name}
		// It asks past this one already, so it has applied it, if without a count.
		if g := f.byName[name]; g != nil && g.asked >= w.serial {
			missing.Answered, missing.Took = true, time.Since(w.start)
		}
		w.reports = append(w.reports, missing)
	}
	slices.SortFunc(w.reports, func(a, b GatewayCut) int { return cmp.Compare(a.Name, b.Name) })
	return w.reports
}
