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

// A sink that is slow, in its answers or in its bytes, is what such a run measures:
// void, and it is named.
func TestSlowSinkIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		service *exchange.Service
		kind    string
	}{
		"answers": {&exchange.Service{Extra: 100 * time.Millisecond}, load.Requests},
		"bytes":   {&exchange.Service{Rate: 2e6}, load.Bulk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newKey()
			sink, _ := startSinkWith(t, key, c.service)
			o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
			scenario := load.Default(c.kind)
			scenario.Ramp, scenario.Sustain, scenario.Down = 200*time.Millisecond, 2*time.Second, 0
			if c.kind == load.Requests {
				scenario.Rate, scenario.Devices = 20, 10
			} else {
				scenario.Streams = 2
			}
			o.Scenario = scenario
			r, err := Run(t.Context(), o, nil)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Void, func(v report.Cause) bool {
				return v.What == "sink" && (strings.Contains(v.Says, "busy for most") || strings.Contains(v.Says, "sink's own"))
			})
			if i < 0 {
				t.Errorf("void %+v, limits %+v, the service %+v", r.Void, r.Limits, r.Rounds[0].Service)
			}
		})
	}
}
