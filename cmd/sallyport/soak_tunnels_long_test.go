//go:build soak

package main

import (
	"os"
	"testing"
	"time"
)

// TestSoakTunnels is TestChurn with thousands of idle tunnels and everything else
// many times over, again and again: SALLYPORT_SOAK=2m soaks each record layer for
// two minutes, in place of five. What the gateway keeps must not grow from one cycle
// to the next, which is best seen without the race detector. make soak runs it.
func TestSoakTunnels(t *testing.T) {
	length := 5 * time.Minute
	if text := os.Getenv("SALLYPORT_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SALLYPORT_SOAK: %v", err)
		}
	}
	for _, layer := range []string{"std", "direct"} {
		t.Run(layer, func(t *testing.T) {
			c := gather(t, layer)
			for began := time.Now(); time.Since(began) < length || len(c.cycles) < 3; {
				c.cycle(bustle{
					idle: 3000, churn: 1000, transfers: 40, largest: 32 * mib, revocations: 20,
					hostile: 10 * len(hostilities), settle: true,
				})
			}
			c.disperse()
		})
	}
}
