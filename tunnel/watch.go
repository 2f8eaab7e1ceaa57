package tunnel

import (
	"sync"
	"time"
)

// watch ends a relay whose limits have passed. It has one timer, which is not
// touched when bytes move: when it fires, the watch looks at when that was last,
// and either ends the tunnel or sets the timer to the next moment at which a
// limit could pass.
type watch struct {
	relay  *relay
	limits Limits
	began  time.Time

	mu      sync.Mutex // guards the rest
	timer   *time.Timer
	half    time.Duration // when a direction ended, on the watch's clock; zero: none has
	stopped bool
	firings sync.WaitGroup // the timer's callback, if one is due or running
}

func (w *watch) init(r *relay, l Limits) { w.relay, w.limits = r, l.withDefaults() }

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
	_, wait := w.look()
	w.firings.Add(1)
	w.timer = time.AfterFunc(wait, w.fire)
}

// stop ends the watch; its callback has returned when stop does.
func (w *watch) stop() {
	w.mu.Lock()
	w.stopped = true
	if w.timer.Stop() {
		w.firings.Done()
	}
	w.mu.Unlock()
	w.firings.Wait()
}

// now is the watch's clock, in nanoseconds since it began and never zero. It
// is monotonic: a step of the wall clock ends no tunnel.
func (w *watch) now() int64 { return int64(time.Since(w.began)) + 1 }

// halfClosed brings the timer forward: the limit that counts from here may be
// much shorter than the one it was set for.
func (w *watch) halfClosed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.half != 0 {
		return
	}
	w.half = time.Duration(w.now())
	if w.timer.Stop() { // else fire is waiting for mu, and will see it
		_, wait := w.look()
		w.timer.Reset(wait)
	}
}

func (w *watch) fire() {
	defer w.firings.Done()
	if reason := w.check(); reason != "" {
		w.relay.expire(reason)
	}
}

// check returns the limit that has passed, or sets the timer again.
func (w *watch) check() CloseReason {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return ""
	}
	reason, wait := w.look()
	if reason == "" {
		w.firings.Add(1)
		w.timer.Reset(wait)
	}
	return reason
}

// look asks the limits. Called with mu held.
func (w *watch) look() (CloseReason, time.Duration) {
	up, down := &w.relay.up, &w.relay.down
	return w.limits.look(time.Duration(w.now()), moments{
		last:    time.Duration(max(up.last.Load(), down.last.Load())),
		writing: [2]time.Duration{time.Duration(up.writing.Load()), time.Duration(down.writing.Load())},
		half:    w.half,
	})
}
