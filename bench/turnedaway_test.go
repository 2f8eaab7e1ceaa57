package bench

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Lines about who was turned away are one a second, and count the others.
func TestTurnedAwayOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		a := &Agent{Log: func(text string) { lines = append(lines, text) }}
		for range 1000 {
			a.turnedAway("turned away somebody")
			time.Sleep(10 * time.Millisecond)
		}
		if len(lines) != 10 || lines[0] != "turned away somebody" || !strings.HasSuffix(lines[1], " (and 99 more before)") {
			t.Errorf("%d lines: %q", len(lines), lines[:min(2, len(lines))])
		}
	})
}
