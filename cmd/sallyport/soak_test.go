//go:build soak

package main

import (
	"testing"
	"time"
)

// TestSoak is TestTransfers with fifty tunnels of 100 MiB each. make soak runs it.
func TestSoak(t *testing.T) {
	l := openLine(t)
	l.atOnce(50, 100*mib, 30*time.Minute)
	l.close()
}
