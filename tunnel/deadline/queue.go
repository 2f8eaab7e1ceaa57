package deadline

import (
	"math"
	"sync"
	"time"
)

// Due is told that its time has come. It is called on the queue's own
// goroutine, once for each Set that was neither moved nor cleared, with nothing
// locked: it may call the queue. It must not block, for all others wait for it.
type Due interface{ Due() }

// Entry is one deadline's place in a Queue. Its owner embeds it; its zero value
// is in no queue. It belongs to the queue it was Set in until it is out again,
// and must not be copied while it is in.
type Entry struct {
	owner Due
	place int // its index in the heap, plus one; zero: it is in no queue
}

// Queue tells each of its entries when its time has come. Its zero value is
// ready for use, and it must not be copied after that. All methods may be
// called by several goroutines at once, for one entry too.
//
// A queue needs no closing: one without entries has no timer running. One that
// has entries keeps their owners from being collected.
type Queue struct {
	mu      sync.Mutex // guards the rest, and every Entry that is in
	base    time.Time  // where the clock begins
	heap    heap
	timer   *time.Timer
	armed   int64 // when the timer will fire, on the clock; zero: it is not set
	calling bool  // fire is at work, and arms the timer when it is done
}

// Set has owner told after the given time, at once if that is not positive. An
// entry that is in is moved to its new time and owner. Several entries may have
// one owner, which is told for each.
//
// The largest duration means never.
func (q *Queue) Set(e *Entry, owner Due, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	when := now + int64(max(after, 0))
	if when < now { // past the end of the clock
		when = math.MaxInt64
	}
	e.owner = owner
	q.heap.set(e, when)
	q.arm(now)
}

// Clear takes the entry out, and reports whether it was in. If it was, its
// owner will not be told. If it was not, a Due for an earlier Set may still be
// under way, or just about to begin: Clear does not wait for it.
func (q *Queue) Clear(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.place == 0 {
		return false
	}
	q.heap.remove(e)
	e.owner = nil
	if len(q.heap) == 0 && q.armed != 0 {
		q.timer.Stop() // else it would keep the queue alive, for hours perhaps
		q.armed = 0
	}
	return true
}

// Len is how many entries are in.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.heap)
}

// now is the queue's clock: nanoseconds since its first use, and never zero.
// Called with mu held.
func (q *Queue) now() int64 {
	if q.base.IsZero() {
		q.base = time.Now()
	}
	return int64(time.Since(q.base)) + 1
}

// arm sees to it that the timer fires at the first deadline or before. Called
// with mu held.
func (q *Queue) arm(now int64) {
	if q.calling || len(q.heap) == 0 {
		return
	}
	first := q.heap[0].when
	if q.armed != 0 && q.armed <= first {
		return
	}
	q.armed = first
	wait := time.Duration(first - now)
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.fire)
	} else {
		q.timer.Reset(wait)
	}
}

// fire is the timer's function. The timer may have been set anew while its
// goroutine was on the way, so a second one may follow it closely, or find
// nothing to do; only one of them calls owners.
func (q *Queue) fire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.calling {
		return
	}
	q.calling, q.armed = true, 0
	now := q.now()
	for len(q.heap) > 0 {
		first := q.heap[0]
		if first.when > now {
			// The clock is read once for all that are due together.
			if now = q.now(); first.when > now {
				break
			}
		}
		// One at a time: the lock is held for one removal only, and what has
		// not been told yet can still be cleared or moved.
		owner := first.entry.owner
		q.heap.remove(first.entry)
		first.entry.owner = nil
		q.mu.Unlock()
		owner.Due()
		q.mu.Lock()
	}
	q.calling = false
	q.arm(now)
}
