package evidence

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// gapOf is the reason why something could not be read; empty if there is no such gap.
func gapOf(list []Gap, what string) string {
	for _, gap := range list {
		if gap.What == what {
			return gap.Why
		}
	}
	return ""
}

func TestCores(t *testing.T) {
	t.Parallel()
	before := &state{cores: map[int]coreTimes{0: {user: 100, idle: 900}, 1: {idle: 5000}, 2: {idle: 7}, 5: {user: 50}, 6: {user: 3}}}
	now := &state{
		at: time.Unix(1, 0), mhz: map[int]float64{0: 3600},
		cores: map[int]coreTimes{0: {user: 150, system: 20, softirq: 10, irq: 5, steal: 5, idle: 910}, 1: {idle: 4998, user: 100}, 3: {user: 1}, 5: {user: 1}, 6: {user: 3}},
	}
	s := between(before, now)
	if want := (Core{ID: 0, User: .5, System: .2, SoftIRQ: .1, IRQ: .05, Steal: .05, Idle: .1, MHz: 3600}); s.Cores[0] != want {
		t.Errorf("%+v, want %+v", s.Cores[0], want)
	}
	if want := (Core{ID: 1, User: 1}); s.Cores[1] != want {
		t.Errorf("idle time put right: %+v, want %+v", s.Cores[1], want)
	}
	for what, want := range map[string]string{
		"host: core 2": "it was taken offline", "host: core 3": "it was not there before",
		"core 5: user":         "it went backwards: it was reset, or came round",
		"host: core 5, core 6": "the sample is shorter than the kernel's tick",
	} {
		if got := gapOf(s.Gaps, what); got != want {
			t.Errorf("%s: %q, want %q among %v", what, got, want, s.Gaps)
		}
	}
	if len(s.Cores) != 2 {
		t.Errorf("cores %+v", s.Cores)
	}
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	was := linkState{name: "eth1", counters: linkCounters{rxBytes: 1000, rxPackets: 10, rxDropped: 7}, driver: map[string]uint64{"rx0_packets": 5, "gone_errors": 1, "rx_buffers": 9, "temperature": 50}}
	is := linkState{
		name: "eth1", speedMbit: 1000,
		counters: linkCounters{rxBytes: 1000 + 1_226_000_00, rxPackets: 10 + 100_000, txBytes: 500, txPackets: 5, rxDropped: 3, rxMissed: 4, rxCRC: 1},
		driver:   map[string]uint64{"rx0_packets": 8, "new_errors": 100, "rx_buffers": 4, "temperature": 40, "still_packets": 0, "rx_pause_ctrl_phy": 2},
	}
	is.driver["tx_pause_ctrl_phy"], was.driver["tx_pause_ctrl_phy"], was.driver["rx_pause_ctrl_phy"] = 3, 0, 1
	before := &state{linked: true, links: map[int]linkState{2: was, 3: {name: "eth2"}}}
	now := &state{at: time.Time{}.Add(time.Second), linked: true, links: map[int]linkState{2: is, 4: {name: "eth3"}}}
	s := between(before, now)
	if len(s.Interfaces) != 1 {
		t.Fatalf("%+v", s.Interfaces)
	}
	got := s.Interfaces[0]
	if got.RXBytes != 122_600_000 || got.RXPackets != 100_000 || got.RXDropped != 0 || got.RXMissed != 4 || got.RXCRC != 1 {
		t.Errorf("%+v", got)
	}
	// 100,000 packets of 1,226 bytes and 24 between them are 1 Gbit, which is the line.
	if got.WireRX != 1_000_000_000 || got.WireTX != 8*(500+5*24) || math.Abs(got.Share-1) > 1e-12 {
		t.Errorf("on the wire %d and %d, share %v", got.WireRX, got.WireTX, got.Share)
	}
	if got.Pause != 4 || len(got.Driver) != 3 || got.Driver["rx0_packets"] != 3 {
		t.Errorf("pause %d, driver %v", got.Pause, got.Driver)
	}
	for what, want := range map[string]string{
		"eth1: rx_dropped, rx_buffers": "it went backwards: it was reset, or came round",
		"interfaces: eth2":             "it is gone", "interfaces: eth3": "it was not there before",
	} {
		if got := gapOf(s.Gaps, what); got != want {
			t.Errorf("%s: %q, want %q among %v", what, got, want, s.Gaps)
		}
	}
}

// A list of interfaces that could not be read does not mean that all are gone.
func TestUnreadLinksAreNotGone(t *testing.T) {
	t.Parallel()
	with := &state{linked: true, links: map[int]linkState{2: {name: "eth1"}}}
	without := &state{}
	for _, pair := range [][2]*state{{with, without}, {without, with}} {
		if s := between(pair[0], pair[1]); slices.ContainsFunc(s.Gaps, func(g Gap) bool { return strings.Contains(g.What, "eth1") }) {
			t.Errorf("gaps %v", s.Gaps)
		}
	}
}

// Of two disciplines with one handle, as mq's have, each is held against itself.
func TestQdiscs(t *testing.T) {
	t.Parallel()
	links := map[int]linkState{2: {name: "eth1"}}
	before := &state{links: links, qdiscs: []qdisc{
		{link: 2, kind: "fq_codel", handle: "0:", parent: "1:1", counters: qdiscCounters{bytes: 1000, packets: 10, drops: 5}},
		{link: 2, kind: "fq_codel", handle: "0:", parent: "1:2", counters: qdiscCounters{bytes: 77}},
		{link: 9, kind: "tbf", handle: "1:", parent: "root"},
	}}
	now := &state{links: links, qdiscs: []qdisc{
		{link: 2, kind: "fq_codel", handle: "0:", parent: "1:2", counters: qdiscCounters{bytes: 78, backlog: 3000, overlimits: 2, requeues: 1}},
		{link: 2, kind: "fq_codel", handle: "0:", parent: "1:1", counters: qdiscCounters{bytes: 4000, packets: 12, drops: 2}},
		{link: 2, kind: "tbf", handle: "8001:", parent: "root", counters: qdiscCounters{bytes: 10}},
		{link: 9, kind: "tbf", handle: "1:", parent: "root"},
	}}
	s := between(before, now)
	want := []QdiscTraffic{
		{Interface: "eth1", Kind: "fq_codel", Handle: "0:", Parent: "1:2", Bytes: 1, Backlog: 3000, Overlimits: 2, Requeues: 1},
		{Interface: "eth1", Kind: "fq_codel", Handle: "0:", Parent: "1:1", Bytes: 3000, Packets: 2},
	}
	if !slices.Equal(s.Qdiscs, want) {
		t.Errorf("%+v, want %+v", s.Qdiscs, want)
	}
	if gapOf(s.Gaps, "eth1 fq_codel 0:: drops") == "" {
		t.Errorf("drops went back, and no gap says so: %v", s.Gaps)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	before := &state{softnet: softnet{5, 9}, stack: map[string]uint64{
		"TcpExt ListenOverflows": 1, "TcpExt ListenDrops": 1, "Tcp OutSegs": 100, "Tcp RetransSegs": 50,
		"Udp RcvbufErrors": 3, "Udp6RcvbufErrors": 4, "Udp SndbufErrors": 0,
	}}
	now := &state{softnet: softnet{7, 9}, gauges: Network{Conntrack: 8, ConntrackMax: 10}, stack: map[string]uint64{
		"TcpExt ListenOverflows": 3, "TcpExt ListenDrops": 4, "Tcp OutSegs": 1100, "Tcp RetransSegs": 20,
		"Udp RcvbufErrors": 10, "Udp6RcvbufErrors": 24,
	}}
	s := between(before, now)
	want := Network{SoftnetDropped: 2, ListenOverflows: 2, ListenDrops: 3, Segments: 1000, UDPRcvbufErrors: 27, Conntrack: 8, ConntrackMax: 10}
	if s.Network != want {
		t.Errorf("%+v, want %+v", s.Network, want)
	}
	if gapOf(s.Gaps, "network stack: Tcp RetransSegs") == "" || gapOf(s.Gaps, "network stack: Udp SndbufErrors") != "it does not say" {
		t.Errorf("gaps %v", s.Gaps)
	}
}

// Whatever the counters were, no difference is larger than what there is now, and what
// went backwards is 0 and named.
func TestDifferencesAreModest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		was, is := rapid.Uint64().Draw(t, "was"), rapid.Uint64().Draw(t, "is")
		var missing gaps
		got := tally{"eth0", &missing}.since("bytes", was, is)
		if got > is || is >= was && (got != is-was || len(missing) > 0) || is < was && (got != 0 || len(missing) != 1) {
			t.Fatalf("from %d to %d: %d, gaps %v", was, is, got, missing)
		}
	})
}

// A driver that starts anew sets thousands of counters back. The line that says so ends.
func TestGapsEnd(t *testing.T) {
	t.Parallel()
	var missing gaps
	for i := range 5000 {
		missing.say("eth0", fmt.Sprintf("rx%d_packets", i), "reset")
		missing.say("eth0", "governor", "other")
	}
	if len(missing) != 2 || len(missing[0].What) > 300 || !strings.HasSuffix(missing[0].What, ", …") || missing[1].What != "eth0: governor" {
		t.Errorf("%d gaps, %v", len(missing), missing)
	}
}

func TestTelling(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"rx_out_of_buffer": true, "rx_no_dma_resources": true, "tx_queue_3_packets": true, "rx7_packets": true, "link_xoff_rx.nic": true,
		"rx_missed_errors": true, "rx_discards_phy": true, "tx_timeout_count": true, "port.rx_dropped": true, "rx_queue_0_drops": true,
		"temperature": false, "rx_queue_3_bytes": false, "ch0_poll": false, "fdir_match": false, "peer_ifindex": false,
	} {
		if telling(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for _, name := range slices.Concat(pauseCounters, missedCounters) {
		if !telling(name) {
			t.Errorf("%s is asked for elsewhere, and left out", name)
		}
	}
}
