package tunnel

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Relay moves bytes both ways until both directions have ended, one stream has
// failed, or a limit has passed. An end of one direction is passed on by
// CloseWrite, and the other goes on; anything else that ends it is passed on by
// Break, so that no side takes what it got for the whole. Abort of both streams from
// elsewhere ends it at once, with Cut as the reason; so does Close, but for what it
// waits to say goodbye.
//
// When it returns both streams are closed, and the goroutine and the timer that
// it started are gone. It allocates nothing for each buffer, sends nothing of
// its own, and touches nothing that another tunnel does, but the buffer pools.
// While it waits it has a small buffer in each direction, or none where the stream
// is a TCP connection or an Awaiter.
//
// It takes any streams. [Relays] does the same for many of those that have
// descriptors, without a goroutine or a buffer each while they wait.
func Relay(client, service Stream, l Limits) Result {
	r := newRelay(client, service, l)
	r.relay()
	return r.result()
}

// relay is one tunnel in two goroutines.
type relay struct {
	client, service Stream
	up, down        direction
	watch           watch
	ending          ending
	survive         func(after func()) // a panic of a copying goroutine; nil: the process does not
	holder          *visitor           // whose stream the client's is; nil if it is no server's
	moving          atomic.Int32       // directions that have not ended
	over            func()             // told when none is left
}

func newRelay(client, service Stream, l Limits) *relay {
	r := &relay{client: client, service: service}
	r.up = direction{src: client, dst: service, srcFault: ClientError, dstFault: ServiceError, finished: ClientClosed}
	r.down = direction{src: service, dst: client, srcFault: ServiceError, dstFault: ClientError, finished: ServiceClosed}
	r.up.await, r.down.await = awaitOf(client), awaitOf(service)
	r.watch.init(r, l)
	return r
}

// relay is the whole of the tunnel's life.
func (r *relay) relay() {
	over := make(chan struct{})
	r.begin(func() { close(over) })
	<-over
}

// begin starts both directions. over is called once both have ended, on the goroutine
// of the one that was last.
func (r *relay) begin(over func()) {
	r.over = over
	r.moving.Store(2)
	r.watch.start()
	go r.wait(&r.up)
	go r.wait(&r.down)
}

// ended is told of each direction's end.
func (r *relay) ended() {
	if r.moving.Add(-1) > 0 {
		return
	}
	defer r.over()
	if r.survive != nil {
		defer r.survive(func() {})
	}
	r.watch.stop()
	r.cut()
}

// run and Abort satisfy joined.
func (r *relay) run(e Ender) {
	if r.holder == nil {
		r.relay()
		e.Ended(r.result())
		return
	}
	r.begin(func() {
		defer r.holder.over()
		if r.survive != nil {
			defer r.survive(func() {})
		}
		e.Ended(r.result())
	})
}

func (r *relay) Abort() {
	r.ending.note(Cut, nil)
	Abort(r.client)
	Abort(r.service)
}

func (r *relay) result() Result {
	reason, err := r.ending.verdict()
	return Result{Up: r.up.moved, Down: r.down.moved, Reason: reason, Err: err}
}

// direction is one half of a tunnel. moved belongs to its copying goroutine;
// the atomics are what the watch sees of it.
type direction struct {
	src, dst           Stream
	srcFault, dstFault CloseReason
	finished           CloseReason  // when src ends cleanly
	await              func() error // until src has something to read; nil: only a Read can wait

	moved   int64
	last    atomic.Int64 // when a byte moved last, on the watch's clock
	writing atomic.Int64 // when the write under way began; zero if there is none
	srcLost atomic.Bool  // a write to src has told that it failed, and no read will
	_       [64]byte     // the two directions are written to by two processors
}

// giveUp ends a tunnel that met a defect.
func (r *relay) giveUp() {
	r.ending.note(Defect, nil)
	r.Abort()
}

// wait is where a direction is while nothing moves, on a goroutine that has done
// nothing before: what moves bytes grows its stack to twice the least, and a stack that
// has grown once does not shrink as far. So a waiter ends with what it has waited for,
// and a fresh one waits for what comes next.
func (r *relay) wait(d *direction) {
	r.move(d, r.await(d))
}

// await returns nil after a defect too: the tunnel is aborted then, and a read says so.
func (r *relay) await(d *direction) error {
	if d.await == nil {
		return nil
	}
	if r.survive != nil {
		defer r.survive(r.giveUp)
	}
	return d.await()
}

// move moves bytes while there are many, and leaves to another waiter what comes after
// them. err is why there are none.
//
//go:noinline
func (r *relay) move(d *direction, err error) {
	idle := false
	defer func() {
		if idle {
			go r.wait(d)
		} else {
			r.ended()
		}
	}()
	if r.survive != nil {
		defer r.survive(r.giveUp)
	}
	var buf buffer
	defer buf.release()
	for err == nil {
		p, n := buf.bytes(), 0
		if n, err = d.src.Read(p); n > 0 {
			if writeErr := r.pass(d, p[:n]); writeErr != nil {
				r.writeFailed(d, writeErr)
				return
			}
		}
		buf.fit(n)
		if err == nil && d.await != nil && buf.isSmall() {
			idle = true
			return
		}
	}
	r.stopped(d, err)
}

// stopped is for a src that gives no more.
func (r *relay) stopped(d *direction, err error) {
	switch {
	case err == io.EOF && !r.lost(d):
		r.finish(d)
	case err == io.EOF:
		r.breakOff()
	default:
		r.fail(d.srcFault, err)
	}
}

// lost tells whether the end that a read of d's src has found is none. It is told to
// the read or to a write that is under way, not to both, and a write that has been told
// returns at once: so it is waited for a little. One that waits for a slow src goes on.
func (r *relay) lost(d *direction) bool {
	const bound = 10 * time.Millisecond
	for began := time.Now(); r.other(d).writing.Load() != 0 && time.Since(began) < bound; {
		time.Sleep(bound / 20)
	}
	return d.srcLost.Load()
}

// pass writes p, and lets the watch see it.
func (r *relay) pass(d *direction, p []byte) error {
	now := r.watch.now()
	d.last.Store(now)
	d.writing.Store(now)
	n, err := d.dst.Write(p)
	r.noteLost(d, err) // before nobody waits for it any more
	d.writing.Store(0)
	d.moved += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if n > 0 {
		d.last.Store(r.watch.now())
	}
	return err
}

// finish passes a clean end on.
func (r *relay) finish(d *direction) {
	r.ending.finish(d.finished)
	r.watch.halfClosed()
	if err := d.dst.CloseWrite(); err != nil {
		r.writeFailed(d, err)
	}
}

// writeFailed ends a direction whose far end takes no more. That end may still
// have something to say, an answer for one, so the other direction goes on; the
// half-close limit bounds it.
func (r *relay) writeFailed(d *direction, err error) {
	r.noteLost(d, err)
	r.ending.note(d.dstFault, err)
	if isCut(err) {
		r.breakOff()
		return
	}
	r.watch.halfClosed()
}

// noteLost is told how a write to d's dst, or its end, went.
func (r *relay) noteLost(d *direction, err error) {
	if err != nil && isLost(err) {
		r.other(d).srcLost.Store(true)
	}
}

func (r *relay) other(d *direction) *direction {
	if d == &r.up {
		return &r.down
	}
	return &r.up
}

// fail ends the tunnel: a stream that cannot be read has nothing more to say,
// and what is said to it is not heard.
func (r *relay) fail(reason CloseReason, err error) {
	r.ending.note(reason, err)
	r.breakOff()
}

// expire is the watch's verdict. Who takes no bytes takes no goodbye either, so
// a stalled tunnel is not given the time to say one.
func (r *relay) expire(reason CloseReason) {
	r.ending.note(reason, nil)
	if reason == Stall {
		Abort(r.client)
		Abort(r.service)
		return
	}
	r.breakOff()
}

// breakOff closes both streams, which ends both directions wherever they are, and
// neither end looks like a good one.
func (r *relay) breakOff() {
	var service sync.WaitGroup
	service.Go(func() {
		if r.survive != nil {
			defer r.survive(r.giveUp)
		}
		Break(r.service)
	})
	defer service.Wait()
	Break(r.client)
}

// cut closes both streams, and the second though the first meets a defect.
func (r *relay) cut() {
	defer func() { _ = r.service.Close() }()
	_ = r.client.Close()
}
