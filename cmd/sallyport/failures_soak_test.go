//go:build soak

package main

import (
	"testing"
	"time"
)

// TestSoakFailovers is TestFailovers for longer: fifty times, in turn, the Redis
// master, an authority node or a gateway is killed, in the midst of everything.
// make soak runs it.
func TestSoakFailovers(t *testing.T) {
	const rounds = 50
	f := startFailovers(t)
	restarts := 0
	f.traffic(time.Second, func() {
		for round := range rounds {
			f.awaitRevoked(5)
			if round%2 == 0 {
				f.failOver()
				continue
			}
			members := append(f.nodes[:len(f.nodes):len(f.nodes)], f.gateways...)
			f.restart(members[round/2%len(members)])
			restarts++
		}
	})
	f.checkAll()
	t.Logf("%d restarts", restarts)
}

// restart kills a process and starts it anew, with what it has on disk.
func (f *failovers) restart(m *member) {
	f.t.Helper()
	m.kill()
	f.start(m)
}
