package bench

import (
	"fmt"
	"time"

	"github.com/sallyport/sallyport/bench/report"
)

// From where on something other than what is measured was the limit.
const (
	busySink      = 0.5  // share of the time within exchanges that the service took for itself
	busySinkCores = 0.95 // of those allowed
	lateSink      = 0.5  // share of the latency's p99 that was the service's
	busyGenerator = 0.9  // of the cores allowed
	stolen        = 0.05 // of the cores allowed, taken by a hypervisor
	foreign       = 0.1  // of pinned cores, taken by other processes
	slipLeast     = 5 * time.Millisecond
	slipShare     = 0.1   // of the latency's p99
	begunLeast    = 0.99  // of what was scheduled
	dropShare     = 1e-5  // of the packets of an interface
	dropLeast     = 10    // a broadcast that nobody listens to counts as dropped, too
	minorLatency  = 0.001 // seconds: below it a late answer is the scheduler's
)

// voids are the rules by which a round does not count: what was at its limit was not
// what is measured. Each says what it found, with figures.
var voids = []struct {
	what string
	rule func(*view) (says string, evidence []string)
}{
	{"generator", generatorBusy},
	{"generator", generatorStolen},
	{"generator", generatorSlips},
	{"generator", generatorEmpty},
	{"sink", sinkFull},
	{"sink", sinkBusy},
	{"sink", sinkCores},
	{"sink", sinkLate},
	{"nic", packetsLost},
}

// voidOf is why a round does not count; nothing if it does.
func voidOf(v *view) []report.Cause {
	var causes []report.Cause
	for _, each := range voids {
		if says, evidence := each.rule(v); says != "" {
			causes = append(causes, report.Cause{What: each.what, Says: says, Evidence: evidence})
		}
	}
	return causes
}

func generatorBusy(v *view) (string, []string) {
	for _, c := range v.clients {
		cores, _, known := c.process(roleGenerator)
		may := c.granted()
		if known && may > 0 && cores >= busyGenerator*may {
			return fmt.Sprintf("The generator on %s used up its processors.", c.name),
				[]string{fmt.Sprintf("generator on %s: %.2f of %.3g cores", c.name, cores, may)}
		}
	}
	return "", nil
}

// generatorStolen looks for time that the generator should have had: taken by the
// hypervisor, or, on cores set apart for it, by other processes.
func generatorStolen(v *view) (string, []string) {
	for _, c := range v.clients {
		u, may := c.allowed()
		if may == 0 {
			continue
		}
		if share := u.steal / float64(may); share >= stolen {
			return fmt.Sprintf("The hypervisor took processor time from the generator on %s.", c.name),
				[]string{fmt.Sprintf("steal on %s: %.1f %% of %d cores", c.name, 100*share, may)}
		}
		own, _, known := c.process(roleGenerator)
		pinned := len(c.host.Allowed) > 0 && len(c.host.Allowed) < c.host.Cores
		if other := u.work - own; known && pinned && other >= foreign*float64(may) {
			return fmt.Sprintf("Other processes ran on the cores set apart for the generator on %s.", c.name),
				[]string{fmt.Sprintf("cores %v of %s: %.2f cores of work, %.2f of it the generator's", c.host.Allowed, c.name, u.work, own)}
		}
	}
	return "", nil
}

// generatorSlips holds the schedule against what was begun. Where as much was under
// way as the plan allows, it was the endpoint that held the schedule up: the latency,
// which counts from the scheduled moment, has that in it already.
func generatorSlips(v *view) (string, []string) {
	if v.full() {
		return "", nil
	}
	latency, _, slip := v.all()
	may := max(slipLeast, time.Duration(slipShare*float64(latency.Quantile(0.99))))
	if p99 := slip.Quantile(0.99); p99 > may {
		return "The generator began operations later than scheduled.",
			[]string{fmt.Sprintf("slip p99 %s, where %s would do, of %d operations", ms(p99), ms(may), slip.Count())}
	}
	begun := v.result.Scheduled - min(v.result.Scheduled, v.result.Unstarted)
	if share := ratio(begun, v.result.Scheduled); v.result.Scheduled > 0 && share < begunLeast {
		return "The generator did not begin all that was scheduled.",
			[]string{fmt.Sprintf("%d of %d scheduled operations begun, %.1f %%", begun, v.result.Scheduled, 100*share)}
	}
	return "", nil
}

// full is whether anything waited since as much was under way as the plan allows. A
// client that reached its bound within a second, and was below it when the second ended,
// is among them.
func (v *view) full() bool { return v.result.Full > 0 }

// generatorEmpty looks for what a generator runs out of.
func generatorEmpty(v *view) (string, []string) {
	for _, each := range [][2]string{{"descriptors", "file descriptors"}, {"ports", "local ports"}} {
		reason, what := each[0], each[1]
		if n := v.result.Failures[reason] + v.result.Outside[reason]; n > 0 {
			return "The generator ran out of " + what + ".", []string{fmt.Sprintf("%d operations failed for want of %s", n, what)}
		}
	}
	return "", nil
}

// sinkFull is a service that had as many connections as it may have.
func sinkFull(v *view) (string, []string) {
	n := v.service.TurnedAway
	if n == 0 {
		return "", nil
	}
	return "The sink turned connections away: it had as many as it may have.",
		[]string{fmt.Sprintf("service: %d connections closed at once, ramps included, beside %d open ones; ulimit -Hn at the sink bounds them", n, v.service.Open)}
}

// sinkBusy asks whose time the exchanges took. A service that is busy for a tenth of
// what a client waits is no limit, however little it waits itself.
func sinkBusy(v *view) (string, []string) {
	a := v.service
	all := a.Busy + a.Waited
	if all <= 0 {
		return "", nil
	}
	latency, _, _ := v.all()
	// A bulk transfer may well be one ask that outlives the round: none is done then.
	share, each := a.Busy.Seconds()/all.Seconds(), a.Busy.Seconds()/float64(max(a.Asks, 1))
	if share < busySink || each < minorLatency || latency.Count() > 0 && each < 0.1*latency.Mean().Seconds() {
		return "", nil
	}
	return "The sink was busy for most of the time that exchanges took.",
		[]string{fmt.Sprintf("service: busy %.0f %% of the time within exchanges, %.2f ms for each of %d asks", 100*share, 1000*each, a.Asks)}
}

// sinkCores looks at the sink's processors. A service that nobody asked anything held
// nobody up, whatever else ran on its host.
func sinkCores(v *view) (string, []string) {
	if a := v.service; a.Connections == 0 && a.Asks == 0 && a.Open == 0 && v.result.Done == 0 {
		return "", nil
	}
	if u, may := v.sink.allowed(); may > 0 && u.busy >= busySinkCores*float64(may) {
		return "The sink's host used up its processors: the sink, or somebody else there did.", []string{fmt.Sprintf("%s: %.2f of %d cores busy%s", v.sink.name, u.busy, may, v.sink.ofWhich(roleSink))}
	}
	if cores, _, known := v.sink.process(roleSink); known && v.sink.host.Quota > 0 && cores >= busySinkCores*v.sink.host.Quota {
		return "The sink used up its share of the processors.", []string{fmt.Sprintf("sink: %.2f of the %.3g cores that its control group has", cores, v.sink.host.Quota)}
	}
	return "", nil
}

// ofWhich says how much of its host's processor time a process took, where that is known.
func (s seen) ofWhich(role string) string {
	cores, _, known := s.process(role)
	if !known {
		return ""
	}
	return fmt.Sprintf(", of which the %s took %.2f", role, cores)
}

func sinkLate(v *view) (string, []string) {
	for _, o := range v.result.Operations {
		late, latency := o.Service.Quantile(0.99), o.Latency.Quantile(0.99)
		if late.Seconds() >= minorLatency && latency > 0 && late.Seconds() >= lateSink*latency.Seconds() {
			return "Most of the latency was the sink's own.",
				[]string{fmt.Sprintf("%s: p99 %s, of which the service says that it took %s itself", o.Name, ms(latency), ms(late))}
		}
	}
	return "", nil
}

// packetsLost looks for packets that were lost within clients and sink: the gateway
// is judged by what it did with them all. What a queueing discipline drops is the
// link's limit, and no void.
func packetsLost(v *view) (string, []string) {
	var evidence []string
	for _, h := range append(v.clients[:len(v.clients):len(v.clients)], v.sink) {
		for _, t := range h.traffic() {
			if t.RXMissed > 0 {
				evidence = append(evidence, fmt.Sprintf("%s %s: %d packets missed", h.name, t.Name, t.RXMissed))
			}
			dropped, packets := t.RXDropped+t.TXDropped, t.RXPackets+t.TXPackets
			if dropped >= dropLeast && ratio(dropped, packets) >= dropShare {
				evidence = append(evidence, fmt.Sprintf("%s %s: %d of %d packets dropped", h.name, t.Name, dropped, packets))
			}
		}
		var soft uint64
		for _, s := range h.samples {
			soft += s.Network.SoftnetDropped
		}
		if soft > 0 {
			evidence = append(evidence, fmt.Sprintf("%s: %d packets dropped by the network stack (softnet)", h.name, soft))
		}
	}
	if evidence == nil {
		return "", nil
	}
	return "Packets were lost within a client or the sink.", evidence
}

// clocksMoved looks at the whole run: clocks are read at its two ends.
func clocksMoved(drifts []drift) (string, []string) {
	var evidence []string
	for _, d := range drifts {
		if d.by > clockBad {
			evidence = append(evidence, fmt.Sprintf("%s: its clock moved by %s against this host's", d.host, ms(d.by)))
		}
	}
	if evidence == nil {
		return "", nil
	}
	return "A clock moved within the run, so schedules and samples do not belong together.", evidence
}

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ms(d time.Duration) string { return fmt.Sprintf("%.3g ms", milliseconds(d)) }
