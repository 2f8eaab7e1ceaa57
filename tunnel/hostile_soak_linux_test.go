//go:build soak

package tunnel

import (
	"testing"
	"time"
)

// TestSoakChurn is TestChurn at its full length.
func TestSoakChurn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	runChurn(t, seed, 100_000)
}
