package node

import (
	"testing"
	"time"
)

func TestFlood(t *testing.T) {
	var f flood
	now := time.Unix(1_800_000_000, 0)
	written := 0
	for range 3 * maxStrangerLines {
		if ok, held := f.pass(now); ok {
			written++
		} else if held != 0 {
			t.Error("told of held lines by a line that is held")
		}
	}
	if written != maxStrangerLines {
		t.Errorf("%d lines in a second", written)
	}
	if ok, held := f.pass(now.Add(time.Second)); !ok || held != 2*maxStrangerLines {
		t.Errorf("the next second: %v, %d held", ok, held)
	}
	if ok, held := f.pass(now.Add(time.Second)); !ok || held != 0 {
		t.Errorf("told twice: %v, %d", ok, held)
	}
}

func TestOncePerMinute(t *testing.T) {
	var o oncePerMinute
	now := time.Unix(1_800_000_000, 0)
	if !o.due(now) || o.due(now.Add(59*time.Second)) || !o.due(now.Add(time.Minute)) {
		t.Error("not once per minute")
	}
}
