package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often memory is looked at.
	trimEvery = 250 * time.Millisecond
	// trimCalm is the most that may be allocated between two looks for the node to
	// be calm: what a few tunnels take.
	trimCalm = 256 << 10
	// trimLeast is how much must have been allocated since memory was given back.
	trimLeast = 8 << 20
	// heapFloor is how much may be allocated between two collections, however small
	// the heap is: by itself the runtime would collect every 4 MiB, which is every
	// few dozen handshakes.
	heapFloor = 16 << 20
)

// trim gives memory back once a wave of tunnels is set up. Setting one up takes
// many times what it holds while it waits, and the runtime collects what is left of
// that when as much again has been allocated, or after minutes: a gateway full of
// idle tunnels would hold twice its memory for nothing. A collection then takes
// milliseconds, at a time when nobody waits for them.
func (n *Node) trim(ctx context.Context) error {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as it was, for tests
	every := time.NewTicker(trimEvery)
	defer every.Stop()
	m := newMemory()
	for {
		if percent, changed := m.percent(); changed {
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			if m.look() {
				debug.FreeOSMemory()
			}
		}
	}
}

// memory is what the runtime says of itself.
type memory struct {
	samples   []metrics.Sample
	allocated uint64 // at the look before
	live      uint64 // what the last collection had found in use by then
	trimmed   uint64 // what had been allocated when memory was given back last
	set       int    // the percentage that percent said last
}

func newMemory() *memory {
	m := &memory{set: 100}
	for _, name := range []string{
		"/gc/heap/allocs:bytes",
		"/gc/heap/live:bytes",
	} {
		m.samples = append(m.samples, metrics.Sample{Name: name})
	}
	m.read()
	m.trimmed = m.allocated
	return m
}

// read asks anew, and returns how much has been allocated since it did before.
func (m *memory) read() (since uint64) {
	metrics.Read(m.samples)
	before := m.allocated
	m.allocated, m.live = m.samples[0].Value.Uint64(), m.samples[1].Value.Uint64()
	return m.allocated - before
}

// look tells whether memory is to be given back: the node is calm, and a wave has
// passed since that was done last.
func (m *memory) look() bool {
	since := m.read()
	if since > trimCalm || m.allocated-m.trimmed < max(trimLeast, m.live/4) {
		return false
	}
	m.trimmed = m.allocated
	return true
}

// percent is how much may be allocated until the next collection, in parts of what
// is in use. To change it stops the process for a moment, so small changes are none.
func (m *memory) percent() (percent int, changed bool) {
	percent = int(max(100, heapFloor*100/max(m.live, 1<<20)))
	if percent*4 > m.set*3 && percent*3 < m.set*4 {
		return m.set, false
	}
	m.set = percent
	return percent, true
}
