package load

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// recorder is what a run has seen so far.
type recorder struct {
	// The run's moments: sustain is from sustain until down.
	begin, sustain, down, end time.Time

	inFlight, tunnels atomic.Int64
	upNow, downNow    atomic.Uint64

	mu      sync.Mutex // guards what follows
	result  Result     // without Operations and Seconds
	rows    []*Operation
	seconds []Second

	// Of the second that is not over.
	done, failed    uint64
	latencies       Histogram
	slip            time.Duration
	upSeen, dnSeen  uint64 // totals when it began
	upFrom, dnFrom  uint64 // totals when sustain began
	sustained, over time.Time
}

func newRecorder(begin time.Time, s Scenario) *recorder {
	r := &recorder{begin: begin, sustain: begin.Add(s.Ramp)}
	r.down = r.sustain.Add(s.Sustain)
	r.end = r.down.Add(s.Down)
	return r
}

// counts says whether what was scheduled for then is in the result.
func (r *recorder) counts(at time.Time) bool { return !at.Before(r.sustain) && at.Before(r.down) }

// moved is told of every part of a body.
func (r *recorder) moved(up, down int) {
	if up > 0 {
		r.upNow.Add(uint64(up))
	}
	if down > 0 {
		r.downNow.Add(uint64(down))
	}
}

// started notes that the generator began what was scheduled for at.
func (r *recorder) started(name string, at, began time.Time) {
	r.inFlight.Add(1)
	slip := max(0, began.Sub(at))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(at)
	r.slip = max(r.slip, slip)
	if r.counts(at) {
		row := r.row(name)
		row.Due++
		row.Slip.Record(slip)
	}
}

// woken notes that the service began what was scheduled for at: the generator could not
// be late.
func (r *recorder) woken(name string, at time.Time) {
	r.inFlight.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(at)
	if r.counts(at) {
		r.row(name).Due++
	}
}

// schedule counts something by its moment. The lock is held.
func (r *recorder) schedule(at time.Time) {
	i := max(0, int(at.Sub(r.begin)/time.Second))
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, Second{At: r.begin.Add(time.Duration(len(r.seconds)) * time.Second)})
	}
	r.seconds[i].Scheduled++
	if r.counts(at) {
		r.result.Scheduled++
	}
}

// unknown is the service's share of what it has no part in.
const unknown time.Duration = -1

// took notes how long a step of what was scheduled for at took, reckoned from from.
func (r *recorder) took(name string, at, from time.Time, service time.Duration) {
	if !r.counts(at) {
		return
	}
	latency := time.Since(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row(name)
	row.Latency.Record(latency)
	if service != unknown {
		row.Service.Record(service)
	}
	if latency <= 10*time.Second {
		row.Within10s++
	}
	if latency <= 30*time.Second {
		row.Within30s++
	}
}

func (r *recorder) row(name string) *Operation {
	for _, row := range r.rows {
		if row.Name == name {
			return row
		}
	}
	r.rows = append(r.rows, &Operation{Name: name})
	return r.rows[len(r.rows)-1]
}

// succeeded, gaveUp and abandoned end what started began.
func (r *recorder) succeeded(at time.Time) {
	r.inFlight.Add(-1)
	latency := time.Since(at)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.latencies.Record(latency)
	if r.counts(at) {
		r.result.Done++
	}
}

func (r *recorder) gaveUp(name string, at time.Time, err error) {
	r.inFlight.Add(-1)
	after := time.Since(at)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts(at) {
		r.row(name).GaveUp.Record(after)
	}
	why := reason(err)
	r.result.Words = saying(r.result.Words, why, err.Error())
	r.fail(at, why)
}

func (r *recorder) fail(at time.Time, why string) {
	r.failed++
	if !r.counts(at) {
		r.result.Outside = tally(r.result.Outside, why, 1)
		return
	}
	r.result.Failed++
	r.result.Failures = tally(r.result.Failures, why, 1)
}

func (r *recorder) abandoned(at time.Time) {
	r.inFlight.Add(-1)
	if r.counts(at) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.result.Unfinished++
	}
}

// unstarted is what patience ended before it began.
func (r *recorder) unstarted(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(at)
	r.slip = max(r.slip, time.Since(at))
	r.fail(at, Timeout)
	if r.counts(at) {
		r.result.Unstarted++
	}
}

// full notes that what is due at at waits for MaxInFlight.
func (r *recorder) full(at time.Time) {
	if !r.counts(at) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Full++
}

// hold notes a tunnel that is there to be held. It says whether it stood when the
// ramp ended, if it stands until then.
func (r *recorder) hold() (early bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	early = time.Now().Before(r.sustain)
	if early {
		r.result.Held++
	}
	return early
}

// letGo is the end of a tunnel that was held; asked, that its owner ended it.
func (r *recorder) letGo(early, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := time.Now(); {
	case !early:
	case now.Before(r.sustain):
		r.result.Held--
	case !asked && r.counts(now):
		r.result.Died++
	}
}

// lived is a tunnel that a revocation should have ended, or not.
func (r *recorder) lived() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(r.middle())
	r.result.Lived++
}

// middle is when a trigger is pulled.
func (r *recorder) middle() time.Time { return r.sustain.Add(r.down.Sub(r.sustain) / 2) }

// beginSustain and endSustain take the figures that are totals.
func (r *recorder) beginSustain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sustained, r.upFrom, r.dnFrom = time.Now(), r.upNow.Load(), r.downNow.Load()
}

func (r *recorder) endSustain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sustained.IsZero() || !r.over.IsZero() {
		return
	}
	r.over = time.Now()
	r.result.Up, r.result.Down = r.upNow.Load()-r.upFrom, r.downNow.Load()-r.dnFrom
	r.result.Sustain = r.over.Sub(r.sustained)
}

// endSecond completes second i, and returns it.
func (r *recorder) endSecond(i int) Second {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, Second{At: r.begin.Add(time.Duration(len(r.seconds)) * time.Second)})
	}
	s := &r.seconds[i]
	up, down := r.upNow.Load(), r.downNow.Load()
	s.Up, s.Down = up-r.upSeen, down-r.dnSeen
	s.Done, s.Failed, s.Slip = r.done, r.failed, r.slip
	s.InFlight, s.Tunnels = r.inFlight.Load(), r.tunnels.Load()
	s.P50, s.P99, s.Max = r.latencies.Quantile(.5), r.latencies.Quantile(.99), r.latencies.Max()
	r.upSeen, r.dnSeen, r.done, r.failed, r.slip = up, down, 0, 0, 0
	r.latencies.reset()
	return *s
}

// take returns the result. The recorder is of no use then.
func (r *recorder) take() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range r.rows {
		r.result.Operations = append(r.result.Operations, *row)
	}
	slices.SortFunc(r.result.Operations, byName)
	r.result.Seconds = r.seconds
	return r.result
}

// tally counts by reason; what is no reason of the list, of another host, is Other.
func tally(m map[string]uint64, why string, n uint64) map[string]uint64 {
	if !slices.Contains(allReasons, why) {
		why = Other
	}
	if m == nil {
		m = make(map[string]uint64)
	}
	m[why] += n
	return m
}
