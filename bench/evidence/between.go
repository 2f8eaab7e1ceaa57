package evidence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// between is what happened from one state to another of the same host.
func between(before, now *state) Sample {
	s := Sample{At: now.at, Took: now.at.Sub(before.at), MemoryFree: now.available, Gaps: slices.Clone(now.missing)}
	missing := (*gaps)(&s.Gaps)
	if before != now { // else it is the base, and no time has gone anywhere
		s.Cores = coresBetween(before, now, missing)
	}
	s.Interfaces = linksBetween(before, now, s.Took, missing)
	s.Qdiscs = qdiscsBetween(before, now, missing)
	s.Network = stackBetween(before, now, missing)
	s.Processes = processesBetween(before, now, s.Took, missing)
	return s
}

// tally makes differences of one subject's counters and keeps count of those that went
// backwards.
type tally struct {
	subject string
	missing *gaps
}

func (t tally) since(name string, before, now uint64) uint64 {
	if now < before {
		t.missing.say(t.subject, name, "it went backwards: it was reset, or came round")
		return 0
	}
	return now - before
}

func coresBetween(before, now *state, missing *gaps) (cores []Core) {
	for _, id := range slices.Sorted(maps.Keys(now.cores)) {
		was, is := before.cores[id], now.cores[id]
		if _, there := before.cores[id]; !there {
			missing.say("host", fmt.Sprintf("core %d", id), "it was not there before")
			continue
		}
		t := tally{fmt.Sprintf("core %d", id), missing}
		spent := coreTimes{
			user: t.since("user", was.user, is.user), system: t.since("system", was.system, is.system),
			softirq: t.since("softirq", was.softirq, is.softirq), irq: t.since("irq", was.irq, is.irq),
			steal: t.since("steal", was.steal, is.steal), idle: t.idleSince(was.idle, is.idle),
		}
		if spent.all() == 0 {
			missing.say("host", t.subject, "the sample is shorter than the kernel's tick")
			continue
		}
		all := float64(spent.all())
		cores = append(cores, Core{
			ID: id, MHz: now.mhz[id], User: float64(spent.user) / all, System: float64(spent.system) / all,
			SoftIRQ: float64(spent.softirq) / all, IRQ: float64(spent.irq) / all,
			Steal: float64(spent.steal) / all, Idle: float64(spent.idle) / all,
		})
	}
	for _, id := range slices.Sorted(maps.Keys(before.cores)) {
		if _, there := now.cores[id]; !there {
			missing.say("host", fmt.Sprintf("core %d", id), "it was taken offline")
		}
	}
	return cores
}

// idleSince allows for one thing: while a core sleeps its idle time is reckoned, and
// may be put right by a few ticks afterwards.
func (t tally) idleSince(before, now uint64) uint64 {
	const corrected = 10
	if now < before && before-now <= corrected {
		return 0
	}
	return t.since("idle", before, now)
}

func linksBetween(before, now *state, took time.Duration, missing *gaps) (all []Traffic) {
	for _, index := range slices.Sorted(maps.Keys(now.links)) {
		was, there := before.links[index]
		is := now.links[index]
		if !there {
			if before.linked {
				missing.say("interfaces", plain(is.name), "it was not there before")
			}
			continue
		}
		all = append(all, linkBetween(was, is, took, missing))
	}
	for _, index := range slices.Sorted(maps.Keys(before.links)) {
		if _, there := now.links[index]; !there && now.linked {
			missing.say("interfaces", plain(before.links[index].name), "it is gone")
		}
	}
	return all
}

func linkBetween(was, is linkState, took time.Duration, missing *gaps) Traffic {
	t := tally{subjectOf(is.name), missing}
	b, n := was.counters, is.counters
	traffic := Traffic{
		Name:    is.name,
		RXBytes: t.since("rx_bytes", b.rxBytes, n.rxBytes), TXBytes: t.since("tx_bytes", b.txBytes, n.txBytes),
		RXPackets: t.since("rx_packets", b.rxPackets, n.rxPackets), TXPackets: t.since("tx_packets", b.txPackets, n.txPackets),
		RXDropped: t.since("rx_dropped", b.rxDropped, n.rxDropped), TXDropped: t.since("tx_dropped", b.txDropped, n.txDropped),
		RXErrors: t.since("rx_errors", b.rxErrors, n.rxErrors), TXErrors: t.since("tx_errors", b.txErrors, n.txErrors),
		RXMissed: t.since("rx_missed_errors", b.rxMissed, n.rxMissed), RXCRC: t.since("rx_crc_errors", b.rxCRC, n.rxCRC),
	}
	// Preamble and start (8), frame check sequence (4), gap between packets (12).
	const framing = 24
	traffic.WireRX = 8 * (traffic.RXBytes + framing*traffic.RXPackets)
	traffic.WireTX = 8 * (traffic.TXBytes + framing*traffic.TXPackets)
	if is.speedMbit > 0 && took > 0 {
		traffic.Share = float64(max(traffic.WireRX, traffic.WireTX)) / (took.Seconds() * float64(is.speedMbit) * 1e6)
	}
	for _, name := range slices.Sorted(maps.Keys(is.driver)) {
		had, there := was.driver[name]
		if !there || !telling(name) {
			continue // without one before, the number of queues has changed
		}
		if changed := t.since(name, had, is.driver[name]); changed > 0 {
			if traffic.Driver == nil {
				traffic.Driver = make(map[string]uint64)
			}
			traffic.Driver[name] = changed
		}
	}
	for name, frames := range traffic.Driver {
		if slices.Contains(pauseCounters, name) {
			traffic.Pause += frames
		}
	}
	return traffic
}

// trouble is what drivers' counters of trouble have in their names.
var trouble = []string{
	"abort", "buff", "busy", "collision", "crc", "discard", "drop", "err", "fail", "fifo", "flow_control", "hang", "lost",
	"miss", "no_dma", "overflow", "overrun", "pause", "recover", "reset", "stop", "timeout", "xoff",
}

// telling is whether a driver's counter is worth its place in a record, of which there
// is one a second: those of trouble, and packets by queue, which show whether one queue
// takes them all. A card may have thousands of others.
func telling(name string) bool {
	name = strings.ToLower(name)
	if strings.Contains(name, "packet") || strings.Contains(name, "pkt") {
		return true
	}
	return slices.ContainsFunc(trouble, func(part string) bool { return strings.Contains(name, part) })
}

// pauseCounters are what drivers call the pause frames of a port. Each has one of these
// pairs; counters by priority or of durations are not among them, as they would count
// the same frames again.
var pauseCounters = []string{
	"rx_pause_ctrl_phy", "tx_pause_ctrl_phy", // mlx5
	"rx_pause", "tx_pause", "rx_pause_frames", "tx_pause_frames", // mlx4, bnxt, others
	"rx_flow_control_xoff", "tx_flow_control_xoff", // e1000e, igb, igc, ixgbe
	"port.link_xoff_rx", "port.link_xoff_tx", // i40e
	"link_xoff_rx.nic", "link_xoff_tx.nic", // ice
}

func qdiscsBetween(before, now *state, missing *gaps) (all []QdiscTraffic) {
	type place struct {
		link                 int
		kind, handle, parent string
	}
	had := make(map[place]qdiscCounters)
	for _, q := range before.qdiscs {
		had[place{q.link, q.kind, q.handle, q.parent}] = q.counters
	}
	for _, q := range now.qdiscs {
		was, there := had[place{q.link, q.kind, q.handle, q.parent}]
		is := q.counters
		name := now.links[q.link].name
		if !there || name == "" {
			continue // it began, or its interface did, within the sample
		}
		t := tally{subjectOf(name) + " " + q.kind + " " + q.handle, missing}
		all = append(all, QdiscTraffic{
			Interface: name, Kind: q.kind, Handle: q.handle, Parent: q.parent, Backlog: is.backlog,
			Bytes: t.since("bytes", was.bytes, is.bytes), Packets: t.since("packets", was.packets, is.packets),
			Drops: t.since("drops", was.drops, is.drops), Overlimits: t.since("overlimits", was.overlimits, is.overlimits),
			Requeues: t.since("requeues", was.requeues, is.requeues),
		})
	}
	return all
}

func stackBetween(before, now *state, missing *gaps) Network {
	t := tally{"network stack", missing}
	sum := func(names ...string) (all uint64) {
		for _, name := range names {
			was, before := before.stack[name]
			is, there := now.stack[name]
			if before && there {
				all += t.since(name, was, is)
			} else if !there && !strings.Contains(name, "6") { // a kernel may be without IPv6
				missing.add(t.subject, name, errNotThere)
			}
		}
		return all
	}
	return Network{
		SoftnetDropped:  t.since("softnet dropped", before.softnet.dropped, now.softnet.dropped),
		SoftnetSqueezed: t.since("softnet time_squeeze", before.softnet.squeezed, now.softnet.squeezed),
		ListenOverflows: sum("TcpExt ListenOverflows"), ListenDrops: sum("TcpExt ListenDrops"),
		Segments: sum("Tcp OutSegs"), Retransmits: sum("Tcp RetransSegs"),
		UDPRcvbufErrors: sum("Udp RcvbufErrors", "Udp6RcvbufErrors"),
		UDPSndbufErrors: sum("Udp SndbufErrors", "Udp6SndbufErrors"),
		Conntrack:       now.gauges.Conntrack, ConntrackMax: now.gauges.ConntrackMax,
	}
}

// processesBetween leaves out processes that were not there at both ends. If one has
// ended, that stands in the Gaps already.
func processesBetween(before, now *state, took time.Duration, missing *gaps) (all []Process) {
	for i, w := range now.watched {
		was, is := before.processes[i], now.processes[i]
		if !is.there {
			continue
		}
		if !was.there {
			missing.say(watchedSubject(w), "all of it", "it was not there before")
			continue
		}
		p := Process{Role: w.Role, PID: w.PID, RSSKiB: is.rss, Threads: is.threads, Files: is.files, Allowed: is.allowed, Quota: is.quota}
		if took > 0 {
			p.Cores = max(0, (is.cpu-was.cpu).Seconds()/took.Seconds())
		}
		all = append(all, p)
	}
	return all
}
