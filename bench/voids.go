package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// From where on something other than what is measured was the limit. None of them comes
// out of a formula: each is as far as a figure can be off before it is the gateway's no
// more, and below what a quiet machine of two cores shows by itself.
const (
	// The service's share of the time within exchanges. From half on it is what is measured.
	busySink = 0.5
	lateSink = 0.5
	// minorSink is the share of an exchange below which the service is no limit, however
	// little it waits.
	minorSink = 0.1
	// minorLatency, in seconds, is what a late answer may be of the scheduler's.
	minorLatency = 0.001
	// Of the cores that a process may run on. A generator near them is late before it has
	// used them up; a whole host has interrupts and samplers beside it.
	busyGenerator = 0.9
	busyHost      = 0.95
	// What a hypervisor takes comes in pieces of milliseconds: a twentieth is seen in every
	// tail. Other processes on cores set apart give way to the generator, as a rule.
	stolen  = 0.05
	foreign = 0.1
	// The slip that is let pass is a tenth of the latencies, or what timers and garbage
	// collection of an idle generator take.
	slipLeast = 5 * time.Millisecond
	slipShare = 0.1
	// begunLeast is of what was scheduled: p99 is what most look at.
	begunLeast = 0.99
	// Packets that are lost cost a retransmission each: 200 ms, at worst. One in 100,000 is
	// in no p99.9. Broadcasts that nobody listens to count as dropped as well, one a second
	// at most in a network that is sound.
	dropShare    = 1e-5
	dropLeast    = 10
	dropsASecond = 1
	minorTraffic = 0.01 // of the packets of the interface that carried most
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

// generatorBusy looks at the generator, and at its host: interrupts of the network are in
// no process's time.
func generatorBusy(v *view) (string, []string) {
	for _, c := range v.clients {
		cores, _, known := c.process(roleGenerator)
		may := c.granted()
		if known && may > 0 && cores >= busyGenerator*may {
			return fmt.Sprintf("The generator on %s used up its processors.", c.name),
				[]string{fmt.Sprintf("generator on %s: %.2f of %.3g cores", c.name, cores, may)}
		}
		if u, may := c.allowed(); may > 0 && u.busy >= busyHost*float64(may) {
			return fmt.Sprintf("The generator's host, %s, used up its processors: the generator, the network's interrupts, or somebody else there did.", c.name),
				[]string{fmt.Sprintf("%s: %.2f of %d cores busy%s", c.name, u.busy, may, c.ofWhich(roleGenerator))}
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
// which counts from the scheduled moment, has that in it already. Each kind of operation
// is held against its own latency: what is late beside a long one would be most of a short
// one. Of fewer than a hundred the longest counts.
func generatorSlips(v *view) (string, []string) {
	if v.full() {
		return "", nil
	}
	for _, o := range v.result.Operations {
		may := max(slipLeast, time.Duration(slipShare*float64(o.Latency.Quantile(0.99))))
		if p99 := o.Slip.Quantile(0.99); p99 > may {
			return "The generator began operations later than scheduled.",
				[]string{fmt.Sprintf("%s: slip p99 %s, where %s would do, of %d operations", o.Name, ms(p99), ms(may), o.Slip.Count())}
		}
	}
	begun := v.result.Scheduled - min(v.result.Scheduled, v.result.Unstarted)
	if share := ratio(begun, v.result.Scheduled); v.result.Scheduled > 0 && share < begunLeast {
		return "The generator did not begin all that was scheduled.",
			[]string{fmt.Sprintf("%d of %d scheduled operations begun, %.1f %%", begun, v.result.Scheduled, 100*share)}
	}
	return "", nil
}

// full is whether more of what was due than may be missing waited since as much was under
// way as the plan allows. A client that reached its bound within a second, and was below
// it when the second ended, is among them.
func (v *view) full() bool { return ratio(v.result.Full, v.result.Scheduled) > 1-begunLeast }

// generatorEmpty looks for what a generator runs out of, or never had.
func generatorEmpty(v *view) (string, []string) {
	if n := v.result.Failures[load.Source] + v.result.Outside[load.Source]; n > 0 {
		return "An address to dial from is not the generator's.", []string{fmt.Sprintf("%d operations failed since it could not be dialled from (--source)", n)}
	}
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
	if share < busySink || each < minorLatency || latency.Count() > 0 && each < minorSink*latency.Mean().Seconds() {
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
	if u, may := v.sink.allowed(); may > 0 && u.busy >= busyHost*float64(may) {
		return "The sink's host used up its processors: the sink, or somebody else there did.", []string{fmt.Sprintf("%s: %.2f of %d cores busy%s", v.sink.name, u.busy, may, v.sink.ofWhich(roleSink))}
	}
	if cores, _, known := v.sink.process(roleSink); known && v.sink.host.Quota > 0 && cores >= busyHost*v.sink.host.Quota {
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

// sinkLate holds what the service says that it took against the latency, each by its own
// slowest hundredth: these need not be the same operations.
func sinkLate(v *view) (string, []string) {
	for _, o := range v.result.Operations {
		late, latency := o.Service.Quantile(0.99), o.Latency.Quantile(0.99)
		if late.Seconds() >= minorLatency && latency > 0 && late.Seconds() >= lateSink*latency.Seconds() {
			return "The sink took as long as most of the latency.",
				[]string{fmt.Sprintf("%s: p99 %s, and p99 of what the service says that it took itself %s", o.Name, ms(latency), ms(late))}
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
		evidence = append(evidence, h.lost()...)
	}
	if evidence == nil {
		return "", nil
	}
	return "Packets were lost within a client or the sink.", evidence
}

// lost says what of the traffic was lost on a host: on the interface that carried most,
// and on others that carried a share of it.
func (s seen) lost() (evidence []string) {
	_, most, known := s.carrier()
	if !known {
		return nil
	}
	all := most.RXPackets + most.TXPackets
	least := max(dropLeast, uint64(dropsASecond*s.took().Seconds()))
	for name, t := range s.traffic() {
		packets := t.RXPackets + t.TXPackets
		if float64(packets) < minorTraffic*float64(all) {
			continue
		}
		if ratio(t.RXMissed, packets) >= dropShare {
			evidence = append(evidence, fmt.Sprintf("%s %s: %d of %d packets missed", s.name, name, t.RXMissed, packets))
		}
		if dropped := t.RXDropped + t.TXDropped; dropped >= least && ratio(dropped, packets) >= dropShare {
			evidence = append(evidence, fmt.Sprintf("%s %s: %d of %d packets dropped", s.name, name, dropped, packets))
		}
	}
	var soft uint64
	for _, sample := range s.samples {
		soft += sample.Network.SoftnetDropped
	}
	if soft > 0 && ratio(soft, all) >= dropShare {
		evidence = append(evidence, fmt.Sprintf("%s: %d packets dropped by the network stack (softnet)", s.name, soft))
	}
	slices.Sort(evidence)
	return evidence
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
