package tunnel

import (
	"io"
	"time"
)

// flow is one direction of a parked tunnel.
//
//	reading ──► end of the stream ──► passing it on ──► over
//	   └────────── the receiver takes no more ───────────┘
type flow struct {
	isUp    bool
	load    *load // nil while nothing is on its way
	err     error // what came behind the load; nil mostly
	moved   int64
	stalled time.Duration // since when the load has been waiting for its receiver
	large   bool          // the next read is a large one
	ended   bool          // nothing more comes
	told    bool          // the receiver has been told so, or it is in the load
	over    bool          // and has taken it, or takes nothing any more
	failed  error         // why it takes nothing any more; nil mostly
}

func (t *parked) from(f *flow) *socket {
	if f.isUp {
		return &t.client
	}
	return &t.service
}

func (t *parked) to(f *flow) *socket {
	if f.isUp {
		return &t.service
	}
	return &t.client
}

func (t *parked) other(f *flow) *flow {
	if f.isUp {
		return &t.down
	}
	return &t.up
}

// move does one step of a direction: it reads if nothing is on its way, and writes
// what is. It tells whether another step may find something to do.
func (t *parked) move(f *flow) bool {
	if t.over || f.over {
		return false
	}
	if f.load == nil && !f.isUp {
		f.load = t.codec.owed()
	}
	switch {
	case f.load != nil:
	case f.told:
		f.over = true
		return true
	case f.ended:
		return t.passEnd(f)
	default:
		if err := t.fill(f); err != nil {
			return t.readFailed(f, err)
		}
	}
	return t.drain(f)
}

// fill reads what there is into a load. errNoWait says that there is nothing.
func (t *parked) fill(f *flow) error {
	if f.err != nil {
		return f.err
	}
	from := t.from(f)
	if !from.readable && !(f.isUp && t.codec.holds()) {
		return errNoWait
	}
	var l *load
	var err error
	large := f.large && t.relays.held.Load() < maxHeld
	switch {
	case f.isUp && t.codec.owes():
		return errNoWait // first the client takes what it is owed
	case f.isUp:
		l, err = t.codec.receive(from, large)
	case t.up.err != nil && t.up.err != io.EOF:
		// The client has failed: what is left goes to the service, if that takes it.
		if t.up.over {
			t.fail(&t.up, t.up.err)
		}
		return errNoWait
	default:
		l, err = t.codec.send(from, large)
	}
	if l == nil {
		return err
	}
	f.load, t.progress = l, true
	if !isNoWait(err) {
		f.err = err
	}
	return nil
}

// readFailed is the end of a direction, clean or not, or just of what there is.
func (t *parked) readFailed(f *flow, err error) bool {
	switch {
	case isNoWait(err):
		if !f.isUp {
			return false
		}
		// What was read may have been no bytes of the tunnel, and more be there;
		// what the client is owed for it goes first.
		if t.codec.owes() && !t.down.over {
			return t.down.load == nil
		}
		if t.codec.owes() {
			t.codec.owed().release() // it has been told that nothing more comes
		}
		return t.client.readable
	case err == io.EOF && isLost(t.other(f).failed):
		t.fail(f, t.other(f).failed)
	case err == io.EOF:
		f.ended = true
		t.halfClosed()
		if f.isUp {
			t.ending.finish(ClientClosed)
		} else {
			t.ending.finish(ServiceClosed)
		}
	default:
		t.fail(f, err)
	}
	return true
}

// fail ends the tunnel: a side that cannot be read has nothing more to say, and
// what is said to it is not heard.
func (t *parked) fail(f *flow, err error) {
	if err == nil || t.over {
		return
	}
	if f.isUp {
		t.ending.note(ClientError, err)
	} else {
		t.ending.note(ServiceError, err)
	}
	t.close(breaksOff)
}

// passEnd tells the receiver that nothing more comes.
func (t *parked) passEnd(f *flow) bool {
	f.told = true
	if f.isUp {
		if err := t.service.closeWrite(); err != nil {
			t.writeFailed(f, err)
		}
		return true
	}
	l := takeLoad(false)
	if err := t.codec.end(l, false); err != nil {
		l.release()
		t.writeFailed(f, err)
		return true
	}
	if l.left == 0 {
		l.release()
		if err := t.codec.closeWrite(&t.client); err != nil {
			t.writeFailed(f, err)
		}
		return true
	}
	f.load = l
	return true
}

// writeFailed ends a direction whose receiver takes no more. It may still have
// something to say, an answer for one, so the other direction goes on; the
// half-close limit bounds it.
func (t *parked) writeFailed(f *flow, err error) {
	reason := ClientError
	if f.isUp {
		reason = ServiceError
	}
	t.ending.note(reason, err)
	f.over, f.failed = true, err
	t.halfClosed()
}

func (t *parked) halfClosed() {
	if t.half == 0 {
		t.half = t.relays.now()
	}
}

// drain writes what is on its way.
func (t *parked) drain(f *flow) bool {
	to, l := t.to(f), f.load
	if !to.writable {
		return t.stall(f)
	}
	n, err := to.write(l.pending())
	if isNoWait(err) {
		return t.stall(f)
	}
	if err != nil {
		t.drop(f)
		t.writeFailed(f, err)
		return true
	}
	t.last, t.progress = t.relays.now(), true
	l.wrote(n)
	if l.left > 0 {
		return true // the kernel says when it is enough
	}
	// Who is slower than the sender gets little at a time, so that little waits
	// for him.
	f.large = l.filled && f.stalled == 0
	t.drop(f)
	return true
}

// stall notes since when a load has been waiting.
func (t *parked) stall(f *flow) bool {
	if f.stalled == 0 {
		f.stalled = t.relays.now()
		t.relays.held.Add(int64(f.load.size()))
	}
	return false
}

// drop lets go of what is on its way.
func (t *parked) drop(f *flow) {
	if f.load == nil {
		return
	}
	if f.stalled != 0 {
		f.stalled = 0
		t.relays.held.Add(-int64(f.load.size()))
	}
	f.moved += f.load.taken()
	f.load.release()
	f.load = nil
}
