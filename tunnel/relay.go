package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Limits.
const (
	DefaultIdle       = 3900 * time.Second
	DefaultHalfClose  = 2 * time.Minute
	DefaultWriteStall = 5 * time.Minute
)

// Limits bound a tunnel in time. In each field zero means the default, and a
// negative value no limit.
type Limits struct {
	// Idle is how long no byte may move in either direction. The default is
	// above the 3,540 s that a device's Direct Push request may hang.
	Idle time.Duration
	// HalfClose is how long no byte may move after one side has finished.
	HalfClose time.Duration
	// WriteStall is how long a single write of up to 256 KiB may take. The
	// default outlasts a phone's few minutes without coverage.
	WriteStall time.Duration
}

// CloseReason says why a tunnel ended. The list is closed: it is a metric
// label.
type CloseReason string

// The close reasons.
const (
	ClientClosed  CloseReason = "client_closed"  // the client finished first, and the service after it
	ServiceClosed CloseReason = "service_closed" // the other way round
	ClientError   CloseReason = "client_error"   // the client's stream failed
	ServiceError  CloseReason = "service_error"  // the service's stream failed
	Idle          CloseReason = "idle"           // Limits.Idle
	HalfClose     CloseReason = "half_close"     // Limits.HalfClose
	Stall         CloseReason = "stall"          // Limits.WriteStall
	Cut           CloseReason = "cut"            // our side closed a stream while Relay ran
)

// Result is the account of a tunnel.
type Result struct {
	Up     int64 // bytes from client to service, as accepted by the service's stream
	Down   int64 // bytes from service to client
	Reason CloseReason
	Err    error // the cause of ClientError and ServiceError, else nil
}

// Relay moves bytes both ways until both directions have ended, one stream has
// failed, or a limit has passed. An end of one direction is passed on by
// CloseWrite, and the other goes on. Abort of both streams from elsewhere ends
// it at once, with Cut as the reason; so does Close, but for what it waits to
// say goodbye.
//
// When it returns both streams are closed, and the goroutine and the timer that
// it started are gone. It allocates nothing for each buffer, sends nothing of
// its own, and touches nothing that another tunnel does, but the buffer pools.
// While it waits for bytes of a client's stream or a TCP connection it has no
// buffer; for those of other streams it waits with what their last read earned.
func Relay(client, service Stream, l Limits) Result {
	r := &relay{client: client, service: service}
	r.up = direction{src: client, dst: service, srcFault: ClientError, dstFault: ServiceError, finished: ClientClosed}
	r.down = direction{src: service, dst: client, srcFault: ServiceError, dstFault: ClientError, finished: ServiceClosed}
	r.watch.start(r, l)

	var up sync.WaitGroup
	up.Go(r.copyUp)
	r.copyDown()
	up.Wait()

	r.watch.stop()
	r.cut()
	reason, err := r.verdict()
	return Result{Up: r.up.moved, Down: r.down.moved, Reason: reason, Err: err}
}

// relay is one tunnel while it runs.
type relay struct {
	client, service Stream
	up, down        direction
	watch           watch

	mu       sync.Mutex  // guards the rest; never taken for a mere byte
	finished CloseReason // whose direction came to a clean end first; "" if none did
	fault    CloseReason // what ended the tunnel otherwise; "" if nothing did
	err      error
}

// direction is one half of a tunnel. moved belongs to its copying goroutine;
// the atomics are what the watch sees of it.
type direction struct {
	src, dst           Stream
	srcFault, dstFault CloseReason
	finished           CloseReason // when src ends cleanly

	moved   int64
	last    atomic.Int64 // when a byte moved last, on the watch's clock
	writing atomic.Int64 // when the write under way began; zero if there is none
	_       [64]byte     // the two directions are written to by two processors
}

func (r *relay) copyUp()   { r.copy(&r.up) }
func (r *relay) copyDown() { r.copy(&r.down) }

// copy moves bytes until src ends or one of the two fails.
func (r *relay) copy(d *direction) {
	in := sourceOf(d.src)
	defer in.release()
	for {
		p, err := in.next()
		if len(p) > 0 {
			if writeErr := r.pass(d, p); writeErr != nil {
				r.writeFailed(d, writeErr)
				return
			}
		}
		switch {
		case err == io.EOF:
			r.finish(d)
			return
		case err != nil:
			r.fail(d.srcFault, err)
			return
		}
	}
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
	r.mu.Lock()
	if r.finished == "" {
		r.finished = d.finished
	}
	r.mu.Unlock()
	r.watch.halfClosed()
	if err := d.dst.CloseWrite(); err != nil {
		r.writeFailed(d, err)
	}
}

// writeFailed ends a direction whose far end takes no more. That end may still
// have something to say, an answer for one, so the other direction goes on; the
// half-close limit bounds it.
func (r *relay) writeFailed(d *direction, err error) {
	r.note(d.dstFault, err)
	if isCut(err) {
		r.cut()
		return
	}
	r.watch.halfClosed()
}

// fail ends the tunnel: a stream that cannot be read has nothing more to say,
// and what is said to it is not heard.
func (r *relay) fail(reason CloseReason, err error) {
	r.note(reason, err)
	r.cut()
}

// note records the first fault. A stream that had come to its end already, and
// then fails, has merely been closed for good.
func (r *relay) note(reason CloseReason, err error) {
	if isCut(err) {
		reason, err = Cut, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	expected := reason == ClientError && r.finished == ClientClosed ||
		reason == ServiceError && r.finished == ServiceClosed
	if r.fault == "" && !expected {
		r.fault, r.err = reason, err
	}
}

// expire is the watch's verdict. Who takes no bytes takes no goodbye either, so
// a stalled tunnel is not given the time to say one.
func (r *relay) expire(reason CloseReason) {
	r.note(reason, nil)
	if reason == Stall {
		Abort(r.client)
		Abort(r.service)
		return
	}
	r.cut()
}

// cut closes both streams, which ends both directions wherever they are.
func (r *relay) cut() {
	_ = r.client.Close()
	_ = r.service.Close()
}

func (r *relay) verdict() (CloseReason, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != "" {
		return r.fault, r.err
	}
	return r.finished, nil
}

// isCut reports whether a stream failed because our side closed it.
func isCut(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
