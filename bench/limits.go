package bench

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// From where on something is the limit of what was measured.
const (
	fullQdisc      = 0.90 // of the rate that a queueing discipline holds to
	fullLink       = 0.95 // of a physical interface's line rate
	busyGateway    = 0.90 // of the cores that the gateway may run on
	refusing       = 0.01 // of the operations
	servedSchedule = 0.99 // of what was scheduled
)

// limits are the rules that find what kept a round from being better, the surest
// first. The link and the gateway are findings; generator, sink and nic make the
// round void as well (voids.go).
var limits = []struct {
	resource string
	rule     func(*view) (says string, evidence []string)
}{
	{"link", linkShaped},
	{"link", linkFull},
	{"gateway refuses", nothingServed},
	{"", limitVoid},
	{"gateway CPU", gatewayBusy},
	{"gateway refuses", gatewayRefuses},
	{"unknown", boundReached},
	{"schedule", scheduleServed},
}

// limitOf is what limited a round, as far as can be told.
func limitOf(v *view) report.Limit {
	limit := report.Limit{Endpoint: v.plan.Endpoint.Name}
	for _, each := range limits {
		says, evidence := each.rule(v)
		if says == "" {
			continue
		}
		limit.Resource, limit.Says, limit.Evidence = each.resource, says, evidence
		if each.resource == "" {
			limit.Resource = voidOf(v)[0].What
		}
		return limit
	}
	limit.Resource = "unknown"
	limit.Says = "Neither link, sink, generator nor gateway was seen at its limit."
	if v.gateway == nil {
		limit.Says += " Nobody watched the gateway: --gateway-pid or --watch would."
	}
	return limit
}

// limitVoid is a void, as a limit.
func limitVoid(v *view) (string, []string) {
	if causes := voidOf(v); len(causes) > 0 {
		return causes[0].Says, causes[0].Evidence
	}
	return "", nil
}

// linkShaped looks for a queueing discipline that holds traffic back: it passed nearly
// its rate, and was over its limit, and bytes waited in it.
func linkShaped(v *view) (string, []string) {
	for _, h := range v.hosts() {
		seconds := h.took().Seconds()
		if seconds == 0 {
			continue
		}
		for _, i := range h.host.Interfaces {
			for _, q := range i.Qdiscs {
				if q.RateBit == 0 {
					continue
				}
				bytes, over, backlog := h.qdisc(i.Name, q)
				bits := 8 * float64(bytes) / seconds
				if over == 0 || backlog == 0 || bits < fullQdisc*float64(q.RateBit) {
					continue
				}
				return fmt.Sprintf("The link is full: %s of %s holds traffic to %s.", i.Name, h.name, bitRate(float64(q.RateBit))),
					[]string{fmt.Sprintf("%s %s, %s %s: %s sent, %.0f %% of its rate; %d times over its limit, up to %d bytes waiting",
						h.name, i.Name, q.Kind, q.Handle, bitRate(bits), 100*bits/float64(q.RateBit), over, backlog)}
			}
		}
	}
	return "", nil
}

// qdisc adds up what one queueing discipline did.
func (s seen) qdisc(device string, q evidence.Qdisc) (bytes, overlimits, backlog uint64) {
	for _, sample := range s.samples {
		for _, t := range sample.Qdiscs {
			if t.Interface == device && t.Kind == q.Kind && t.Handle == q.Handle && t.Parent == q.Parent {
				bytes += t.Bytes
				overlimits += t.Overlimits
				backlog = max(backlog, t.Backlog)
			}
		}
	}
	return bytes, overlimits, backlog
}

// linkFull holds what was on the wire against the line rate, where that is known: of
// physical interfaces.
func linkFull(v *view) (string, []string) {
	for _, h := range v.hosts() {
		seconds := h.took().Seconds()
		for _, i := range h.host.Interfaces {
			if i.Kind != "physical" || i.SpeedMbit <= 0 || seconds == 0 {
				continue
			}
			t := h.traffic()[i.Name]
			rate := float64(i.SpeedMbit) * 1e6
			if bits := float64(max(t.WireRX, t.WireTX)) / seconds; bits >= fullLink*rate {
				return fmt.Sprintf("The link is full: %s of %s is at its line rate.", i.Name, h.name),
					[]string{fmt.Sprintf("%s %s: %s on the wire, %.0f %% of %s", h.name, i.Name, bitRate(bits), 100*bits/rate, bitRate(rate))}
			}
		}
	}
	return "", nil
}

// gatewayBusy holds the gateway's processor time against the cores that it may run on.
func gatewayBusy(v *view) (string, []string) {
	if v.gateway == nil {
		return "", nil
	}
	cores, _, known := v.gateway.process(roleGateway)
	may := v.gateway.mayUse(roleGateway)
	if !known || may == 0 || cores < busyGateway*may {
		return "", nil
	}
	return "The gateway used up its processors.", []string{fmt.Sprintf("gateway: %.2f of %.3g cores", cores, may)}
}

// gatewayRefuses counts what failed, by reason; tunnels that could not be opened to be
// held among it.
func gatewayRefuses(v *view) (string, []string) {
	r := v.result
	all, before := r.Done+r.Failed, outside(r)
	if ratio(r.Failed, all) < refusing && ratio(before, max(all, r.Held+before)) < refusing {
		return "", nil
	}
	evidence := []string{fmt.Sprintf("%d of %d operations failed, %.1f %%", r.Failed, all, 100*ratio(r.Failed, all))}
	evidence = append(evidence, byReason(r.Failures)...)
	if before > 0 {
		evidence = append(evidence, fmt.Sprintf("%d more in the ramps, where held tunnels are opened", before))
		evidence = append(evidence, byReason(r.Outside)...)
	}
	return "Operations failed at the endpoint.", evidence
}

// nothingServed is when all that was tried has failed, and not for want of something at
// the generator. Before what makes the round void: who waits for refusals looks late, and
// is not what to mend.
func nothingServed(v *view) (string, []string) {
	r := v.result
	own := r.Failures[load.Ports] + r.Failures[load.Descriptors] + r.Failures[load.Source]
	if !servedNothing(v) || own > 0 {
		return "", nil
	}
	_, evidence := gatewayRefuses(v)
	return "Nothing was served: every operation failed at the endpoint.", evidence
}

// byReason lists failures, the most frequent first.
func byReason(failures map[string]uint64) []string {
	reasons := slices.SortedFunc(maps.Keys(failures), func(a, b string) int {
		return cmp.Or(cmp.Compare(failures[b], failures[a]), cmp.Compare(a, b))
	})
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%s: %d", reason, failures[reason])
	}
	return reasons
}

// boundReached is when as much was under way as the plan allows: everything waited for
// its turn then, and nobody can tell what for.
func boundReached(v *view) (string, []string) {
	if !v.full() {
		return "", nil
	}
	return "As many operations were under way as the plan allows: the endpoint answers too slowly for this load, or the bound is too low.",
		[]string{fmt.Sprintf("%d operations under way at each client (--max-in-flight)", v.plan.MaxInFlight)}
}

// scheduleServed is when there was no limit: all that was asked for was done. Bulk has
// no schedule, it takes what there is.
func scheduleServed(v *view) (string, []string) {
	r := v.result
	if v.plan.Scenario.Kind == "bulk" || r.Scheduled == 0 || ratio(r.Done, r.Scheduled) < servedSchedule {
		return "", nil
	}
	return "The load asked for was served: raise it to find a limit.",
		[]string{fmt.Sprintf("%d of %d scheduled operations done", r.Done, r.Scheduled)}
}

// bitRate is bits a second, for people.
func bitRate(bits float64) string {
	switch {
	case bits >= 1e9:
		return fmt.Sprintf("%.3g Gbit/s", bits/1e9)
	case bits >= 1e6:
		return fmt.Sprintf("%.3g Mbit/s", bits/1e6)
	}
	return fmt.Sprintf("%.3g kbit/s", bits/1e3)
}
