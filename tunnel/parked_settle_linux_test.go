package tunnel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestEndAtTheLastStep: a tunnel that fails at the last of the steps that it has on
// the poller's goroutine is over, and settled by whoever runs it: a goroutine that
// was to go on would find it over, and leave it.
func TestEndAtTheLastStep(t *testing.T) {
	for _, k := range parkedKinds() {
		r, run := joinRig(t, k, Limits{})
		run()
		exchange(t, r.client, r.service)
		p := r.tunnel.(*parked)
		p.mu.Lock()
		p.state.Or(running | clientReadable | clientHung) // nobody else starts it
		reset(t, below(r.client))
		eventually(t, "the reset is here", func() bool {
			ready := []unix.PollFd{{Fd: int32(p.client.fd)}}
			_, err := unix.Poll(ready, 0)
			return err == nil && ready[0].Revents&unix.POLLERR != 0
		})
		ended, more := p.work(1)
		p.mu.Unlock()
		if !ended || more {
			t.Fatalf("%s: ended %v, more %v", k.name, ended, more)
		}
		p.settle()
		if got := soon(t, r); got.Reason != ClientError || got.Err == nil {
			t.Errorf("%s: %+v", k.name, got)
		}
	}
}
