package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBothSidesStopReading: what the kernel does not take is one load a direction,
// nobody runs for it, and nothing is read until there is room again. Then all of
// it arrives.
func TestBothSidesStopReading(t *testing.T) {
	for _, k := range parkedKinds() {
		t.Run(k.name, func(t *testing.T) {
			r, run := joinRig(t, k, Limits{})
			narrow(t, r)
			run()
			up, down := noise(1<<20, 1), noise(1<<20, 2)
			var senders sync.WaitGroup
			senders.Go(func() { sendAndEnd(t, r.client, up) })
			senders.Go(func() { sendAndEnd(t, r.service, down) })
			untilStalled(t, r, true)
			untilStalled(t, r, false)
			if held := relaysOf(t).held.Load(); held > 2*(largeRead+loadSlack) {
				t.Errorf("%d bytes held", held)
			}
			eventually(t, "nobody runs, though there is more to read", func() (waits bool) {
				inside(r.tunnel, func(p *parked) {
					waits = p.state.Load()&running == 0 && p.up.stalled != 0 && p.down.stalled != 0 &&
						p.client.readable && p.service.readable
				})
				return waits
			})
			senders.Go(func() { receive(t, r.service, up) })
			receive(t, r.client, down)
			senders.Wait()
			got := soon(t, r)
			if got.Up != int64(len(up)) || got.Down != int64(len(down)) || got.Err != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestByteAtATime: a receiver that takes a byte, and then another one, gets them in
// order, and the rest when it wants it.
func TestByteAtATime(t *testing.T) {
	for _, k := range parkedKinds() {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/up=%v", k.name, up), func(t *testing.T) {
				t.Parallel()
				r, run := joinRig(t, k, Limits{})
				narrow(t, r)
				run()
				from, to := r.client, r.service
				if !up {
					from, to = to, from
				}
				sent := noise(512<<10, 3)
				var sender sync.WaitGroup
				sender.Go(func() { sendAndEnd(t, from, sent) })
				slow := make([]byte, 4_000)
				for i := range slow {
					if _, err := to.Read(slow[i : i+1]); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(slow, sent[:len(slow)]) {
					t.Error("other bytes")
				}
				receive(t, to, sent[len(slow):])
				sender.Wait()
			})
		}
	}
}

// TestHeldIsBounded: when slow receivers have us hold enough in all, tunnels that
// have earned large loads get small ones like the rest, and work as well.
func TestHeldIsBounded(t *testing.T) {
	const most = maxHeld // as if a thousand others were stalled
	for _, k := range parkedKinds() {
		t.Run(k.name, func(t *testing.T) {
			relays := relaysOf(t)
			relays.held.Add(most)
			defer relays.held.Add(-most)
			rigs := make([]*rig, 4)
			sent := noise(512<<10, 5)
			var work sync.WaitGroup
			for i := range rigs {
				r, run := joinRig(t, k, Limits{})
				rigs[i] = r
				inside(r.tunnel, func(p *parked) {
					// As if the last thing that came had filled its load to the byte.
					p.up.large, p.down.large = true, true
					bufferSizes(t, p.service.fd, p.client.fd)
				})
				work.Go(func() { sendAndEnd(t, r.service, sent) })
				inside(r.tunnel, func(p *parked) {
					eventually(t, "more is here than the client will take", func() bool {
						n, err := unix.IoctlGetInt(p.service.fd, unix.TIOCINQ)
						return err == nil && n > 150<<10
					})
				})
				run()
				untilStalled(t, r, false)
			}
			if held := relays.held.Load() - most; held == 0 || held > int64(len(rigs))*(smallRead+loadSlack) {
				t.Errorf("%d bytes more are held by %d tunnels", held, len(rigs))
			}
			for _, r := range rigs {
				work.Go(func() { receive(t, r.client, sent) })
			}
			work.Wait()
			if held := relays.held.Load(); held != most {
				t.Errorf("%d bytes are still held", held-most)
			}
		})
	}
}

// bufferSizes has the kernel hold much of what comes from one descriptor, and
// little of what goes to the other.
func bufferSizes(t *testing.T, from, to int) {
	t.Helper()
	if err := errors.Join(
		unix.SetsockoptInt(from, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_SNDBUF, 1),
	); err != nil {
		t.Fatal(err)
	}
}

// TestParkedLimits: each limit ends a parked tunnel with its reason, after its
// time, counted from the last byte or end, and not before.
func TestParkedLimits(t *testing.T) {
	const limit = 50 * time.Millisecond
	for _, tt := range []struct {
		reason CloseReason
		limits Limits
		play   func(t *testing.T, r *rig) (since time.Time)
	}{
		{Idle, Limits{Idle: limit}, func(*testing.T, *rig) time.Time { return time.Time{} }},
		{Idle, Limits{Idle: limit}, func(t *testing.T, r *rig) (since time.Time) {
			for range 20 { // longer than the limit in all, if the machine is slow
				since = time.Now()
				exchange(t, r.client, r.service)
			}
			return since
		}},
		{HalfClose, Limits{HalfClose: limit}, func(t *testing.T, r *rig) time.Time {
			since := time.Now()
			sendAndEnd(t, r.client, []byte("all"))
			return since
		}},
		{HalfClose, Limits{HalfClose: limit}, func(t *testing.T, r *rig) time.Time {
			sendAndEnd(t, r.service, []byte("all"))
			receive(t, r.client, []byte("all"))
			since := time.Now()
			exchange(t, r.client, r.service)
			return since
		}},
		{Stall, Limits{WriteStall: limit}, func(t *testing.T, r *rig) time.Time {
			narrow(t, r)
			since := time.Now()
			_, _ = r.service.Write(make([]byte, 2<<20)) // nobody reads it
			return since
		}},
		{Stall, Limits{WriteStall: limit}, func(t *testing.T, r *rig) time.Time {
			narrow(t, r)
			since := time.Now()
			_, _ = r.client.Write(make([]byte, 2<<20))
			return since
		}},
	} {
		for _, k := range parkedKinds() {
			t.Run(k.name+"/"+string(tt.reason), func(t *testing.T) {
				t.Parallel()
				r := &rig{done: make(chan Result, 1)}
				r.client, r.nearC = k.pair(t)
				defer r.client.Close()
				service, near := tcpPair(t)
				defer service.Close()
				r.service = service
				r.result = sync.OnceValue(func() Result { return <-r.done })
				began := time.Now()
				r.tunnel = relaysOf(t).join(r.nearC, near, tt.limits)
				r.tunnel.run(r)
				since := tt.play(t, r)
				if since.IsZero() {
					since = began
				}
				got := soon(t, r)
				if took := time.Since(since); took < limit {
					t.Errorf("after %v", took)
				}
				if got.Reason != tt.reason || got.Err != nil {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}
