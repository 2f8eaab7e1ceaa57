package epoll

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gate keeps the poller's goroutine in a Ready until it is opened, so that what
// happens meanwhile is in one harvest.
type gate struct {
	once    sync.Once
	entered chan struct{}
	release chan struct{}
}

func (g *gate) Ready(int, Events, bool) {
	g.once.Do(func() { close(g.entered) })
	<-g.release
}

// hold returns when the poller is held, until what it returns is closed.
func hold(t *testing.T, p *Poller) (release chan struct{}) {
	t.Helper()
	g := &gate{entered: make(chan struct{}), release: make(chan struct{})}
	add(t, p, g, pair(t))
	<-g.entered
	return g.release
}

// act is an owner that runs a function when bytes come.
type act func()

func (f act) Ready(_ int, e Events, _ bool) {
	if e&Readable != 0 {
		f()
	}
}

// An event is harvested; before its turn comes, its tunnel is removed and
// closed, and another one gets the slot and both descriptors' numbers.
func TestAStaleEventReachesNobody(t *testing.T) {
	p := start(t)
	bell := newBell(t, p)
	old, oldTold := pair(t), make(log, 16)
	first, firstTold := pair(t), make(chan struct{})
	newTold := make(log, 16)
	var oldToken, newToken Token
	firstToken := add(t, p, act(func() {
		defer close(firstTold)
		p.Remove(oldToken)
		closeAll(old)
		again, err := openPair()
		if err != nil || again != old {
			t.Errorf("the new pair is %v, %v; this test needs %v", again, err, old)
		}
		if newToken, err = p.Add(newTold, again); err != nil {
			t.Error(err)
		}
	}), first)
	oldToken = add(t, p, oldTold, old)
	oldTold.want(t, event{0, Writable}, event{1, Writable})

	release := hold(t, p)
	write(t, first[1], "x")
	write(t, old[1], "stale")
	close(release)
	<-firstTold
	bell.ring()
	newTold.want(t, event{0, Writable}, event{1, Writable})
	if len(newTold) != 0 {
		t.Errorf("another's event reached the new owner: %v", <-newTold)
	}
	if len(oldTold) != 0 {
		t.Errorf("an event reached its owner after Remove: %v", <-oldTold)
	}
	if newToken.slot() != oldToken.slot() || newToken == oldToken {
		t.Errorf("tokens %#x and %#x: this test needs one slot", oldToken, newToken)
	}
	p.Remove(oldToken) // a second time: it is not the new one's
	write(t, old[1], "fresh")
	newTold.want(t, event{0, both})
	p.Remove(firstToken)
}

func TestRemoveEndsIt(t *testing.T) {
	p := start(t)
	bell, fds, told := newBell(t, p), pair(t), make(log, 16)
	token := add(t, p, told, fds)
	told.want(t, event{0, Writable}, event{1, Writable})
	p.Remove(token)
	p.Remove(token)
	p.Remove(0)
	write(t, fds[0], "x")
	write(t, fds[1], "x")
	bell.ring()
	if len(told) != 0 {
		t.Errorf("told %v after Remove", <-told)
	}
	if p.Len() != 1 { // the bell
		t.Errorf("Len = %d, want 1", p.Len())
	}
	add(t, p, told, fds) // the descriptors are free for another watch
	told.want(t, event{0, both}, event{1, both})
}

// Remove must not wait for a Ready under way: whoever calls it may hold a lock
// that this Ready waits for.
func TestRemoveDoesNotWait(t *testing.T) {
	p := start(t)
	g := &gate{entered: make(chan struct{}), release: make(chan struct{})}
	token := add(t, p, g, pair(t))
	<-g.entered
	p.Remove(token)
	if p.Len() != 0 {
		t.Errorf("Len = %d, want 0", p.Len())
	}
	close(g.release)
}

func TestRemoveByReady(t *testing.T) {
	p := start(t)
	fds, done := pair(t), make(chan struct{})
	var token Token
	token = add(t, p, act(func() {
		p.Remove(token)
		close(done)
	}), fds)
	newBell(t, p).ring() // token is written
	write(t, fds[1], "x")
	<-done
	write(t, fds[1], "x") // a second call would close done again
	newBell(t, p).ring()
}

func TestAddThatFailsLeavesNothing(t *testing.T) {
	p := start(t)
	fds, told := pair(t), make(log, 16)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	gone, err := openPair()
	if err != nil {
		t.Fatal(err)
	}
	closeAll(gone)
	closed := gone[1]
	for name, test := range map[string]struct {
		fds  [2]int
		want error
	}{
		"side 0 is closed":          {[2]int{closed, fds[1]}, unix.EBADF},
		"side 1 is closed":          {[2]int{fds[0], closed}, unix.EBADF},
		"no descriptor":             {[2]int{fds[0], -1}, unix.EBADF},
		"a file":                    {[2]int{fds[0], int(file.Fd())}, unix.EPERM},
		"the same descriptor twice": {[2]int{fds[0], fds[0]}, unix.EEXIST},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := p.Add(told, test.fds)
			wantError(t, err, test.want)
			if token != 0 || p.Len() != 0 {
				t.Errorf("token %#x, Len %d", token, p.Len())
			}
		})
	}
	newBell(t, p).ring()
	for len(told) > 0 { // of side 0, before side 1 failed
		<-told
	}
	add(t, p, told, fds) // nothing of it is in: else EEXIST
	told.want(t, event{0, Writable}, event{1, Writable})
}

// pong is an owner that writes what it reads to the same socket, for ever.
type pong struct {
	fds    [2]int
	closed *atomic.Bool
	late   *atomic.Int64
	rounds *atomic.Int64
	warm   chan struct{} // closed after 100 rounds of all
}

func (o *pong) Ready(side int, e Events, _ bool) {
	if o.closed.Load() {
		o.late.Add(1)
	}
	if e&Readable == 0 {
		return
	}
	var buf [64]byte
	if n, err := unix.Read(o.fds[side], buf[:]); err == nil {
		if o.rounds.Add(1) == 100 {
			close(o.warm)
		}
		_, _ = unix.Write(o.fds[side], buf[:n])
	}
}

func TestCloseWhileEventsFlow(t *testing.T) {
	for range 20 {
		p, err := New(func(err error) { t.Errorf("failed is told of a Close: %v", err) })
		if err != nil {
			t.Fatal(err)
		}
		var closed atomic.Bool
		var late, rounds atomic.Int64
		warm := make(chan struct{})
		var token Token
		for range 20 {
			fds := pair(t)
			token = add(t, p, &pong{fds, &closed, &late, &rounds, warm}, fds)
			write(t, fds[0], "ping")
		}
		<-warm
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		closed.Store(true)
		before := rounds.Load()
		p.Remove(token)
		_, err = p.Add(&nobody{}, pair(t))
		wantError(t, err, ErrClosed)
		wantError(t, err, os.ErrClosed)
		if err := p.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if p.Len() != 0 {
			t.Errorf("Len = %d after Close", p.Len())
		}
		if late.Load() != 0 || rounds.Load() != before {
			t.Error("an owner was told after Close")
		}
	}
}

// Close, Add and Remove at once: whatever comes first, nothing is left behind.
func TestCloseWhileOthersAdd(t *testing.T) {
	p := start(t)
	var all sync.WaitGroup
	var first sync.WaitGroup
	for range 4 {
		fds := pair(t)
		first.Add(1)
		all.Go(func() {
			for i := 0; ; i++ {
				token, err := p.Add(&nobody{}, fds)
				if i == 0 {
					first.Done()
				}
				if err != nil {
					wantError(t, err, ErrClosed)
					return
				}
				p.Remove(token)
			}
		})
	}
	first.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

// The kernel refuses to go on: here, because the number has become another
// file's. The runtime still knows the epoll by a duplicate, so it wakes us.
func TestFailureIsTold(t *testing.T) {
	told := make(chan error, 1)
	p, err := New(func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fds, other := pair(t), pair(t)
	add(t, p, &nobody{}, fds)
	err = p.control(func(epfd int) error {
		keep, err := unix.Dup(epfd)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(keep) })
		return unix.Dup3(other[0], epfd, unix.O_CLOEXEC)
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, fds[1], "x")
	select {
	case err := <-told:
		wantError(t, err, unix.EINVAL)
		_, again := p.Add(&nobody{}, other)
		if !errors.Is(again, err) {
			t.Errorf("Add says %v, failed was told %v", again, err)
		}
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
}

func TestDescriptorsAreGivenBack(t *testing.T) {
	pair := pair(t)
	round := func() {
		p, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		add(t, p, &nobody{}, pair)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	round() // the runtime opens its own poller once
	before := descriptors(t)
	for range 10 {
		round()
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
