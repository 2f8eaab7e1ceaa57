package tunnel

import (
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel/deadline"
	"github.com/sallyport/sallyport/tunnel/internal/epoll"
)

// restAfter is how long a tunnel waits with its ciphers ready. To make them anew
// takes microseconds, to keep them as much memory as all the rest, and who has not
// spoken for so long mostly does not for minutes.
const restAfter = 2 * time.Second

// maxHeld bounds what slow receivers can have us hold in large buffers, all
// tunnels together. Beyond it reads are small, and so is what a tunnel can hold.
const maxHeld = 256 << 20

// maxSteps is how many steps may do nothing in a row. A dozen or two can, with
// records that have nothing in them; a mistake of ours must not take a processor.
const maxSteps = 1000

// The bits of a parked tunnel's state. The lower ones are what happened since its
// goroutine looked.
const (
	clientReadable uint32 = 1 << iota
	clientWritable
	clientHung
	serviceReadable
	serviceWritable
	serviceHung
	timeIsUp // the deadline that was set
	aborted
	clientAwaited  // something waits until the client takes more
	serviceAwaited // until the service does
	running        // a goroutine has been started for it, and has not left yet
)

// parked is a tunnel that costs a goroutine only while there is something to do.
//
//	           ┌─────── Ready, Due: a goroutine is started ───────┐
//	           │                                                  ▼
//	run ──► waiting ◄── nothing left to do, and no event since ── running
//	           │                                                  │ both directions over,
//	           └───────────────── Abort ────────┐                 │ a fault, a limit
//	                                            ▼                 ▼
//	                                           over ──► Ended (on a goroutine of its own)
//
// Events set a bit and, if running was not set, start the goroutine; it leaves
// only if no bit was set since it looked. So there is one at most, and it does
// both directions: none of what follows mu is shared. Whoever aborts takes mu,
// too, and waits for no more than one read and one write, neither of which blocks.
//
// That a side can be written to is no reason to start unless something waits for
// it: the kernel says so with every other event.
type parked struct {
	state  atomic.Uint32
	relays *Relays
	due    deadline.Entry
	start  func() // pump, made a function once: go t.pump() would each time

	mu       sync.Mutex // held while running; guards the rest
	over     bool       // nothing moves any more
	parting  bool       // but the descriptors are open: see settle
	progress bool       // bytes were written, or found
	limits   Limits
	last     time.Duration // when a byte moved
	half     time.Duration // when a direction ended; zero: none has
	dueAt    time.Duration // what due is set to; zero: nothing
	token    epoll.Token
	client   socket
	service  socket
	codec    codec
	up       flow
	down     flow
	ending   ending
	ender    Ender    // nil until run
	holder   *visitor // whose stream the client's is; nil if it is no server's
}

// sealed is a stream over a connection whose bytes are not the stream's.
type sealed interface {
	// below is the connection, or nil if it is none that can be parked.
	below() *net.TCPConn
	// holder is who has to be told of the tunnel and its end, or nil.
	holder() *visitor
	// unseal gives what lies between, and is the end of the stream.
	unseal() codec
}

// park makes a tunnel of two streams that have descriptors, or returns nil.
func (r *Relays) park(client, service Stream, l Limits) joined {
	if r.poller == nil {
		return nil
	}
	to, _ := service.(*net.TCPConn)
	from, _ := client.(*net.TCPConn)
	secured, isSealed := client.(sealed)
	if isSealed {
		from = secured.below()
	}
	if from == nil || to == nil {
		return nil
	}
	clientFD, err := take(from)
	if err != nil {
		return nil // out of descriptors, mostly: it goes on with those that it has
	}
	serviceFD, err := take(to)
	if err != nil {
		(&socket{fd: clientFD}).close(false)
		return nil
	}
	t := &parked{relays: r, limits: l.withDefaults(), codec: plainCodec{}}
	t.client.fd, t.service.fd = clientFD, serviceFD
	t.client.writable, t.service.writable = true, true // until a write is not taken
	t.up.isUp = true
	t.start = t.pump
	t.last = r.now()
	if isSealed {
		t.codec = secured.unseal()
		// Last: from here on others may abort it.
		if t.holder = secured.holder(); t.holder != nil {
			t.holder.lease(t)
		}
	}
	_, _ = from.Close(), to.Close()
	return t
}

// run registers the tunnel for events and does what can be done at once.
func (t *parked) run(e Ender) {
	t.mu.Lock()
	t.ender = e
	if t.over { // aborted before it began
		t.mu.Unlock()
		t.settle()
		return
	}
	var err error
	t.token, err = t.relays.poller.Add(t, [2]int{t.client.fd, t.service.fd})
	if err != nil {
		t.ending.note(Defect, nil) // epoll_ctl(2): memory, or fs.epoll.max_user_watches
		t.relays.tell(err)
		t.close(forgets)
		t.mu.Unlock()
		t.settle()
		return
	}
	t.mu.Unlock()
	// What there is to read the poller says; what set-up has read, it cannot.
	if t.state.Or(running)&running == 0 {
		t.pump()
	}
}

// Ready is called by the poller.
func (t *parked) Ready(side int, e epoll.Events, alone bool) {
	var bits uint32
	if e&epoll.Readable != 0 {
		bits |= clientReadable
	}
	if e&epoll.Writable != 0 {
		bits |= clientWritable
	}
	if e&epoll.Hangup != 0 {
		bits |= clientHung | clientReadable
	}
	if side == serviceSide {
		bits *= serviceReadable / clientReadable
	}
	for {
		old := t.state.Load()
		now := old | bits
		starts := old&running == 0 && bits&wanted(old) != 0
		if starts {
			now |= running
		}
		if t.state.CompareAndSwap(old, now) {
			switch {
			case starts && alone:
				t.pumpHere()
			case starts:
				go t.start()
			}
			return
		}
	}
}

// wanted are the events that start the goroutine of a tunnel in that state.
func wanted(state uint32) uint32 {
	w := clientReadable | clientHung | serviceReadable | serviceHung
	if state&clientAwaited != 0 {
		w |= clientWritable
	}
	if state&serviceAwaited != 0 {
		w |= serviceWritable
	}
	return w
}

// awaited is what a tunnel's goroutine leaves as its state.
func (t *parked) awaited() (state uint32) {
	if t.down.load != nil {
		state |= clientAwaited
	}
	if t.up.load != nil {
		state |= serviceAwaited
	}
	return state
}

// The sides of a tunnel, as the poller numbers them.
const serviceSide = 1

// Due is called by the queue of deadlines.
func (t *parked) Due() {
	if t.state.Or(timeIsUp|running)&running == 0 {
		go t.start()
	}
}

// Abort ends the tunnel.
func (t *parked) Abort() {
	t.state.Or(aborted) // whoever runs stops after what it is at
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		t.part(true)
		return
	}
	t.ending.note(Cut, nil)
	t.close(forgets)
	if t.ender != nil {
		go t.settle() // the caller may hold locks that Ended needs
	}
}

// pump is the goroutine of a tunnel that is not waiting.
func (t *parked) pump() {
	t.mu.Lock()
	ended, _ := t.work(math.MaxInt)
	t.mu.Unlock()
	if ended {
		t.settle()
	}
}

// fewSteps is what a message and its answer take.
const fewSteps = 4

// pumpHere does what a message takes on the poller's goroutine, while no other
// tunnel needs that: to start one of its own, and find it a processor, takes longer.
// What takes more than that gets one.
func (t *parked) pumpHere() {
	if !t.mu.TryLock() {
		go t.start() // who has it is to hold nobody else up
		return
	}
	ended, more := false, t.up.large || t.down.large
	if !more {
		ended, more = t.work(fewSteps)
	}
	t.mu.Unlock()
	switch {
	case ended:
		go t.settle()
	case more:
		go t.start()
	}
}

// work moves bytes until none move, and tells whether that was the tunnel's end; or
// whether there was more to do than so many steps.
func (t *parked) work(atMost int) (ended, more bool) {
	defer t.relays.survive(func() {
		t.ending.note(Defect, nil)
		if !t.over {
			t.close(forgets)
		}
		ended, more = true, false
	})
	for {
		bits := t.state.Swap(running)
		if t.over || bits&aborted != 0 {
			return false, false // Abort sees to the rest, or has done so
		}
		t.look(bits)
		for steps, busy := 0, true; busy; steps++ {
			// One that is over by now is ours to settle: who aborts it finds it so,
			// and leaves it.
			if !t.over && t.state.Load()&aborted != 0 {
				return false, false
			}
			if atMost--; atMost < 0 && !t.over {
				return false, true
			}
			busy = t.move(&t.down)
			busy = t.move(&t.up) || busy
			if t.progress || t.client.took || t.service.took {
				steps, t.progress, t.client.took, t.service.took = 0, false, false, false
			} else if steps > maxSteps {
				panic("tunnel: a tunnel is busy with nothing")
			}
		}
		if t.check() {
			return true, false
		}
		if t.state.CompareAndSwap(running, t.awaited()) {
			return false, false
		}
	}
}

// look takes note of what happened.
func (t *parked) look(bits uint32) {
	t.client.look(bits)
	t.service.look(bits / (serviceReadable / clientReadable))
	if bits&timeIsUp != 0 {
		t.dueAt = 0
	}
}

func (s *socket) look(bits uint32) {
	s.readable = s.readable || bits&clientReadable != 0
	s.writable = s.writable || bits&clientWritable != 0
	s.hung = s.hung || bits&clientHung != 0
}

// check ends a tunnel that has come to its end, or sees to when that is looked at
// next. It tells whether the tunnel is over.
func (t *parked) check() bool {
	t.checkHung(&t.up)
	t.checkHung(&t.down)
	if t.over {
		return true
	}
	if t.up.over && t.down.over {
		t.close(saysGoodbye)
		return true
	}
	now := t.relays.now()
	reason, wait := t.limits.look(now, moments{
		last: t.last, half: t.half, writing: [2]time.Duration{t.up.stalled, t.down.stalled},
	})
	if reason != "" {
		t.ending.note(reason, nil)
		how := breaksOff
		if reason == Stall {
			how = forgets // who takes no bytes takes none within a second either
		}
		t.close(how)
		return true
	}
	if t.codec.awake() {
		left := restAfter - (now - t.last)
		if left <= 0 {
			t.codec.rest()
		} else {
			wait = min(wait, left)
		}
	}
	if at := now + wait; wait != never && (t.dueAt == 0 || at < t.dueAt) {
		t.dueAt = at
		t.relays.due.Set(&t.due, t, wait)
	}
	return false
}

// checkHung looks at a side that has nothing more to say, and so is not read any
// more, and may have been reset since: nobody else would tell. One that has been
// reset while the other is slow to take what it said before is left alone: servers
// do that with their last answer.
//
// A client that takes nothing any more, and has said the last that it will, is
// gone: what it wanted of a slow service nobody waits for.
func (t *parked) checkHung(f *flow) {
	from := t.from(f)
	switch {
	case !from.hung || t.over:
	case f.over && !t.other(f).over:
		t.fail(f, from.failure())
	case f.isUp && t.down.failed != nil:
		t.fail(f, t.down.failed)
	}
}
