//go:build soak

package main

import (
	"testing"
	"time"
)

// The same storm, of as many devices as a gateway has.
func TestBenchStormSoak(t *testing.T) {
	if !alone(t, builtSallyport, builtHotpath) {
		return
	}
	stormBeside(t, 5000, 10*time.Second)
}
