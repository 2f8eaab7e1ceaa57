package epoll

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests are the manual of what a tunnel is told, and when.

const both = Readable | Writable

func TestAddTellsHowThingsStand(t *testing.T) {
	p := start(t)
	fds, told := pair(t), make(log, 16)
	write(t, fds[1], "early")
	add(t, p, told, fds)
	got := map[int]Events{}
	for range 2 {
		e := told.next(t)
		got[e.side] |= e.events
	}
	if got[0] != both || got[1] != Writable {
		t.Errorf("told %v and %v, want %v and %v", got[0], got[1], both, Writable)
	}
}

func TestOneEventForEachArrival(t *testing.T) {
	p := start(t)
	bell, near, far, told := newBell(t, p), pair(t), pair(t), make(log, 16)
	add(t, p, told, [2]int{near[0], far[0]})
	told.want(t, event{0, Writable}, event{1, Writable})

	write(t, near[1], "one")
	told.want(t, event{0, both})
	bell.ring() // unread bytes are not told of again …
	write(t, near[1], "two")
	told.want(t, event{0, both}) // … but more of them are
	read(t, near[0], "onetwo")
	bell.ring() // reading is no event for the reader

	write(t, far[1], "other side")
	told.want(t, event{1, both})
	bell.ring()
	if len(told) != 0 {
		t.Errorf("told %v besides", <-told)
	}
}

func TestWritableAfterARefusal(t *testing.T) {
	p := start(t)
	bell, near, far, told := newBell(t, p), pair(t), pair(t), make(log, 16)
	add(t, p, told, [2]int{near[0], far[0]})
	told.want(t, event{0, Writable}, event{1, Writable})

	buf := make([]byte, 64<<10)
	for {
		if _, err := unix.Write(near[0], buf); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	bell.ring()
	if len(told) != 0 {
		t.Errorf("told %v by our own writing", <-told)
	}
	for {
		if _, err := unix.Read(near[1], buf); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	told.want(t, event{0, Writable})
}

// The peer has shut down its side: what it sent before is still there, and the
// other direction still works.
func TestHangupByHalfClose(t *testing.T) {
	p := start(t)
	near, peer := tcp(t)
	far, told := pair(t), make(log, 16)
	add(t, p, told, [2]int{near, far[0]})
	told.want(t, event{0, Writable}, event{1, Writable})
	if _, err := peer.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	told.want(t, event{0, both})
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	told.want(t, event{0, both | Hangup})
	read(t, near, "last words")
	read(t, near, "") // the end
	write(t, near, "farewell")
	buf := make([]byte, 100)
	if n, err := peer.Read(buf); err != nil || string(buf[:n]) != "farewell" {
		t.Errorf("the peer read %q, %v", buf[:n], err)
	}
	if err := unix.Shutdown(near, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	for { // both sides are shut down: Hangup again, and nothing is broken
		e := told.next(t)
		if e.side != 0 || e.events&Broken != 0 {
			t.Fatalf("told %v", e)
		}
		if e.events&Hangup != 0 {
			break
		}
	}
}

func TestBrokenByReset(t *testing.T) {
	p := start(t)
	near, peer := tcp(t)
	far, told := pair(t), make(log, 16)
	add(t, p, told, [2]int{near, far[0]})
	told.want(t, event{0, Writable}, event{1, Writable})
	if err := peer.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	told.want(t, event{0, both | Hangup | Broken})
	var buf [1]byte
	_, err := unix.Read(near, buf[:])
	wantError(t, err, unix.ECONNRESET)
}

// More than one harvest at once.
func TestACrowd(t *testing.T) {
	const crowd = 3*harvestSize + 1
	p := start(t)
	told := make(log, 2*crowd)
	pairs := make([][2]int, crowd)
	for i := range pairs {
		pairs[i] = pair(t)
		add(t, p, told, pairs[i])
		told.want(t, event{0, Writable}, event{1, Writable})
	}
	if p.Len() != crowd {
		t.Errorf("Len = %d, want %d", p.Len(), crowd)
	}
	bell, release := newBell(t, p), hold(t, p)
	for i := range pairs {
		write(t, pairs[i][1], "x")
	}
	close(release)
	for range pairs {
		told.want(t, event{0, both})
	}
	bell.ring()
	if len(told) != 0 {
		t.Errorf("%d events too many", len(told))
	}
}

func TestEventsHaveNames(t *testing.T) {
	for e, want := range map[Events]string{
		0:                             "",
		Writable:                      "writable",
		Readable | Hangup | Broken:    "readable|hangup|broken",
		both | Hangup | Broken | 1<<9: "readable|writable|hangup|broken",
	} {
		if got := e.String(); got != want {
			t.Errorf("%d is called %q, want %q", e, got, want)
		}
	}
}
