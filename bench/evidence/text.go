package evidence

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plain is text as it is, or quoted if a terminal could take it for more than text:
// interfaces may have names with control characters, and devices name themselves.
func plain(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) >= 0 {
		return strconv.Quote(text)
	}
	return text
}

// page gathers lines of a name and what it is, aligned.
type page struct{ bytes.Buffer }

func (p *page) row(name, format string, args ...any) {
	fmt.Fprintf(p, "%-12s  %s\n", plain(name), plain(fmt.Sprintf(format, args...)))
}

func (p *page) under(name, format string, args ...any) { p.row("  "+name, format, args...) }

// Text writes the host for people: what it is, its interfaces, and what could not be
// read.
func (h Host) Text(w io.Writer) error {
	var p page
	p.row("host", "%s, %s", cmp.Or(h.Name, "unnamed"), cmp.Or(h.Kernel, "kernel unknown"))
	p.row("processor", "%s", h.processor())
	p.row("memory", "%.1f GiB; %s files a process", float64(h.MemoryKiB)/(1<<20), files(h.Files))
	for _, in := range h.Interfaces {
		p.WriteByte('\n')
		in.text(&p)
	}
	gapsText(&p, h.Gaps)
	_, err := p.WriteTo(w)
	return err
}

func (h Host) processor() string {
	text := fmt.Sprintf("%s, %s, %s", cmp.Or(h.CPU, "unknown"), count(h.Cores, "core"), count(h.Nodes, "NUMA node"))
	if len(h.Allowed) < h.Cores {
		text += fmt.Sprintf("; %d may be used", len(h.Allowed))
	}
	if h.Quota > 0 {
		text += fmt.Sprintf("; quota of %.2f", h.Quota)
	}
	if h.Governor != "" {
		text += "; " + h.Governor
	}
	if h.Hypervisor != "" {
		text += "; virtual machine (" + h.Hypervisor + ")"
	}
	return text
}

func (in Interface) text(p *page) {
	state := "down"
	if in.Up {
		state = "up"
	}
	p.row(in.Name, "%s, %s, MTU %d, %s", in.kindWords(), state, in.MTU, in.lineRate())
	if in.Driver != "" {
		node := ""
		if in.Node >= 0 {
			node = fmt.Sprintf("; NUMA node %d", in.Node)
		}
		p.under("driver", "%s%s%s%s", in.Driver, after(" ", in.Version), after("; firmware ", in.Firmware), after("; ", in.Bus)+node)
	}
	queues := fmt.Sprintf("rx %d, tx %d", in.Queues.RX, in.Queues.TX)
	if in.ChannelsMax > 0 {
		queues += fmt.Sprintf("; channels %d of %d", in.Channels, in.ChannelsMax)
	}
	if in.RingsMax != (Pair{}) {
		queues += fmt.Sprintf("; rings rx %d of %d, tx %d of %d", in.Rings.RX, in.RingsMax.RX, in.Rings.TX, in.RingsMax.TX)
	}
	if len(in.Indirection) > 0 {
		used := len(slices.Compact(slices.Sorted(slices.Values(in.Indirection))))
		queues += fmt.Sprintf("; RSS to %d of them, table of %d", used, len(in.Indirection))
	}
	p.under("queues", "%s", queues)
	in.offloadsText(p)
	if in.Pause != "" {
		p.under("pause", "%s", in.Pause)
	}
	if len(in.Interrupts) > 0 {
		p.under("interrupts", "%s", interruptWords(in.Interrupts))
	}
	for _, q := range in.Qdiscs {
		p.under("qdisc", "%s", q.words())
	}
}

// offloadsText leaves out those of bridges and the like, which nothing passes that a
// card has not seen.
func (in Interface) offloadsText(p *page) {
	if !card(in.Kind) && in.Kind != "veth" {
		return
	}
	for _, on := range []bool{true, false} {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(in.Offloads)) {
			if in.Offloads[name] == on {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			p.under(map[bool]string{true: "on", false: "off"}[on], "%s", strings.Join(names, " "))
		}
	}
}

func (in Interface) kindWords() string {
	if in.Kind == "physical" {
		return in.Kind
	}
	return "virtual (" + in.Kind + ")"
}

func (in Interface) lineRate() string {
	if in.SpeedMbit == 0 {
		return "line rate unknown"
	}
	return "line rate " + rate(uint64(in.SpeedMbit)*1_000_000) + after(", duplex ", in.Duplex)
}

func (q Qdisc) words() string {
	text := q.Kind + " " + q.Handle
	if q.Parent != "root" {
		text += " parent"
	}
	text += " " + q.Parent
	if q.RateBit > 0 {
		text += ", held to " + rate(q.RateBit)
	}
	return text
}

// interruptWords says how many lines each core takes.
func interruptWords(lines []Interrupt) string {
	taken := make(map[string]int)
	for _, line := range lines {
		taken[cmp.Or(line.Effective, line.Cores)]++
	}
	var parts []string
	for _, cores := range slices.Sorted(maps.Keys(taken)) {
		parts = append(parts, fmt.Sprintf("%d on core %s", taken[cores], cores))
	}
	return strings.Join(parts, ", ")
}

// Text writes what happened in a sample: one line for the cores, one for each interface,
// and what was dropped, if anything was.
func (s Sample) Text(w io.Writer) error {
	var p page
	p.row(s.At.Format(time.TimeOnly), "%s", s.coreWords())
	seconds := s.Took.Seconds()
	for _, t := range s.Interfaces {
		if seconds <= 0 {
			break
		}
		text := fmt.Sprintf("rx %s %.0f packets/s, tx %s %.0f packets/s", rate(uint64(float64(8*t.RXBytes)/seconds)),
			float64(t.RXPackets)/seconds, rate(uint64(float64(8*t.TXBytes)/seconds)), float64(t.TXPackets)/seconds)
		if t.Share > 0 {
			text += fmt.Sprintf(", %.1f %% of the line", 100*t.Share)
		}
		p.under(t.Name, "%s%s", text, lost([]lossOf{
			{"rx dropped", t.RXDropped}, {"tx dropped", t.TXDropped}, {"missed", t.RXMissed},
			{"rx errors", t.RXErrors}, {"tx errors", t.TXErrors}, {"pause frames", t.Pause},
		}))
	}
	for _, q := range s.Qdiscs {
		if q.Drops+q.Overlimits+q.Requeues+q.Backlog > 0 {
			p.under(q.Interface, "%s %s%s", q.Kind, q.Handle, lost([]lossOf{
				{"dropped", q.Drops}, {"over its limit", q.Overlimits}, {"requeued", q.Requeues}, {"bytes waiting", q.Backlog},
			}))
		}
	}
	n := s.Network
	if text := lost([]lossOf{
		{"softnet dropped", n.SoftnetDropped}, {"softnet squeezed", n.SoftnetSqueezed}, {"listen overflows", n.ListenOverflows},
		{"retransmits", n.Retransmits}, {"UDP receive errors", n.UDPRcvbufErrors}, {"UDP send errors", n.UDPSndbufErrors},
	}); text != "" {
		p.under("network", "%s", strings.TrimPrefix(text, ", "))
	}
	for _, process := range s.Processes {
		p.under(process.Role, "%.2f cores, %.1f MiB, %d threads, %d files", process.Cores, float64(process.RSSKiB)/1024, process.Threads, process.Files)
	}
	gapsText(&p, s.Gaps)
	_, err := p.WriteTo(w)
	return err
}

func (s Sample) coreWords() string {
	var busiest Core
	idle, steal := 0.0, 0.0
	busiest.Idle = 1
	for _, core := range s.Cores {
		idle, steal = idle+core.Idle, steal+core.Steal
		if core.Idle < busiest.Idle {
			busiest = core
		}
	}
	if len(s.Cores) == 0 {
		return "cores not counted"
	}
	text := fmt.Sprintf("%.2f of %s busy; core %d most, %.0f %%, softirq %.0f %%", float64(len(s.Cores))-idle,
		count(len(s.Cores), "core"), busiest.ID, 100*(1-busiest.Idle), 100*busiest.SoftIRQ)
	if steal > 0 {
		text += fmt.Sprintf("; %.2f stolen", steal)
	}
	return text
}

// Text writes a piece of advice: what is, why it hurts, what mends it.
func (a Advice) Text(w io.Writer) error {
	about := ""
	if a.Interface != "" {
		about = plain(a.Interface) + ": "
	}
	_, err := fmt.Fprintf(w, "%s%s\n  %s\n  %s\n", about, plain(a.Finding), a.Why, plain(a.Command))
	return err
}

func gapsText(p *page, list []Gap) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(p, "\nnot read\n")
	for _, gap := range list {
		fmt.Fprintf(p, "  %s: %s\n", plain(gap.What), plain(gap.Why))
	}
}

// lossOf is a count that nobody wants to see.
type lossOf struct {
	name  string
	count uint64
}

func lost(counts []lossOf) (text string) {
	for _, c := range counts {
		if c.count > 0 {
			text += fmt.Sprintf(", %d %s", c.count, c.name)
		}
	}
	return text
}

func after(sign, text string) string {
	if text == "" {
		return ""
	}
	return sign + text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func files(n uint64) string {
	if n == math.MaxUint64 {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// rate is bits a second, in the largest unit that leaves a number in front.
func rate(bits uint64) string {
	for _, unit := range []struct {
		name string
		size uint64
	}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}} {
		if bits >= unit.size {
			return strconv.FormatFloat(float64(bits/(unit.size/100))/100, 'f', -1, 64) + " " + unit.name
		}
	}
	return strconv.FormatUint(bits, 10) + " bit/s"
}
