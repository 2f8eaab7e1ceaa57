package tunnel

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNothingMovesAfterAbort: fifty abort a tunnel that is busy in both directions.
// When the first of them is back, each far end's kernel has all that the far end
// will ever get.
func TestNothingMovesAfterAbort(t *testing.T) {
	for _, k := range parkedKinds() {
		t.Run(k.name, func(t *testing.T) {
			r, run := joinRig(t, k, Limits{})
			run()
			var senders, aborters sync.WaitGroup
			for _, far := range []Stream{r.client, r.service} {
				senders.Go(func() {
					for block := make([]byte, 64<<10); ; {
						if _, err := far.Write(block); err != nil {
							return
						}
					}
				})
			}
			// Both are read for a while, so that all is in motion.
			fars := []syscall.Conn{below(r.client), below(r.service)}
			for _, far := range fars {
				senders.Go(func() { _, _ = io.CopyN(io.Discard, far.(io.Reader), 1<<20) })
			}
			var first sync.Once
			var waiting [2]int
			var up, down int64
			for range 50 {
				aborters.Go(func() {
					r.tunnel.Abort()
					first.Do(func() {
						inside(r.tunnel, func(p *parked) { up, down = p.up.moved, p.down.moved })
						for i, far := range fars {
							waiting[i] = queued(t, far)
						}
					})
				})
			}
			aborters.Wait()
			if got := soon(t, r); got != (Result{Up: up, Down: down, Reason: Cut}) {
				t.Errorf("%+v; at the end of Abort it was %d up and %d down", got, up, down)
			}
			senders.Wait()
			for i, far := range fars {
				n, err := io.Copy(io.Discard, far.(io.Reader))
				if n > int64(waiting[i]) || !isReset(err) && err != nil {
					t.Errorf("far end %d: %d bytes after Abort, of which %d were there; %v", i, n, waiting[i], err)
				}
			}
		})
	}
}

// queued is how much a connection's kernel has for it.
func queued(t testing.TB, conn syscall.Conn) (n int) {
	raw, err := conn.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }), err)
	}
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestAbortBeforeRun: what was sent ahead does not move, and Run tells the end.
func TestAbortBeforeRun(t *testing.T) {
	for _, k := range parkedKinds() {
		r, run := joinRig(t, k, Limits{})
		write(t, r.client, []byte("too early"))
		r.tunnel.Abort()
		run()
		if got := soon(t, r); got != (Result{Reason: Cut}) {
			t.Errorf("%s: %+v", k.name, got)
		}
		if got, err := io.ReadAll(r.service); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the service got %q, %v", k.name, got, err)
		}
	}
}

// enderFunc is an Ender.
type enderFunc func(Result)

func (f enderFunc) Joined(Tunnel)  {}
func (f enderFunc) Ended(r Result) { f(r) }

// TestAbortWithinEnded: whoever is told of the end may abort; nothing comes of it,
// and nobody is told twice.
func TestAbortWithinEnded(t *testing.T) {
	for _, k := range parkedKinds() {
		client, near := k.pair(t)
		service, nearS := tcpPair(t)
		tunnel := relaysOf(t).join(near, nearS, Limits{})
		ended := make(chan Result, 2)
		tunnel.run(enderFunc(func(result Result) {
			tunnel.Abort()
			ended <- result
		}))
		sendAndEnd(t, client, []byte("all"))
		sendAndEnd(t, service, []byte("answer"))
		receive(t, service, []byte("all"))
		receive(t, client, []byte("answer"))
		if got := <-ended; got.Reason != ClientClosed && got.Reason != ServiceClosed {
			t.Errorf("%s: %+v", k.name, got)
		}
		tunnel.Abort()
		_, _ = client.Close(), service.Close()
		if len(ended) > 0 {
			t.Errorf("%s: told twice", k.name)
		}
	}
}

// broken is a codec with a defect at some point.
type broken struct {
	codec
	at string
}

func (b broken) trip(at string) {
	if at == b.at {
		panic("a defect in " + at)
	}
}

func (b broken) receive(client *socket, large bool) (*load, error) {
	b.trip("receive")
	return b.codec.receive(client, large)
}

func (b broken) send(service *socket, large bool) (*load, error) {
	b.trip("send")
	return b.codec.send(service, large)
}

func (b broken) end(l *load, brokeOff bool) error {
	b.trip("end")
	return b.codec.end(l, brokeOff)
}

// TestDefectEndsOneTunnel: a panic costs the tunnel that it is in, which gives back
// all that it has; it is reported, and a neighbour goes on.
func TestDefectEndsOneTunnel(t *testing.T) {
	for _, k := range parkedKinds() {
		for _, at := range []string{"receive", "send", "end"} {
			t.Run(k.name+"/"+at, func(t *testing.T) {
				panics := make(chan any, 2)
				relays := relaysWith(t, RelaysHooks{Panicked: func(value any, _ []byte) { panics <- value }})
				neighbour, run := joinRig(t, k, Limits{})
				run()
				before := descriptors(t)
				r, run := joinRig(t, k, Limits{})
				inside(r.tunnel, func(p *parked) { p.codec = broken{p.codec, at} })
				run()
				switch at {
				case "receive":
					_, _ = r.client.Write([]byte("up")) // TLS may have been asked before
				case "send":
					write(t, r.service, []byte("down"))
				case "end":
					_ = r.service.(interface{ CloseWrite() error }).CloseWrite()
				}
				if got := soon(t, r); got.Reason != Defect {
					t.Errorf("%+v", got)
				}
				if got := <-panics; got != "a defect in "+at || len(panics) > 0 {
					t.Errorf("panicked with %v, and %d more", got, len(panics))
				}
				_, _ = below(r.client).Close(), r.service.Close()
				if after := descriptors(t); after != before {
					t.Errorf("%d descriptors before, %d after", before, after)
				}
				if n := relays.poller.Len(); n != 1 {
					t.Errorf("%d tunnels with events", n)
				}
				swap(t, neighbour, noise(100<<10, 1))
			})
		}
	}
}

// TestDefectInEnded: one in the Ender is reported too, and ends nothing else.
func TestDefectInEnded(t *testing.T) {
	panics := make(chan any, 2)
	relaysWith(t, RelaysHooks{Panicked: func(value any, _ []byte) { panics <- value }})
	for _, k := range parkedKinds() {
		client, near := k.pair(t)
		service, nearS := tcpPair(t)
		relaysOf(t).join(near, nearS, Limits{}).run(enderFunc(func(Result) { panic("a defect in Ended") }))
		_, _ = below(client).Close(), service.Close()
		if got := <-panics; got != "a defect in Ended" {
			t.Errorf("%s: panicked with %v", k.name, got)
		}
	}
}
