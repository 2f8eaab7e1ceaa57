package load

import "time"

// Result is what one client saw. Results of clients that ran at the same time merge
// (Merge). Counts are of operations scheduled within sustain.
type Result struct {
	// Scheduled = Done + Failed + Unfinished; for revoke, Lived as well.
	Scheduled uint64 `json:"scheduled"`
	Done      uint64 `json:"done"`
	Failed    uint64 `json:"failed"`
	// Failures counts by reason, from a closed list (Refused to Other).
	Failures map[string]uint64 `json:"failures,omitempty"`
	// Outside counts the failures of what was scheduled in the ramps, tunnels that
	// could not be opened to be held among them. They are in no other count.
	Outside map[string]uint64 `json:"outside,omitempty"`
	// Words are of the first error of each reason, ramps included, cut off at 200 bytes.
	Words map[string]string `json:"words,omitempty"`
	// Unfinished were under way when the run was broken off.
	Unfinished uint64 `json:"unfinished,omitempty"`
	// Unstarted are those of Failed that the generator never got to begin: patience
	// was over before MaxInFlight let them. They are timeouts.
	Unstarted uint64 `json:"unstarted,omitempty"`
	// Full is how often the generator had to wait with an operation that was due, since
	// MaxInFlight others were under way. Whether they were is the gateway's doing, how
	// many they may be the plan's: where there is slip as well, MaxInFlight was the limit.
	Full uint64 `json:"full,omitempty"`
	// Operations has one row per kind of operation: setup, exchange, poll, wake, ….
	Operations []Operation `json:"operations"`
	// Bytes of bodies within sustain, and how long that really took.
	Up      uint64        `json:"up"`
	Down    uint64        `json:"down"`
	Sustain time.Duration `json:"sustain"`
	// Held are tunnels that were open at the end of the ramp to be held, Died those of
	// them that had ended at the end of sustain without being asked to, as far as it
	// was noticed: tunnels that wait for the next of many operations are looked at then.
	Held uint64 `json:"held,omitempty"`
	Died uint64 `json:"died,omitempty"`
	// Lived are tunnels that outlived a revocation until the end of sustain.
	Lived uint64 `json:"lived,omitempty"`
	// Handshakes are TLS handshakes that succeeded in the whole run, Resumed those of
	// them that resumed a session.
	Handshakes uint64 `json:"handshakes,omitempty"`
	Resumed    uint64 `json:"resumed,omitempty"`
	// Seconds is the course of the run, ramps included.
	Seconds []Second `json:"seconds"`
}

// Operation is how long one kind of operation took, in HdrHistogram logs (V2,
// compressed, base64) of microseconds, 1 µs to 1 h, 3 digits.
type Operation struct {
	Name string `json:"name"`
	// Latency is from the moment an operation was scheduled for until its last byte,
	// of those that succeeded: what failed is in none of its percentiles, so they are
	// worth something only beside Result.Failed.
	Latency Histogram `json:"latency"`
	// GaveUp is from the moment an operation was scheduled for until it failed. With
	// Latency it is the distribution of all of them: a timeout took at least that long.
	// A failed operation is in the row that it is called by, not in those of its steps.
	GaveUp Histogram `json:"gave_up"`
	// Service is the share of Latency that the sink says was its own; empty if it has no
	// part in it (setup, revoke).
	Service Histogram `json:"service"`
	// Slip is how much later than scheduled the generator began, of everything that it
	// began: a device with a tunnel is woken by the service.
	Slip Histogram `json:"slip"`
	// Due is how much fell due by this name: 0 of what is a step of something else.
	Due uint64 `json:"due,omitempty"`
	// Within counts exactly what was done within 10 s and 30 s, the budgets of a
	// background sync on Android and iOS. A share is of Result.Scheduled, never of
	// Latency's count.
	Within10s uint64 `json:"within_10s"`
	Within30s uint64 `json:"within_30s"`
}

// Second is one second of the run as one client saw it. Scheduled counts by the
// moment something was scheduled for, the rest by when it happened: what fails or is
// done here may have been scheduled earlier.
type Second struct {
	At        time.Time     `json:"at"` // its beginning
	Scheduled uint64        `json:"scheduled"`
	Done      uint64        `json:"done"`
	Failed    uint64        `json:"failed"`
	Up        uint64        `json:"up"`
	Down      uint64        `json:"down"`
	InFlight  int64         `json:"in_flight"`
	Tunnels   int64         `json:"tunnels"` // open now
	P50       time.Duration `json:"p50"`     // of what was done in this second
	P99       time.Duration `json:"p99"`
	Max       time.Duration `json:"max"`
	Slip      time.Duration `json:"slip"` // the largest
}
