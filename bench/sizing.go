package bench

import (
	"fmt"
	"math"

	"github.com/sallyport/sallyport/bench/report"
)

const (
	// headroom is the share of a node that a sizing uses: the rest is for a peak within
	// the peak, and for a node that fails.
	headroom = 0.7
	// sizedMemory is what idle tunnels are reckoned for, where the gateway's host is
	// not known to have another amount.
	sizedMemory = 16 << 20 // KiB
)

// sizingOf reckons from one endpoint's figures what a node takes. cores are those that
// the gateway may run on, memoryKiB is its host's; 0 where nobody looked.
func sizingOf(endpoint, kind string, figures []report.Figure, cores float64, memoryKiB int64) []report.Size {
	median := func(name string) float64 {
		for _, f := range figures {
			if f.Endpoint == endpoint && f.Name == name {
				return f.Median
			}
		}
		return 0
	}
	var sizes []report.Size
	if each := median(figureCPUPerOp); each > 0 && cores > 0 && (kind == "storm" || kind == "morning") {
		perSecond := 1000 / each
		for _, budget := range []float64{10, 30} {
			sizes = append(sizes, report.Size{
				What:  fmt.Sprintf("%s: devices that one node syncs within %g s of being woken together", endpoint, budget),
				Value: math.Floor(perSecond * cores * budget * headroom),
				Reckoned: fmt.Sprintf("%.1f wakes for each second of processor time (%.3g ms each), × %.3g cores × %g s × %.1f headroom; %s; reckoned from the gateway's own processor time, so not above what link and service take; interrupts of the network are not in it",
					perSecond, each, cores, budget, headroom, beyondSeen(perSecond*cores*headroom, median(figureRate))),
			})
		}
	}
	if each := median(figureRSSPerTunnel); each > 0 {
		memory := int64(sizedMemory)
		if memoryKiB > 0 {
			memory = memoryKiB
		}
		sizes = append(sizes, report.Size{
			What:  fmt.Sprintf("%s: idle tunnels in %.3g GiB", endpoint, float64(memory)/(1<<20)),
			Value: math.Floor(float64(memory) / each * headroom),
			Reckoned: fmt.Sprintf("%.3g GiB ÷ %.3g KiB of the gateway's memory for each tunnel × %.1f headroom; the kernel's memory for their sockets is not in it",
				float64(memory)/(1<<20), each, headroom),
		})
	}
	return sizes
}

// beyondSeen says how far a rate is from the one that was measured.
func beyondSeen(rate, seen float64) string {
	if seen <= 0 {
		return "no rate was measured"
	}
	return fmt.Sprintf("that is %.0f a second, %.1f times the rate that was measured", rate, rate/seen)
}
