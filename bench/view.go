package bench

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
)

// Roles of processes that are watched.
const (
	roleGenerator = "generator"
	roleSink      = "sink"
	roleGateway   = "gateway"
)

// view is one round with all that is known of it: what figures and limits are made
// of. It holds plain values only, so that a rule can be tried on any round one likes.
type view struct {
	plan    load.Plan
	result  load.Result
	service exchange.Account // within sustain
	clients []seen
	sink    seen
	gateway *seen // nil if nobody watched it
	// rssBefore is the gateway's memory ahead of its first round, KiB; 0 if unknown.
	rssBefore int64
}

// drift is a clock that moved within the run.
type drift struct {
	host string
	by   time.Duration
}

// seen is a host within sustain.
type seen struct {
	name    string
	host    evidence.Host
	samples []evidence.Sample
	// addresses tell whether two agents are on one host, whose traffic counts once.
	addresses []netip.Addr
}

// within are the samples that belong to a span: those more than half of which lies
// in it.
func within(samples []evidence.Sample, from, to time.Time) []evidence.Sample {
	var in []evidence.Sample
	for _, s := range samples {
		middle := s.At.Add(-s.Took / 2)
		if middle.After(from) && middle.Before(to) {
			in = append(in, s)
		}
	}
	return in
}

// took is how long the samples cover.
func (s seen) took() (all time.Duration) {
	for _, each := range s.samples {
		all += each.Took
	}
	return all
}

// process is what one used on average, and the most memory that it had, KiB.
func (s seen) process(role string) (cores float64, rssKiB int64, known bool) {
	var spent, over time.Duration
	for _, sample := range s.samples {
		for _, p := range sample.Processes {
			if p.Role != role {
				continue
			}
			spent += time.Duration(p.Cores * float64(sample.Took))
			over += sample.Took
			rssKiB = max(rssKiB, p.RSSKiB)
		}
	}
	if over == 0 {
		return 0, 0, false
	}
	return spent.Seconds() / over.Seconds(), rssKiB, true
}

// mayUse is how many cores' time a process may have: by its own affinity and control
// groups, which need not be the agent's, or all of the host's where these are unknown. 0
// if nothing is known.
func (s seen) mayUse(role string) float64 {
	may := float64(s.host.Cores)
	for _, sample := range slices.Backward(s.samples) {
		for _, p := range sample.Processes {
			if p.Role != role || p.Allowed == 0 {
				continue
			}
			may = float64(p.Allowed)
			if p.Quota > 0 {
				may = min(may, p.Quota)
			}
			return may
		}
	}
	return may
}

// usage is how the cores that a process may use spent their time, in cores.
type usage struct{ busy, work, steal float64 }

// allowed is the usage of the cores that the agent may run on; all, if that is unknown.
func (s seen) allowed() (u usage, cores int) {
	over := s.took().Seconds()
	if over == 0 {
		return usage{}, len(s.host.Allowed)
	}
	counted := make(map[int]bool)
	mine := make(map[int]bool, len(s.host.Allowed))
	for _, id := range s.host.Allowed {
		mine[id] = true
	}
	for _, sample := range s.samples {
		for _, c := range sample.Cores {
			if len(mine) > 0 && !mine[c.ID] {
				continue
			}
			counted[c.ID] = true
			share := sample.Took.Seconds() / over
			u.work += share * (c.User + c.System)
			u.busy += share * (c.User + c.System + c.SoftIRQ + c.IRQ + c.Steal)
			u.steal += share * c.Steal
		}
	}
	return u, len(counted)
}

// granted is how much of the processors the agent may have: the cores that it may run
// on, or less where its control group has a quota.
func (s seen) granted() float64 {
	_, cores := s.allowed()
	if q := s.host.Quota; q > 0 && q < float64(cores) {
		return q
	}
	return float64(cores)
}

// traffic adds up what went through an interface.
func (s seen) traffic() map[string]evidence.Traffic {
	sum := make(map[string]evidence.Traffic)
	for _, sample := range s.samples {
		for _, t := range sample.Interfaces {
			a := sum[t.Name]
			a.Name = t.Name
			a.RXBytes += t.RXBytes
			a.TXBytes += t.TXBytes
			a.RXPackets += t.RXPackets
			a.TXPackets += t.TXPackets
			a.WireRX += t.WireRX
			a.WireTX += t.WireTX
			a.RXDropped += t.RXDropped
			a.TXDropped += t.TXDropped
			a.RXMissed += t.RXMissed
			sum[t.Name] = a
		}
	}
	return sum
}

// carrier is the interface that most bytes went through. Loopback counts only where
// nothing else moved.
func (s seen) carrier() (name string, sum evidence.Traffic, known bool) {
	for n, t := range s.traffic() {
		bytes, most := t.RXBytes+t.TXBytes, sum.RXBytes+sum.TXBytes
		if s.device(n).Kind == "loopback" && s.loopbackElse() {
			continue
		}
		if bytes > most || bytes == most && (!known || n < name) {
			name, sum, known = n, t, true
		}
	}
	return name, sum, known
}

// loopbackElse is whether there is another interface that carried more than chatter.
func (s seen) loopbackElse() bool {
	const chatter = 64 << 10
	for n, t := range s.traffic() {
		if s.device(n).Kind != "loopback" && t.RXBytes+t.TXBytes > chatter {
			return true
		}
	}
	return false
}

func (s seen) device(name string) evidence.Interface {
	for _, i := range s.host.Interfaces {
		if i.Name == name {
			return i
		}
	}
	return evidence.Interface{}
}

// all is every operation's latency, service share and slip together.
func (v *view) all() (latency, service, slip load.Histogram) {
	for _, o := range v.result.Operations {
		latency.Merge(o.Latency)
		service.Merge(o.Service)
		slip.Merge(o.Slip)
	}
	return latency, service, slip
}

// perSecond is a sum over sustain, a second.
func (v *view) perSecond(sum float64) float64 {
	if v.result.Sustain <= 0 {
		return 0
	}
	return sum / v.result.Sustain.Seconds()
}

// hosts are all that took part.
func (v *view) hosts() []seen {
	all := append(slices.Clone(v.clients), v.sink)
	if v.gateway != nil {
		all = append(all, *v.gateway)
	}
	return all
}
