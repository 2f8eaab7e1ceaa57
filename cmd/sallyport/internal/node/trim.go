package node

import (
	"context"
	"os"
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
//
// It also paces the collections of a small heap, unless the operator does, by GOGC.
func (n *Node) trim(ctx context.Context) error {
	_, paced := os.LookupEnv("GOGC")
	if !paced {
		defer debug.SetGCPercent(debug.SetGCPercent(100)) // as it was, for tests
	}
	every := time.NewTicker(trimEvery)
	defer every.Stop()
	heap := newHeapStats(readRuntime)
	for {
		if percent, changed := heap.percent(); changed && !paced {
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			if heap.look() {
				debug.FreeOSMemory()
			}
		}
	}
}

// heapStats is what the runtime says of the heap, and what was made of it.
type heapStats struct {
	read      func() (allocated, live uint64) // of the runtime, but in tests
	allocated uint64                          // at the look before
	live      uint64                          // what the last collection had found in use by then
	trimmed   uint64                          // what had been allocated when memory was given back last
	set       int                             // the percentage that percent said last
}

func newHeapStats(read func() (allocated, live uint64)) *heapStats {
	h := &heapStats{read: read, set: 100}
	h.ask()
	h.trimmed = h.allocated
	return h
}

// readRuntime gives what has been allocated in all, and what the last collection
// found in use.
func readRuntime() (allocated, live uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}

// ask asks anew, and returns how much has been allocated since it did before.
func (h *heapStats) ask() (since uint64) {
	before := h.allocated
	h.allocated, h.live = h.read()
	return h.allocated - before
}

// look tells whether memory is to be given back: the node is calm, and a wave has
// passed since that was done last.
func (h *heapStats) look() bool {
	since := h.ask()
	if since > trimCalm || h.allocated-h.trimmed < max(trimLeast, h.live/4) {
		return false
	}
	h.trimmed = h.allocated
	return true
}

// percent is how much may be allocated until the next collection, in parts of what
// is in use. To change it stops the process for a moment, so small changes are none.
func (h *heapStats) percent() (percent int, changed bool) {
	percent = int(max(100, heapFloor*100/max(h.live, 1<<20)))
	if percent*4 > h.set*3 && percent*3 < h.set*4 {
		return h.set, false
	}
	h.set = percent
	return percent, true
}
