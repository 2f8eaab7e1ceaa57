package report

import (
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
)

// Format is the version of the JSON form. Readers refuse others.
//
// Format 1 had the times of samples by the coordinator's clock, and from 2 on they are
// by their host's: who took the one for the other would be wrong by twice the offset.
const Format = 2

// Report is everything a benchmark saw and what it makes of it. Its JSON is the
// record; the page and the terminal's summary are made of it and nothing else.
type Report struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"` // of the moment and at random: 20061122T224501Z-3f9a
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Version string    `json:"version"` // of sallyport
	Commit  string    `json:"commit,omitempty"`
	Command []string  `json:"command"` // as typed, secrets taken out
	// Plan is the first client's, redacted.
	Plan load.Plan `json:"plan"`
	// Marks are what every reader must know first: "loopback", "partial", "virtual
	// devices", "clocks 3 ms apart", each a sentence.
	Marks []string `json:"marks,omitempty"`
	// Void says why the figures do not count; empty if they do.
	Void []Cause `json:"void,omitempty"`

	// Turns is how many rounds each endpoint was to have, 0 where the run did not get so
	// far: a run that was broken off has fewer.
	Turns int `json:"turns,omitempty"`

	Endpoints   []string      `json:"endpoints"` // names, the first is what others are held against
	Hosts       []Host        `json:"hosts"`
	Rounds      []Round       `json:"rounds"`
	Figures     []Figure      `json:"figures"`
	Ratios      []Ratio       `json:"ratios,omitempty"`
	Verdicts    []Verdict     `json:"verdicts,omitempty"`
	Limits      []Limit       `json:"limits"` // one for each endpoint
	Knees       []Knee        `json:"knees,omitempty"`
	Sizing      []Size        `json:"sizing,omitempty"`
	Calibration []Calibration `json:"calibration,omitempty"`
}

// Cause is a reason with its evidence.
type Cause struct {
	What     string   `json:"what"`     // generator, sink, nic, clocks, …
	Says     string   `json:"says"`     // a sentence
	Evidence []string `json:"evidence"` // figures with their units and where they come from
}

// Host is a machine that took part.
type Host struct {
	Role string `json:"role"` // client 1, sink, gateway
	evidence.Host
	// Offset is this host's clock less the coordinator's, Uncertain half of the
	// fastest round trip that it was measured by. The times of Samples are by this
	// host's clock, those of rounds by the coordinator's.
	Offset    time.Duration     `json:"clock_offset"`
	Uncertain time.Duration     `json:"clock_uncertainty"`
	Advice    []evidence.Advice `json:"advice,omitempty"`
	Samples   []evidence.Sample `json:"samples"`
}

// Partial is the cause of a round that was broken off: it is shown, and counts nowhere.
const Partial = "partial"

// Round is one run of the plan through one endpoint.
type Round struct {
	Number   int              `json:"number"` // from 1; the same for endpoints that took turns
	Endpoint string           `json:"endpoint"`
	Load     float64          `json:"load"` // what the scenario's rate, devices or streams was
	Began    time.Time        `json:"began"`
	Sustain  time.Time        `json:"sustain"` // what counts began
	Ended    time.Time        `json:"ended"`
	Result   load.Result      `json:"result"`  // of all clients
	Service  exchange.Account `json:"service"` // within sustain
	Void     []Cause          `json:"void,omitempty"`
	Limit    Limit            `json:"limit"`
}

// Figure is one number of interest: the median of the rounds, between the
// smallest and the largest.
type Figure struct {
	Endpoint string    `json:"endpoint"`
	Name     string    `json:"name"` // e.g. "latency p99", "on the wire", "gateway CPU"
	Unit     string    `json:"unit"` // ms, /s, Mbit/s, KiB, cores, %
	Rounds   []float64 `json:"rounds"`
	Median   float64   `json:"median"`
	Low      float64   `json:"low"`
	High     float64   `json:"high"`
	Better   string    `json:"better"` // lower, higher, or empty

	// all is Rounds with those that showed no number in their places: NewRatio pairs by
	// place. A figure that was read from JSON has none.
	all []float64
}

// Ratio is the same figure of two endpoints, paired round by round.
type Ratio struct {
	Name   string  `json:"name"`
	Of     string  `json:"of"` // endpoint
	To     string  `json:"to"` // endpoint
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Pairs  int     `json:"pairs"`
}

// Verdict is an objective and whether it was met.
type Verdict struct {
	Endpoint  string  `json:"endpoint"`
	Objective string  `json:"objective"` // as the file says it
	Limit     float64 `json:"limit"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Met       bool    `json:"met"`
}

// Limit is what kept the figure from being better, as far as can be told.
type Limit struct {
	Endpoint string   `json:"endpoint"`
	Resource string   `json:"resource"` // link, sink, generator, gateway CPU, gateway refuses, schedule (nothing: the load asked for was served), unknown
	Says     string   `json:"says"`
	Evidence []string `json:"evidence"`
}

// Knee is the highest load within the objectives.
type Knee struct {
	Endpoint string  `json:"endpoint"`
	Load     float64 `json:"load"`
	Unit     string  `json:"unit"`
	Above    float64 `json:"above"` // the lowest load that was not; 0 if none was found
	Tries    []Try   `json:"tries"`
}

// Try is one load of a search for the knee.
type Try struct {
	Load   float64 `json:"load"`
	Met    bool    `json:"met"`
	Reason string  `json:"reason,omitempty"`
	// P50 and P99 are the latency of the operation that the scenario is about (see
	// Principal); 0 of too few to know it. The curve is drawn of them.
	P50 time.Duration `json:"p50,omitempty"`
	P99 time.Duration `json:"p99,omitempty"`
}

// Size is a row of the sizing table.
type Size struct {
	What     string  `json:"what"` // devices per node within a 10 s budget, idle tunnels in 16 GiB, …
	Value    float64 `json:"value"`
	Reckoned string  `json:"reckoned"` // how, with its figures
}

// Calibration is what the bench itself can do here.
type Calibration struct {
	Name  string  `json:"name"` // generator alone, direct run, line rate
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Says  string  `json:"says"`
}
