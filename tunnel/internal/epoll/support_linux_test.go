package epoll

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen. Nothing waits for
// something not to happen: see bell.
const patience = 10 * time.Second

func start(t testing.TB) *Poller {
	t.Helper()
	p, err := New(func(err error) { t.Errorf("the poller failed: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func add(t testing.TB, p *Poller, o Owner, fds [2]int) Token {
	t.Helper()
	token, err := p.Add(o, fds)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// openPair returns two ends of a stream, not blocking.
func openPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func pair(t testing.TB) [2]int {
	t.Helper()
	fds, err := openPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds) })
	return fds
}

func closeAll(fds [2]int) {
	unix.Close(fds[0])
	unix.Close(fds[1])
}

// tcp returns the descriptor of one end of a TCP connection, and the other end.
func tcp(t *testing.T) (int, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	return duplicate(t, near), far.(*net.TCPConn)
}

// duplicate returns another descriptor of the connection, which does not block.
func duplicate(t testing.TB, c net.Conn) int {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || fd < 0 {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func write(t testing.TB, fd int, text string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(text)); n != len(text) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(text), err)
	}
}

func read(t testing.TB, fd int, want string) {
	t.Helper()
	buf := make([]byte, len(want)+100)
	if n, err := unix.Read(fd, buf); err != nil || string(buf[:n]) != want {
		t.Fatalf("read %q, %v; want %q", buf[:max(n, 0)], err, want)
	}
}

// event is one call of Ready.
type event struct {
	side   int
	events Events
}

// log is an owner that keeps what it is told.
type log chan event

func (l log) Ready(side int, e Events, _ bool) { l <- event{side, e} }

func (l log) next(t testing.TB) event {
	t.Helper()
	select {
	case e := <-l:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		return event{}
	}
}

func (l log) want(t testing.TB, want ...event) {
	t.Helper()
	for _, w := range want {
		if got := l.next(t); got != w {
			t.Fatalf("side %d is told %v, want side %d, %v", got.side, got.events, w.side, w.events)
		}
	}
}

// bell is a pair of its own by which a test learns that the poller has told
// everybody of everything that had happened before.
type bell struct {
	t    testing.TB
	fds  [2]int
	rung chan struct{}
}

func newBell(t testing.TB, p *Poller) *bell {
	t.Helper()
	b := &bell{t: t, fds: pair(t), rung: make(chan struct{}, 1)}
	add(t, p, b, b.fds)
	return b
}

func (b *bell) Ready(side int, e Events, _ bool) {
	if side == 0 && e&Readable != 0 {
		var buf [1]byte
		if _, err := unix.Read(b.fds[0], buf[:]); err == nil {
			b.rung <- struct{}{}
		}
	}
}

// ring returns when all earlier events have been delivered. The kernel lists
// descriptors in the order in which something happened to them, but may turn
// over those that it met while it was asked; so it rings twice.
func (b *bell) ring() {
	b.t.Helper()
	for range 2 {
		write(b.t, b.fds[1], "!")
		select {
		case <-b.rung:
		case <-time.After(patience):
			b.t.Fatal("the poller is stuck")
		}
	}
}

// descriptors counts what this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
