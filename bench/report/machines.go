package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/report/chart"
)

// machine is a host's part of the page: what happened on it over time.
type machine struct {
	Title   string // its role and name
	Courses []*multiple
	Quiet   []string // what was looked at and found to be nothing
}

func (r *Report) machines(outcomes []outcome) []machine {
	var out []machine
	for _, w := range r.watched() {
		if len(w.samples) == 0 {
			continue
		}
		m := machine{Title: plain(w.Role) + " (" + plain(w.Name) + ")"}
		m.Courses = present(r.processor(&w, outcomes), r.cores(&w, outcomes), r.wire(&w, outcomes), r.memory(&w, outcomes))
		queues := present(r.queue(&w, outcomes, "Backlog of the queueing discipline", inUnit("KiB"), func(q *evidence.QdiscTraffic, _ float64) float64 { return float64(q.Backlog) / 1024 }),
			r.queue(&w, outcomes, "Overlimits of the queueing discipline", chart.Axis{Label: "/s", Format: amount}, func(q *evidence.QdiscTraffic, s float64) float64 { return float64(q.Overlimits) / s }))
		m.Courses = append(m.Courses, queues...)
		if len(queues) == 0 {
			m.Quiet = append(m.Quiet, "No queueing discipline held anything back.")
		}
		m.Quiet = append(m.Quiet, w.losses(outcomes))
		if len(m.Courses) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// The parts of processor time, as they are stacked. Interrupts and soft interrupts
// are the network's, mostly.
var processorParts = []struct {
	key
	of func(*evidence.Core) float64
}{
	{key{Name: "user", Tone: toneFirst, Solid: true}, func(c *evidence.Core) float64 { return c.User }},
	{key{Name: "system", Tone: toneSecond, Solid: true}, func(c *evidence.Core) float64 { return c.System }},
	{key{Name: "softirq and irq", Tone: toneThird, Solid: true}, func(c *evidence.Core) float64 { return c.SoftIRQ + c.IRQ }},
	{key{Name: "steal", Tone: toneFourth, Solid: true}, func(c *evidence.Core) float64 { return c.Steal }},
}

func processorLegend() []key {
	var out []key
	for _, part := range processorParts {
		out = append(out, part.key)
	}
	return out
}

func (r *Report) processor(w *watched, outcomes []outcome) *multiple {
	m := multiple{Title: "Processor", Legend: processorLegend(),
		Note: fmt.Sprintf("Cores that were busy, of %d; mean of the rounds.", w.Cores)}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, chart.Axis{Label: "cores", Format: amount})
		for _, part := range processorParts {
			points := w.course(o, func(s *evidence.Sample) float64 {
				sum := 0.0
				for i := range s.Cores {
					sum += part.of(&s.Cores[i])
				}
				return sum
			}).means()
			c.Layers = append(c.Layers, chart.Layer{Kind: chart.Area, Tone: part.Tone, Points: points})
		}
		if w.Cores > 0 {
			c.Rules = []chart.Rule{{Y: float64(w.Cores), Label: plural(int64(w.Cores), "core")}}
		}
		return c
	})
}

// cores shows each core by itself: one that is full while others are not is a limit
// that the sum hides.
func (r *Report) cores(w *watched, outcomes []outcome) *multiple {
	m := multiple{Title: "Core by core", Legend: processorLegend(), Note: "Mean over what counts of the rounds."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		sums, n := make(map[int]evidence.Core), 0
		w.sustained(o, func(s *evidence.Sample) {
			n++
			for _, core := range s.Cores {
				sum := sums[core.ID]
				sum.User, sum.System, sum.SoftIRQ = sum.User+core.User, sum.System+core.System, sum.SoftIRQ+core.SoftIRQ
				sum.IRQ, sum.Steal = sum.IRQ+core.IRQ, sum.Steal+core.Steal
				sums[core.ID] = sum
			}
		})
		c := &chart.Chart{X: chart.Axis{Label: "core", Scale: chart.Ordinal},
			Y: chart.Axis{Label: "%", Min: 0, Max: 100}}
		for _, part := range processorParts {
			layer := chart.Layer{Kind: chart.Bar, Tone: part.Tone}
			for _, id := range sortedKeys(sums) {
				sum := sums[id]
				layer.Points = append(layer.Points, chart.Point{X: float64(id), Y: 100 * part.of(&sum) / float64(n)})
			}
			c.Layers = append(c.Layers, layer)
		}
		return c
	})
}

// wire shows the interface that most went through, with its line rate if that is known.
func (r *Report) wire(w *watched, outcomes []outcome) *multiple {
	name := w.busiest(outcomes)
	if name == "" {
		return nil
	}
	var rules []chart.Rule
	note := "line rate unknown"
	if i := w.named(name); i != nil {
		note = plain(i.Kind) + ", line rate unknown"
		if i.SpeedMbit > 0 {
			rate := tickOf("Mbit/s")(float64(i.SpeedMbit))
			note = plain(i.Kind) + ", line rate " + rate
			rules = []chart.Rule{{Y: float64(i.SpeedMbit), Label: "line rate " + rate}}
		}
	}
	m := multiple{Title: "On the wire: " + plain(name), Legend: []key{{Name: "received", Tone: toneFirst}, {Name: "sent", Tone: toneSecond, Dash: 1}},
		Note: capital(note) + ". Bits with preamble, checksum and gap."}
	return multiples(outcomes, m, func(o *outcome) *chart.Chart {
		c := r.timeline(o, inUnit("Mbit/s"))
		rx := w.traffic(o, name, func(t *evidence.Traffic) uint64 { return t.WireRX }).points()
		tx := w.traffic(o, name, func(t *evidence.Traffic) uint64 { return t.WireTX }).points()
		c.Layers = append(banded(toneFirst, 0, rx), banded(toneSecond, 1, tx)...)
		c.Rules = rules
		if len(rules) > 0 {
			// Drawn if it can be compared with: 4 % of an axis is a flat line.
			c.Rules[0].Wanted = highest(rx, tx) >= 0.2*rules[0].Y
		}
		return c
	})
}

func highest(courses ...[]chart.Point) float64 {
	h := 0.0
	for _, points := range courses {
		for _, p := range points {
			h = max(h, p.High)
		}
	}
	return h
}

// traffic is an interface's course, in Mbit/s.
func (w *watched) traffic(o *outcome, name string, of func(*evidence.Traffic) uint64) course {
	return w.course(o, func(s *evidence.Sample) float64 {
		for i := range s.Interfaces {
			if s.Interfaces[i].Name == name {
				return float64(of(&s.Interfaces[i])) / 1e6 / s.Took.Seconds()
			}
		}
		return positive(0)
	})
}

// queue is the sum over a host's queueing disciplines; nothing is no picture.
func (r *Report) queue(w *watched, outcomes []outcome, title string, axis chart.Axis, of func(q *evidence.QdiscTraffic, seconds float64) float64) *multiple {
	return multiples(outcomes, multiple{Title: title, Note: "All interfaces together."}, func(o *outcome) *chart.Chart {
		points := w.course(o, func(s *evidence.Sample) float64 {
			sum := 0.0
			for i := range s.Qdiscs {
				sum += of(&s.Qdiscs[i], s.Took.Seconds())
			}
			return sum
		}).points()
		if !anything(points) {
			return nil
		}
		c := r.timeline(o, axis)
		c.Layers = banded(toneFirst, 0, points)
		return c
	})
}

// memory is the resident set of the gateway, or of whatever process was watched here.
// Where an endpoint has a gateway of its own, that is the one.
func (r *Report) memory(w *watched, outcomes []outcome) *multiple {
	roles := w.processes()
	if len(roles) == 0 {
		return nil
	}
	title := roles[0]
	if strings.HasPrefix(title, gateway) {
		title = gateway
	}
	return multiples(outcomes, multiple{Title: "Memory of the " + plain(title), Note: "Resident set of its process."}, func(o *outcome) *chart.Chart {
		role := roles[0]
		switch own := gateway + " " + o.Endpoint; {
		case contains(roles, own):
			role = own
		case title == gateway && o.Tone > 0 && len(r.Endpoints) > 1:
			return nil // it is another endpoint's
		}
		c := r.timeline(o, inUnit("KiB"))
		c.Layers = banded(toneFirst, 0, w.course(o, func(s *evidence.Sample) float64 {
			for _, p := range s.Processes {
				if p.Role == role {
					return float64(p.RSSKiB)
				}
			}
			return positive(0)
		}).points())
		return c
	})
}

// gateway is the role of the first endpoint's gateway; those of others have the name
// of their endpoint behind it.
const gateway = "gateway"

// processes are the roles that were watched on the host: gateways before all others.
func (w *watched) processes() []string {
	seen := make(map[string]bool)
	for _, s := range w.samples {
		for _, p := range s.Processes {
			seen[p.Role] = true
		}
	}
	roles := sortedKeys(seen)
	other := func(role string) bool { return !strings.HasPrefix(role, gateway) }
	others := slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return !other(role) })
	return append(slices.DeleteFunc(roles, other), others...)
}

// losses says what was lost on the host in all rounds that are shown, by counter.
func (w *watched) losses(outcomes []outcome) string {
	sums := make(map[string]uint64)
	for i := range outcomes {
		w.during(&outcomes[i], func(_ int, s *evidence.Sample) {
			for _, t := range s.Interfaces {
				sums["dropped by "+t.Name] += t.RXDropped + t.TXDropped
				sums["missed by "+t.Name] += t.RXMissed
				sums["errors of "+t.Name] += t.RXErrors + t.TXErrors
			}
			for _, q := range s.Qdiscs {
				sums["dropped by "+q.Kind+" of "+q.Interface] += q.Drops
			}
			sums["dropped by softnet"] += s.Network.SoftnetDropped
			sums["listen overflows"] += s.Network.ListenOverflows
			sums["TCP segments sent again"] += s.Network.Retransmits
		})
	}
	var found []string
	for _, name := range sortedKeys(sums) {
		if n := sums[name]; n > 0 {
			found = append(found, count(n)+" "+plain(name))
		}
	}
	if len(found) == 0 {
		return "No packet was dropped or sent again, no listener overflowed."
	}
	return "Lost or repeated: " + strings.Join(found, ", ") + "."
}
