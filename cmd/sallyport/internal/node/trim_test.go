package node

import (
	"runtime"
	"testing"
)

// TestTrim: memory is given back when a wave has passed, and once more when it has
// been put away, and neither in its midst nor for little.
func TestTrim(t *testing.T) {
	var allocated, live uint64 = 100 << 20, 64 << 20
	h := newHeapStats(func() usage { return usage{allocated: allocated, live: live} })
	for i, step := range []struct {
		allocates uint64
		gives     bool
	}{
		{0, false},
		{trimLeast, false}, {0, false}, // less than a quarter of what is in use
		{64 << 20, false}, {trimCalm + 1, false}, // in its midst
		{trimCalm, true}, {0, false},
		{trimCalm, false}, {trimCalm, false},
	} {
		allocated += step.allocates
		if got := h.look(); got != step.gives {
			t.Errorf("step %d: %v", i, got)
		}
	}
	for i := range 3 * trimAgain { // three steps were calm looks already
		if got := h.look(); got != (i == trimAgain-4) {
			t.Errorf("calm look %d: %v", i, got)
		}
	}
	live = 0
	allocated += trimLeast
	if h.look(); !h.look() {
		t.Error("kept the memory of a wave though nothing is in use")
	}
}

// TestTheRuntimeTells: the runtime knows what it is asked for.
func TestTheRuntimeTells(t *testing.T) {
	before := readRuntime()
	block := make([]byte, 8<<20)
	runtime.GC()
	after := readRuntime()
	if after.allocated-before.allocated < uint64(len(block)) || after.live == 0 || after.roots == 0 {
		t.Errorf("%+v, and after %d bytes %+v", before, len(block), after)
	}
}

// TestHeapFloor: a small heap is not collected all the time, a large one as ever.
func TestHeapFloor(t *testing.T) {
	h := newHeapStats(func() usage { return usage{} })
	for _, tt := range []struct {
		live    uint64
		percent int
		changed bool
	}{
		{0, 400, true}, {2 << 20, 400, false}, {4 << 20, 266, true}, {5 << 20, 266, false},
		{14 << 20, 100, true}, {100 << 20, 100, false}, {1 << 40, 100, false}, {2 << 20, 400, true},
	} {
		h.live, h.roots = tt.live, 2<<20
		if percent, changed := h.percent(); percent != tt.percent || changed != tt.changed {
			t.Errorf("%d in use: %d%%, %v", tt.live, percent, changed)
		}
	}
}
