package node

import (
	"runtime"
	"testing"
)

// TestTrim: memory is given back when a wave has passed, once, and neither in its
// midst nor for little.
func TestTrim(t *testing.T) {
	m := newMemory()
	if m.look() {
		t.Error("gave memory back, though there was nothing to give")
	}
	wave := make([][]byte, 64)
	for i := range wave {
		wave[i] = make([]byte, 1<<20)
	}
	if m.look() {
		t.Error("gave memory back in the midst of a wave")
	}
	runtime.KeepAlive(wave)
	if !m.look() {
		t.Error("kept the memory of a wave that had passed")
	}
	if m.look() {
		t.Error("gave memory back twice")
	}
}

// TestHeapFloor: a small heap is not collected all the time, a large one as ever.
func TestHeapFloor(t *testing.T) {
	m := newMemory()
	for _, tt := range []struct {
		live    uint64
		percent int
		changed bool
	}{
		{0, 1600, true}, {1 << 20, 1600, false}, {4 << 20, 400, true}, {5 << 20, 400, false},
		{8 << 20, 200, true}, {100 << 20, 100, true}, {1 << 40, 100, false}, {2 << 20, 800, true},
	} {
		m.live = tt.live
		if percent, changed := m.percent(); percent != tt.percent || changed != tt.changed {
			t.Errorf("%d in use: %d%%, %v", tt.live, percent, changed)
		}
	}
}
