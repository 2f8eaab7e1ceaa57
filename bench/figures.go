package bench

import (
	"cmp"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// Names of figures. Those of latency are made by latencyFigure.
const (
	figureRate         = "done"
	figureFailures     = "failed"
	figureWithin10     = "done within 10 s"
	figureWithin30     = "done within 30 s"
	figureBodies       = "throughput of bodies"
	figureWireDown     = "on the wire, down"
	figureWireUp       = "on the wire, up"
	figureOutside      = "failed in the ramps"
	figureHeld         = "tunnels held"
	figureDied         = "tunnels died"
	figureLived        = "tunnels that lived on"
	figureResumed      = "TLS sessions resumed"
	figureGatewayCPU   = "gateway CPU"
	figureCPUPerOp     = "gateway CPU per operation"
	figureCPUPerGiB    = "gateway CPU per GiB"
	figureRSS          = "gateway memory"
	figureRSSPerTunnel = "gateway memory per tunnel"
	figureSlip         = "slip (p99)"
)

const gibibyte = 1 << 30

// latencyFigure is what a percentile of an operation is called: wake p99.
func latencyFigure(operation, percentile string) string { return operation + " " + percentile }

// value is one figure of one round.
type value struct {
	name, unit, better string
	of                 float64
	// every is that it is worth something only if every round has it: the rounds that
	// had too few to know a percentile are those in which most failed.
	every bool
}

// whole is a value that is worth something by itself.
func whole(name, unit, better string, of float64) value {
	return value{name: name, unit: unit, better: better, of: of}
}

// longest is what the slowest is called, beside the percentiles.
const longest = "max"

// percentiles are those that are reported, where there was enough to know them by.
var percentiles = []struct {
	name string
	of   float64
}{{"p50", 0.50}, {"p90", 0.90}, {"p99", 0.99}, {"p99.9", 0.999}}

// valuesOf are the figures of one round, in the order of the report: what was asked
// for first, then what it took.
func valuesOf(v *view) []value {
	r := v.result
	var values []value
	add := func(name, unit, better string, of float64) {
		values = append(values, whole(name, unit, better, of))
	}
	if r.Scheduled > 0 || r.Done > 0 {
		add(figureRate, "/s", "higher", v.perSecond(float64(r.Done)))
	}
	if all := r.Done + r.Failed; all > 0 {
		add(figureFailures, "%", "lower", 100*ratio(r.Failed, all))
	}
	if n := outside(r); n > 0 {
		add(figureOutside, "", "lower", float64(n))
	}
	main := report.Principal(v.plan.Scenario.Kind, r.Operations)
	if main != nil {
		values = append(values, latencies(*main)...)
	}
	values = append(values, budgets(r)...)
	if r.Held > 0 {
		add(figureHeld, "", "higher", float64(r.Held))
		add(figureDied, "", "lower", float64(r.Died))
	}
	if r.Lived > 0 {
		add(figureLived, "", "lower", float64(r.Lived))
	}
	if bytes := r.Up + r.Down; bytes > 0 {
		add(figureBodies, "Mbit/s", "higher", v.perSecond(8*float64(bytes)/1e6))
	}
	values = append(values, wire(v)...)
	values = append(values, gatewayValues(v)...)
	for i := range r.Operations {
		if main == nil || r.Operations[i].Name != main.Name {
			values = append(values, latencies(r.Operations[i])...)
		}
	}
	if v.plan.Endpoint.Resume && r.Handshakes > 0 {
		add(figureResumed, "%", "higher", 100*ratio(r.Resumed, r.Handshakes))
	}
	_, _, slip := v.all()
	if p99, known := slip.Percentile(0.99); known {
		add(figureSlip, "ms", "lower", milliseconds(p99))
	}
	return values
}

// latencies are the percentiles of an operation.
func latencies(o load.Operation) (values []value) {
	if o.Latency.Count() == 0 {
		return nil
	}
	add := func(name string, took time.Duration, every bool) {
		values = append(values, value{latencyFigure(o.Name, name), "ms", "lower", milliseconds(took), every})
	}
	for _, p := range percentiles {
		if took, known := o.Latency.Percentile(p.of); known {
			add(p.name, took, true)
		}
	}
	add(longest, o.Latency.Max(), false)
	return values
}

// outside is how much failed that was scheduled in the ramps, where held tunnels are
// opened.
func outside(r load.Result) (n uint64) {
	for _, each := range r.Outside {
		n += each
	}
	return n
}

// failedShares are how much of each kind of operation failed, of what was done or failed.
func failedShares(r load.Result) map[string]float64 {
	shares := make(map[string]float64)
	for _, o := range r.Operations {
		if failed := o.GaveUp.Count(); failed > 0 {
			// What failed at a later step may have its first one in the row all the same.
			shares[o.Name] = ratio(failed, max(failed, cmp.Or(o.Due, failed+o.Latency.Count())))
		}
	}
	return shares
}

// budgets are the shares of all that was scheduled that were done within a background
// sync's time. They are counted in the rows that operations are called by, in which
// something fell due, and not in those of its further steps. Such a row may be of a
// first step only (setup), whose time says nothing if the operation failed after it: so
// no more was done in time than was done.
func budgets(r load.Result) []value {
	if r.Scheduled == 0 {
		return nil
	}
	var in10, in30 uint64
	for _, o := range r.Operations {
		if o.Due > 0 {
			in10 += o.Within10s
			in30 += o.Within30s
		}
	}
	return []value{
		whole(figureWithin10, "%", "higher", 100*ratio(min(in10, r.Done), r.Scheduled)),
		whole(figureWithin30, "%", "higher", 100*ratio(min(in30, r.Done), r.Scheduled)),
	}
}

// wire is what the clients' interfaces carried within sustain.
func wire(v *view) []value {
	var down, up, seconds float64
	for i, c := range v.clients {
		again := slices.ContainsFunc(v.clients[:i], func(have seen) bool {
			return len(c.addresses) > 0 && slices.Equal(have.addresses, c.addresses)
		})
		if _, t, known := c.carrier(); known && !again {
			down += float64(t.WireRX)
			up += float64(t.WireTX)
			seconds = max(seconds, c.took().Seconds())
		}
	}
	if seconds == 0 {
		return nil
	}
	return []value{
		whole(figureWireDown, "Mbit/s", "", down/seconds/1e6),
		whole(figureWireUp, "Mbit/s", "", up/seconds/1e6),
	}
}

// gatewayValues are of the gateway's process, if somebody watched it.
func gatewayValues(v *view) []value {
	if v.gateway == nil {
		return nil
	}
	cores, rss, known := v.gateway.process(roleGateway)
	if !known {
		return nil
	}
	values := []value{whole(figureGatewayCPU, "cores", "lower", cores)}
	spent := cores * v.result.Sustain.Seconds()
	if v.result.Done > 0 {
		values = append(values, whole(figureCPUPerOp, "ms", "lower", 1000*spent/float64(v.result.Done)))
	}
	// Of exchanges that are small the bytes are not what costs.
	if bytes := v.result.Up + v.result.Down; bytes > gibibyte/16 {
		values = append(values, whole(figureCPUPerGiB, "s", "lower", spent/(float64(bytes)/gibibyte)))
	}
	values = append(values, whole(figureRSS, "KiB", "lower", float64(rss)))
	// Only where tunnels are held and little else happens is memory theirs.
	holds := v.plan.Scenario.Kind == load.Idle || v.plan.Scenario.Kind == load.Push
	if holds && v.result.Held > 0 && v.rssBefore > 0 && rss > v.rssBefore {
		values = append(values, whole(figureRSSPerTunnel, "KiB", "lower", float64(rss-v.rssBefore)/float64(v.result.Held)))
	}
	return values
}
