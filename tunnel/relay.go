package tunnel

import (
	"io"
	"sync"
	"sync/atomic"
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
	r.watch.start()
	var up sync.WaitGroup
	up.Go(r.copyUp)
	r.copyDown()
	up.Wait()
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
	// The goroutine that served the client until now has grown a stack for its
	// handshake; a fresh one has a quarter of it.
	go r.alone(e)
}

// alone is the tunnel's life beside whoever began it.
func (r *relay) alone(e Ender) {
	defer r.holder.over()
	if r.survive != nil {
		defer r.survive(func() {})
	}
	r.relay()
	e.Ended(r.result())
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

func (r *relay) copyUp() {
	if r.survive != nil {
		defer r.survive(r.giveUp)
	}
	r.copy(&r.up)
}

func (r *relay) copyDown() {
	if r.survive != nil {
		defer r.survive(r.giveUp)
	}
	r.copy(&r.down)
}

// giveUp ends a tunnel that met a defect.
func (r *relay) giveUp() {
	r.ending.note(Defect, nil)
	r.Abort()
}

// copy moves bytes until src ends or one of the two fails.
func (r *relay) copy(d *direction) {
	var buf buffer
	defer buf.release()
	for {
		p, err := d.read(&buf)
		if len(p) > 0 {
			if writeErr := r.pass(d, p); writeErr != nil {
				r.writeFailed(d, writeErr)
				return
			}
		}
		switch {
		case err == io.EOF && !d.srcLost.Load():
			r.finish(d)
			return
		case err == io.EOF:
			r.breakOff()
			return
		case err != nil:
			r.fail(d.srcFault, err)
			return
		}
		buf.fit(len(p))
	}
}

// read gives the next bytes, which are in buf. Where that can be, it waits for them
// without.
func (d *direction) read(buf *buffer) ([]byte, error) {
	if d.await != nil && buf.isSmall() {
		buf.release()
		if err := d.await(); err != nil {
			return nil, err
		}
	}
	p := buf.bytes()
	n, err := d.src.Read(p)
	return p[:n], err
}

// pass writes p, and lets the watch see it.
func (r *relay) pass(d *direction, p []byte) error {
	now := r.watch.now()
	d.last.Store(now)
	d.writing.Store(now)
	n, err := d.dst.Write(p)
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
	if isLost(err) {
		r.other(d).srcLost.Store(true)
	}
	r.ending.note(d.dstFault, err)
	if isCut(err) {
		r.breakOff()
		return
	}
	r.watch.halfClosed()
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
	Break(r.client)
	Break(r.service)
}

// cut closes both streams.
func (r *relay) cut() {
	_ = r.client.Close()
	_ = r.service.Close()
}
