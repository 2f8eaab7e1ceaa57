package bench

import (
	"math"
	"time"

	"github.com/sallyport/sallyport/bench/load"
)

// loadOf is the number that says how large a scenario's load is, its unit, and
// whether it is a whole one. A search for the knee moves it.
func loadOf(s load.Scenario) (amount float64, unit string, whole bool) {
	switch s.Kind {
	case load.Setup, load.Requests, load.Attachments, load.Day:
		return s.Rate, "/s", false
	case load.Bulk:
		return float64(s.Streams), "streams", true
	case load.Extender:
		return float64(s.Accounts), "accounts", true
	}
	return float64(s.Devices), "devices", true
}

// withLoad is the scenario at another load. A day has its devices grow with its rate,
// for one without the other is another day.
func withLoad(s load.Scenario, amount float64) load.Scenario {
	switch s.Kind {
	case load.Day:
		s.Devices = max(1, int(math.Round(float64(s.Devices)*amount/s.Rate)))
		s.Rate = amount
	case load.Setup, load.Requests, load.Attachments:
		s.Rate = amount
	case load.Bulk:
		s.Streams = int(amount)
	case load.Extender:
		s.Accounts = int(amount)
	default:
		s.Devices = int(amount)
	}
	return s
}

// shortened is the scenario for one try of a search. Those whose load is a wave that
// has to pass, or polls that have to end, keep their time. What comes at a rate has as
// much as the objectives' percentiles need to be known, as far as a round has it.
func shortened(s load.Scenario, objectives *Objectives) load.Scenario {
	switch s.Kind {
	case load.Setup, load.Requests, load.Bulk, load.Attachments:
		least := 10 * time.Second
		if n := objectives.needs(); s.Kind != load.Bulk && s.Rate > 0 {
			least = max(least, time.Duration(math.Ceil(n/s.Rate))*time.Second)
		}
		s.Ramp = min(s.Ramp, 3*time.Second)
		s.Sustain = min(s.Sustain, least)
		s.Down = min(s.Down, time.Second)
	}
	return s
}

// lasts is how long a scenario takes.
func lasts(s load.Scenario) time.Duration { return s.Ramp + s.Sustain + s.Down }
