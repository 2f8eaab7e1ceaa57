package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// A sink that is slow, in its answers or in its bytes, or takes few connections, is what
// such a run measures:
// void, and it is named.
func TestSlowSinkIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		service *exchange.Service
		kind    string
	}{
		"answers": {&exchange.Service{Extra: 100 * time.Millisecond}, load.Requests},
		"bytes":   {&exchange.Service{Rate: 2e6}, load.Bulk},
		"places":  {&exchange.Service{Most: 5}, load.Idle}, // which opens all it holds in the ramp
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newKey()
			sink, _ := startSinkWith(t, key, c.service)
			o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
			scenario := load.Default(c.kind)
			scenario.Ramp, scenario.Sustain, scenario.Down = 200*time.Millisecond, 2*time.Second, 0
			switch c.kind {
			case load.Requests:
				scenario.Rate, scenario.Devices = 20, 10
			case load.Idle:
				scenario.Devices = 10
			case load.Bulk:
				scenario.Streams = 2
			}
			o.Scenario = scenario
			r, err := Run(t.Context(), o, nil)
			for tries := 1; err == nil && isStolen(r) && tries < 5; tries++ { // then it is the machine that is named
				r, err = Run(t.Context(), o, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Void, func(v report.Cause) bool {
				return v.What == "sink" && (strings.Contains(v.Says, "busy for most") || strings.Contains(v.Says, "as long as most")) != (name == "places") && strings.Contains(v.Says, "turned connections away") == (name == "places")
			})
			if i < 0 {
				t.Errorf("void %+v, limits %+v, the service %+v", r.Void, r.Limits, r.Rounds[0].Service)
			}
		})
	}
}

// isStolen is whether a run is void since the machine was busy with something else.
func isStolen(r *report.Report) bool {
	return slices.ContainsFunc(r.Void, func(v report.Cause) bool {
		return v.What == "generator" && strings.Contains(v.Says, "took processor time from")
	})
}
