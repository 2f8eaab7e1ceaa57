package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/bench"
)

// newBenchProgress shows a bar where a terminal is looked at, and nothing in a pipe.
// end takes the bar away. The run never waits for the terminal.
func newBenchProgress(w io.Writer) (show bench.Progress, end func()) {
	if !isTerminal(w) {
		return nil, func() {}
	}
	var last atomic.Pointer[bench.Step]
	stop, stopped := make(chan struct{}), make(chan struct{})
	go drawProgress(w, &last, stop, stopped)
	return func(s bench.Step) { last.Store(&s) }, func() { close(stop); <-stopped }
}

// drawProgress draws the last step, five times a second. Between two steps time goes
// on, so the bar does too.
func drawProgress(w io.Writer, last *atomic.Pointer[bench.Step], stop, stopped chan struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	began, done := time.Now(), time.Duration(-1)
	for {
		select {
		case <-stop:
			fmt.Fprint(w, "\r\033[K")
			return
		case <-ticker.C:
		}
		s := last.Load()
		if s == nil {
			continue
		}
		if s.Done != done {
			began, done = time.Now(), s.Done
		}
		fmt.Fprint(w, "\r\033[K"+progressLine(*s, time.Since(began)))
	}
}

// progressLine is a bar of where a run is, so long after its last step.
func progressLine(s bench.Step, since time.Duration) string {
	const width = 20
	var b strings.Builder
	if s.Of > 0 {
		share := min(1, (s.Done+since).Seconds()/s.Of.Seconds())
		full := int(share * width)
		fmt.Fprintf(&b, "[%s%s] %3.0f %%  ", strings.Repeat("=", full), strings.Repeat(" ", width-full), 100*share)
	}
	b.WriteString(s.Text)
	if second := s.Second; !second.At.IsZero() {
		fmt.Fprintf(&b, " · %d done", second.Done)
		if second.Failed > 0 {
			fmt.Fprintf(&b, ", %d failed", second.Failed)
		}
		if second.Done > 0 {
			fmt.Fprintf(&b, ", p99 %s", second.P99.Round(100*time.Microsecond))
		}
	}
	return b.String()
}
