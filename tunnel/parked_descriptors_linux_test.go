package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exhaust leaves the process n free descriptors, until the test or the returned
// function ends that.
func exhaust(t *testing.T, n int) (relent func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	// Not many more than there are, or it would take as many to fill them.
	first, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	lowered := before
	lowered.Cur = uint64(first) + 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	taken := []int{first}
	relent = sync.OnceFunc(func() {
		for _, fd := range taken {
			_ = unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(relent)
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, fd)
	}
	for range n {
		_ = unix.Close(taken[len(taken)-1])
		taken = taken[:len(taken)-1]
	}
	return relent
}

// TestOutOfDescriptors: a tunnel that cannot have its own takes those that its
// streams have, and works in the other form. None is lost.
func TestOutOfDescriptors(t *testing.T) {
	for _, k := range parkedKinds() {
		for free := range 2 { // the first to be duplicated fails, or the second
			relays := relaysOf(t)
			client, near := k.pair(t)
			service, nearService := tcpPair(t)
			before := descriptors(t)
			relent := exhaust(t, free)
			tunnel := relays.join(near, nearService, Limits{})
			relent()
			if _, ok := tunnel.(*relay); !ok {
				t.Errorf("%s, %d free: a %T", k.name, free, tunnel)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%s, %d free: %d descriptors before, %d after", k.name, free, before, after)
			}
			r := &rig{client: client, service: service, done: make(chan Result, 1)}
			r.result = sync.OnceValue(func() Result { return <-r.done })
			go tunnel.run(r)
			swap(t, r, noise(100<<10, 1))
			var ends sync.WaitGroup
			ends.Go(func() { end(t, service, client) })
			ends.Wait()
			end(t, client, service)
			if got := soon(t, r); got.Reason != ServiceClosed || got.Err != nil {
				t.Errorf("%s, %d free: %+v", k.name, free, got)
			}
			_, _ = below(client).Close(), service.Close()
			if after := descriptors(t); after != before-4 {
				t.Errorf("%s, %d free: %d descriptors before, %d at the end", k.name, free, before, after)
			}
		}
	}
}

// TestServeOutOfDescriptors: with none left accepting fails, which is told and
// waited out, and who queued meanwhile is served as soon as there are some again.
func TestServeOutOfDescriptors(t *testing.T) {
	failures := make(chan error, 100)
	server := newTestServer(t, Config{
		Handler: handlerFunc(func(ctx context.Context, n Negotiation) { _, _ = n.Credential(ctx) }),
		Hooks: Hooks{AcceptError: func(err error, pause time.Duration) {
			if pause < 5*time.Millisecond || pause > time.Second {
				t.Errorf("a pause of %v", pause)
			}
			select {
			case failures <- err:
			default:
			}
		}},
	})
	addr := serve(t, server, listenLoopback(t))
	relent := exhaust(t, 1) // for our side of the connection
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	for range 3 {
		if err := <-failures; !errors.Is(err, syscall.EMFILE) {
			t.Errorf("%v, want EMFILE", err)
		}
	}
	relent()
	write(t, conn, []byte("GET / HTTP/1.1\r\n\r\n"))
	if got, err := io.ReadAll(conn); err != nil || string(got) != string(badRequest) {
		t.Errorf("%q, %v", got, err)
	}
}
