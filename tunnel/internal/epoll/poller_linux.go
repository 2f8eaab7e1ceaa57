package epoll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// harvestSize is how many events are taken from the kernel at a time. Under
// load it bounds how long the oldest of them has waited when its owner is told.
const harvestSize = 256

// Poller watches the sockets of many tunnels. All methods may be called by
// several goroutines at once.
type Poller struct {
	failed func(error)
	file   *os.File
	raw    syscall.RawConn // of file: keeps the number from being closed while it is used
	done   chan struct{}   // closed when the goroutine has ended

	mu    sync.Mutex // guards the rest; a leaf: nothing is called with it held
	slots slots
	end   error // why nothing may be added any more; nil: the poller is live

	// events is the goroutine's own.
	events [harvestSize]unix.EpollEvent
}

// New returns a poller and starts its goroutine, which Close ends.
//
// Should the kernel refuse to go on, which it has no reason to, then failed is
// called once, as the last thing that the goroutine does: no owner will be told
// anything again, and Add returns the same error. Whoever made the poller then
// has to end all of its tunnels, and must still Close it. Failed may be nil; it
// must not call Close.
func New(failed func(error)) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: create: %w", err)
	}
	// The runtime waits only for descriptors that do not block, and
	// epoll_wait itself never will: it is asked with no time to wait.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: set non-blocking: %w", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &Poller{failed: failed, file: file, raw: raw, done: make(chan struct{})}
	go p.poll()
	return p, nil
}

// Add watches both descriptors, which must not block, for o. They stay their
// owner's: the poller neither reads, writes nor closes them. Events may come
// before Add returns, and the first ones come at once: they say how things
// stand.
//
// On an error nothing is registered, but o may already have been told of the
// first descriptor. The error is ErrClosed, what New's failed was told, or the
// kernel's: a number that is no open descriptor, one of something that cannot
// be waited for, one that is in already, or too many (fs.epoll.max_user_watches).
func (p *Poller) Add(o Owner, fds [2]int) (Token, error) {
	p.mu.Lock()
	if p.end != nil {
		defer p.mu.Unlock()
		return 0, p.end
	}
	t := p.slots.put(o, fds)
	p.mu.Unlock()
	err := p.control(func(epfd int) error {
		if err := register(epfd, fds[0], t); err != nil {
			return fmt.Errorf("epoll: add side 0: %w", err)
		}
		if err := register(epfd, fds[1], t|1); err != nil {
			unregister(epfd, fds[0])
			return fmt.Errorf("epoll: add side 1: %w", err)
		}
		return nil
	})
	if err != nil {
		p.mu.Lock()
		p.slots.take(t)
		p.mu.Unlock()
		return 0, err
	}
	return t, nil
}

// Remove ends the watch that the token names, if there is one. It must be
// called before either descriptor is closed: closing alone does not do it while
// a duplicate is open elsewhere, and afterwards the number may be another's.
//
// Once Remove has returned, no event is given to the owner any more. One Ready
// may still be under way, or be just about to begin, because the poller had
// already decided on it; Remove does not wait for it. There is no second one
// (the poller has one goroutine), and it is for this owner only, whatever has
// become of the descriptors since. So Remove may be called by Ready itself, and
// with locks held that Ready takes; in return an owner must bear one late Ready.
func (p *Poller) Remove(t Token) {
	p.mu.Lock()
	fds, ok := p.slots.take(t)
	p.mu.Unlock()
	if !ok {
		return
	}
	// An error means that the poller or the descriptor is closed already.
	_ = p.control(func(epfd int) error {
		unregister(epfd, fds[0])
		unregister(epfd, fds[1])
		return nil
	})
}

// Close ends the goroutine and waits for it. Owners still in are forgotten
// without being told; their descriptors are left alone. After Close no Ready is
// under way. It may be called more than once, but not by Ready or failed, which
// it waits for.
func (p *Poller) Close() error {
	p.mu.Lock()
	p.end = ErrClosed
	p.slots = slots{}
	p.mu.Unlock()
	err := p.file.Close() // wakes the goroutine
	<-p.done
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("epoll: close: %w", err)
	}
	return nil
}

// Len is how many owners are in.
func (p *Poller) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots.held
}

// poll is the poller's goroutine.
//
// It stays within one Read for as long as all is well. A Read forgets wake-ups
// that came before it began, and within it none is lost: one that comes while
// events are handed out is there when it turns to wait. So it may wait as soon
// as a harvest was not full, without asking the kernel once more.
func (p *Poller) poll() {
	defer close(p.done)
	var failure error
	err := p.raw.Read(func(fd uintptr) (stop bool) {
		for {
			n, err := unix.EpollWait(int(fd), p.events[:], 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				failure = err
				return true
			}
			if !p.deliver(p.events[:n]) {
				return true
			}
			if n < len(p.events) {
				return false
			}
		}
	})
	if failure == nil {
		failure = err // of the runtime, if it cannot wait for the epoll
	}
	p.fail(failure)
}

// deliver tells the owners, and reports whether the poller is still live.
func (p *Poller) deliver(events []unix.EpollEvent) bool {
	for i := range events {
		t := Token(uint32(events[i].Fd)) | Token(uint32(events[i].Pad))<<32
		p.mu.Lock()
		owner, end := p.slots.owner(t), p.end
		p.mu.Unlock()
		if end != nil {
			return false
		}
		if owner != nil {
			owner.Ready(t.side(), meaning(events[i].Events), len(events) == 1)
		}
	}
	return true
}

// fail says that the poller has stopped, unless that is what Close asked for.
func (p *Poller) fail(cause error) {
	p.mu.Lock()
	closed := p.end != nil
	if !closed {
		p.end = fmt.Errorf("epoll: wait: %w", cause)
	}
	err := p.end
	p.mu.Unlock()
	if !closed && p.failed != nil {
		p.failed(err)
	}
}

// control runs f with the epoll's descriptor, which is not closed meanwhile.
func (p *Poller) control(f func(epfd int) error) error {
	var err error
	if closed := p.raw.Control(func(fd uintptr) { err = f(int(fd)) }); closed != nil {
		return ErrClosed
	}
	return err
}

func register(epfd, fd int, t Token) error {
	return unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(t), // the two halves of epoll_data
		Pad:    int32(t >> 32),
	})
}

func unregister(epfd, fd int) {
	// An error means that it is not in: closed already, against the rule.
	_ = unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func meaning(kernel uint32) Events {
	var e Events
	if kernel&unix.EPOLLIN != 0 {
		e |= Readable
	}
	if kernel&unix.EPOLLOUT != 0 {
		e |= Writable
	}
	if kernel&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		e |= Hangup
	}
	if kernel&unix.EPOLLERR != 0 {
		e |= Broken
	}
	return e
}
