package tunnel

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

// TestParting: a service that takes nothing holds a tunnel whose client broke off for
// a second and not longer, and nobody who aborts it.
func TestParting(t *testing.T) {
	for _, k := range parkedKinds() {
		for _, aborted := range []bool{false, true} {
			name := k.name + "/left alone"
			if aborted {
				name = k.name + "/aborted"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r, run := joinRig(t, k, Limits{})
				if err := below(r.service).SetReadBuffer(16 << 10); err != nil {
					t.Fatal(err)
				}
				run()
				const size = 100_000 // more than the service's kernel takes, and less than ours
				write(t, r.client, noise(size, 1))
				awaitSent(below(r.client))
				reset(t, below(r.client))
				began := time.Now()
				eventually(t, "it is parting", func() (parting bool) {
					inside(r.tunnel, func(p *parked) { parting = p.parting })
					return parting
				})
				if aborted {
					r.tunnel.Abort()
				}
				got := soon(t, r)
				took := time.Since(began)
				if got.Reason != ClientError || got.Err == nil || got.Up != size {
					t.Errorf("%+v", got)
				}
				if aborted != (took < partBound) || took > 5*partBound {
					t.Errorf("it took %v", took)
				}
				if n, err := io.Copy(io.Discard, r.service); n >= size || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the service got %d bytes, %v", n, err)
				}
			})
		}
	}
}
