package bench

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

// What a coordinator may call, and the bodies that go with it. The first call is
// hello; until its answer nothing else is heard.
//
//	hello     who both sides are         hello → hello
//	beat      shows that it is there     – → –
//	clock     the agent's time           – → time
//	look      what the host is like      – → evidence.Host
//	watch     samples from now on        watched → –, then sample events
//	account   what the service did       – → exchange.Account
//	rehearse  the schedule, no load      rehearsal → rehearsed
//	run       a plan                     load.Plan → ran, after second events
//	break     ends the plan that runs    – → –
const (
	callHello    = "hello"
	callBeat     = "beat"
	callClock    = "clock"
	callLook     = "look"
	callWatch    = "watch"
	callAccount  = "account"
	callRehearse = "rehearse"
	callRun      = "run"
	callBreak    = "break"

	eventSample = "sample"
	eventSecond = "second"
)

// hello is each side's first word. Both must be the same version of the program:
// a report whose figures come from two versions says nothing of either.
type hello struct {
	Version string `json:"version"`
	// Addresses are of the agent's host, to tell whether it is this one.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Service is host:port of the exchange service, without a host where the agent was
	// not told one, and empty where it has none.
	Service string `json:"service,omitempty"`
	PID     int    `json:"pid,omitempty"`
}

type rehearsal struct {
	Rate  float64       `json:"rate"` // operations a second
	Lasts time.Duration `json:"lasts"`
}

type rehearsed struct {
	Rate float64       `json:"rate"` // achieved
	P99  time.Duration `json:"p99"`  // of the slip
	Max  time.Duration `json:"max"`
}

// ran is what became of a plan. Broken says why it did not come to its end; the
// result is then of what there was.
type ran struct {
	Result load.Result `json:"result"`
	Broken string      `json:"broken,omitempty"`
}

// What a result may have, whatever its plan: a scenario has some five rows, each of
// four histograms that take 190 KB however short their text, and a plan with all that it
// waits for ends within maxSeconds.
const (
	maxRows    = 16
	maxSeconds = 27 * 3600
)

// ranSize is a ran of which nothing but the sizes is kept. It is read first, for memory
// is taken by what a text says and not by how long it is.
type ranSize struct {
	Result struct {
		Operations count `json:"operations"`
		Seconds    count `json:"seconds"`
	} `json:"result"`
}

// count is how many elements a list has; those of a list that stands there twice are
// added up.
type count int

// UnmarshalJSON counts.
func (c *count) UnmarshalJSON(text []byte) error {
	var all []struct{}
	err := json.Unmarshal(text, &all)
	*c += count(len(all))
	return err
}

// UnmarshalJSON reads what another host says of its load.
func (r *ran) UnmarshalJSON(text []byte) error {
	var size ranSize
	if err := json.Unmarshal(text, &size); err != nil {
		return err
	}
	if size.Result.Operations > maxRows || size.Result.Seconds > maxSeconds {
		return fmt.Errorf("a result of %d operations and %d seconds, where %d and %d are the most",
			size.Result.Operations, size.Result.Seconds, maxRows, maxSeconds)
	}
	type plain ran
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	for _, second := range r.Result.Seconds {
		if !recorded(second.At) {
			return fmt.Errorf("a second of the year %d", second.At.Year())
		}
	}
	return nil
}

type watched struct {
	Processes []evidence.Watched `json:"processes"`
}
