package tunnel

import (
	"runtime"
	"syscall"
	"testing"
)

// TestIdleTunnelsCostNoGoroutine: five hundred that wait have none, send nothing,
// and work when something comes.
func TestIdleTunnelsCostNoGoroutine(t *testing.T) {
	relaysOf(t)
	before := runtime.NumGoroutine()
	tcp, secured := parkedKinds()[0], parkedKinds()[1:]
	var rigs []*rig
	for i := range 500 {
		k := tcp
		if i%10 == 0 {
			k = secured[i/10%len(secured)]
		}
		r, run := joinRig(t, k, Limits{})
		run()
		swapOnce(t, r)
		rigs = append(rigs, r)
	}
	eventually(t, "they wait", func() bool { return runtime.NumGoroutine()-before < 50 })
	for i, r := range rigs {
		for _, far := range []syscall.Conn{below(r.client), below(r.service)} {
			if n := queued(t, far); n != 0 {
				t.Errorf("tunnel %d has sent %d bytes of its own", i, n)
			}
		}
		swapOnce(t, r)
	}
}

func swapOnce(t *testing.T, r *rig) {
	t.Helper()
	exchange(t, r.client, r.service)
	exchange(t, r.service, r.client)
}

// TestCiphersRest: a tunnel that has waited for long has no ciphers, and makes them
// anew for what comes, in either direction, first, or at its end.
func TestCiphersRest(t *testing.T) {
	k := kind{name: "direct", parked: true, pair: func(t testing.TB) (Stream, Stream) {
		return securedPair(t, testClientTLS(), DirectRecords)
	}}
	for name, wake := range map[string]func(*testing.T, *rig){
		"up":   func(t *testing.T, r *rig) { exchange(t, r.client, r.service) },
		"down": func(t *testing.T, r *rig) { exchange(t, r.service, r.client) },
		"both": func(t *testing.T, r *rig) { swap(t, r, noise(100<<10, 1)) },
		"end":  func(*testing.T, *rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			r, run := joinRig(t, k, Limits{})
			run()
			swapOnce(t, r)
			for range 3 {
				waited(t, r)
				wake(t, r)
			}
			end(t, r.client, r.service)
			waited(t, r)
			end(t, r.service, r.client)
			if got := soon(t, r); got.Reason != ClientClosed || got.Err != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// waited makes it as if a tunnel had waited for restAfter, and was looked at.
func waited(t *testing.T, r *rig) {
	t.Helper()
	inside(r.tunnel, func(p *parked) {
		p.last = p.relays.now() - restAfter
		if p.check() || p.codec.awake() {
			t.Error("does not rest")
		}
	})
}
