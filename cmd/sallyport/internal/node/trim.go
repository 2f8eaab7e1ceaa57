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
	// trimAgain is how many calm looks after that it is done once more: by then the
	// tunnels that the wave left have put their ciphers away.
	trimAgain = int(3 * time.Second / trimEvery)
	// heapFloor is how much may be allocated between two collections, however small
	// the heap is: by itself the runtime would collect every 4 MiB, which is every
	// few dozen handshakes.
	heapFloor = 16 << 20
	// maxPercent bounds what the floor makes of a heap that is next to nothing.
	maxPercent = 400
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
	read    func() usage // of the runtime, but in tests
	usage                // at the look before
	trimmed uint64       // what had been allocated when memory was given back last
	again   int          // calm looks until that is done once more; 0: it is not
	set     int          // the percentage that percent said last
}

// usage is what the runtime says of its memory, in bytes.
type usage struct {
	allocated uint64 // since the process began
	live      uint64 // what the last collection found in use
	roots     uint64 // stacks and globals, which the pace goes by as well
}

func newHeapStats(read func() usage) *heapStats {
	h := &heapStats{read: read, set: 100}
	h.ask()
	h.trimmed = h.allocated
	return h
}

func readRuntime() usage {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	return usage{
		allocated: samples[0].Value.Uint64(), live: samples[1].Value.Uint64(),
		roots: samples[2].Value.Uint64() + samples[3].Value.Uint64(),
	}
}

// ask asks anew, and returns how much has been allocated since it did before.
func (h *heapStats) ask() (since uint64) {
	before := h.allocated
	h.usage = h.read()
	return h.allocated - before
}

// look tells whether memory is to be given back: the node is calm, and a wave has
// passed since that was done last, or has been put away since.
func (h *heapStats) look() bool {
	since := h.ask()
	switch {
	case since > trimCalm:
		return false
	case h.allocated-h.trimmed >= max(trimLeast, h.live/4):
		h.trimmed, h.again = h.allocated, trimAgain
		return true
	case h.again > 0:
		h.again--
		return h.again == 0
	}
	return false
}

// percent is how much may be allocated until the next collection, in parts of what
// is in use. To change it stops the process for a moment, so small changes are none.
// It goes by what was in use at the last collection, and holds for the next, when a
// wave may have brought much more: so it is not let grow without bound.
func (h *heapStats) percent() (percent int, changed bool) {
	percent = int(min(max(heapFloor*100/max(h.live+h.roots, 1), 100), maxPercent))
	if percent*4 > h.set*3 && percent*3 < h.set*4 {
		return h.set, false
	}
	h.set = percent
	return percent, true
}
