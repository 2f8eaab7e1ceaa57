package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Advise names the settings that are known to hurt a gateway or a benchmark of one, with
// the figure that was found and the command that mends it. Some settings hurt only those
// who run into them, so they are named only if the samples show that somebody did.
//
// A virtual interface is not advised like a card: its rings, interrupts and offloads are
// the host's beneath, or nobody's.
func Advise(h Host, samples []Sample) []Advice {
	var all []Advice
	for _, in := range h.Interfaces {
		seen := trafficOf(in.Name, samples)
		for _, rule := range cardRules {
			if a, found := rule(h, in, seen); found {
				a.Interface = in.Name
				all = append(all, a)
			}
		}
	}
	seen := networkOf(samples)
	for _, rule := range hostRules {
		if a, found := rule(h, seen); found {
			all = append(all, a)
		}
	}
	return all
}

// cardRules are asked for each interface. None is of use to one without a card.
var cardRules = []func(Host, Interface, Traffic) (Advice, bool){
	offloadsOff, groOff, lroForwarding, oneQueue, fewQueues, narrowTable, oneCore, smallRings,
}

// trafficOf sums what the rules want to know of an interface.
func trafficOf(name string, samples []Sample) (sum Traffic) {
	sum.Driver = make(map[string]uint64)
	for _, s := range samples {
		for _, t := range s.Interfaces {
			if t.Name != name {
				continue
			}
			sum.RXMissed += t.RXMissed
			sum.RXDropped += t.RXDropped
			for name, count := range t.Driver {
				sum.Driver[name] += count
			}
		}
	}
	return sum
}

// offloadsOff is about segmentation that the card, or the stack below the protocol, does
// a packet at a time.
func offloadsOff(_ Host, in Interface, _ Traffic) (Advice, bool) {
	if !card(in.Kind) {
		return Advice{}, false
	}
	var off, short []string
	for _, o := range []struct{ feature, short string }{
		{"tx-tcp-segmentation", "tso"}, {"tx-generic-segmentation", "gso"},
	} {
		if on, known := in.Offloads[o.feature]; known && !on {
			off, short = append(off, o.feature), append(short, o.short+" on")
		}
	}
	return Advice{
		Finding: strings.Join(off, " and ") + " off",
		Why:     "each packet goes through the whole stack by itself: several times the processor time a byte sent",
		Command: "ethtool -K " + quote(in.Name) + " " + strings.Join(short, " "),
	}, len(off) > 0
}

func groOff(_ Host, in Interface, _ Traffic) (Advice, bool) {
	on, known := in.Offloads["rx-gro"]
	return Advice{
		Finding: "rx-gro off",
		Why:     "each packet received goes through the whole stack by itself, and is acknowledged so",
		Command: "ethtool -K " + quote(in.Name) + " gro on",
	}, card(in.Kind) && known && !on
}

func lroForwarding(h Host, in Interface, _ Traffic) (Advice, bool) {
	forwards := h.Sysctls["net.ipv4.ip_forward"] == "1" || h.Sysctls["net.ipv6.conf.all.forwarding"] == "1"
	return Advice{
		Finding: "rx-lro on, on a host that forwards",
		Why:     "the card merges packets past recovery: forwarded ones come out too large, or are dropped; GRO does the same and can be undone",
		Command: "ethtool -K " + quote(in.Name) + " lro off",
	}, in.Kind == "physical" && forwards && in.Offloads["rx-lro"]
}

// oneQueue is about a card that could use more queues than one, or whose queue could at
// least be shared out by RPS.
func oneQueue(h Host, in Interface, _ Traffic) (Advice, bool) {
	if !card(in.Kind) || h.Cores < 2 || in.Queues.RX != 1 || slices.ContainsFunc(in.RPS, anyCore) {
		return Advice{}, false
	}
	a := Advice{
		Finding: fmt.Sprintf("one receive queue on a host of %d cores", h.Cores),
		Why:     "one core takes all packets, and the interface is as fast as that core",
	}
	if in.ChannelsMax > 1 {
		a.Command = setChannels(in, min(h.Cores, in.ChannelsMax))
		return a, true
	}
	a.Command = "echo " + coreMask(h.Cores) + " > /sys/class/net/" + quote(in.Name) + "/queues/rx-0/rps_cpus"
	return a, true
}

// fewQueues is about a card that was told to use a small part of its queues.
func fewQueues(h Host, in Interface, _ Traffic) (Advice, bool) {
	could := min(h.Cores, in.ChannelsMax)
	return Advice{
		Finding: fmt.Sprintf("%d channels of %d, on a host of %d cores", in.Channels, in.ChannelsMax, h.Cores),
		Why:     "most cores take no packets",
		Command: setChannels(in, could),
	}, card(in.Kind) && in.Queues.RX > 1 && in.Channels > 1 && 2*in.Channels <= could
}

func setChannels(in Interface, n int) string {
	if in.Split {
		return fmt.Sprintf("ethtool -L %s rx %d tx %d", quote(in.Name), n, n)
	}
	return fmt.Sprintf("ethtool -L %s combined %d", quote(in.Name), n)
}

// narrowTable is about a table that leaves queues out which have interrupts and buffers.
func narrowTable(_ Host, in Interface, _ Traffic) (Advice, bool) {
	used := len(slices.Compact(slices.Sorted(slices.Values(in.Indirection))))
	spread := min(in.Queues.RX, len(in.Indirection))
	return Advice{
		Finding: fmt.Sprintf("the RSS table names %d of %d receive queues", used, in.Queues.RX),
		Why:     "the other queues, and their cores, take no packets",
		Command: fmt.Sprintf("ethtool -X %s equal %d", quote(in.Name), spread),
	}, in.Kind == "physical" && used > 0 && 2*used <= spread
}

// oneCore is about queues whose interrupts all go to the same core.
func oneCore(h Host, in Interface, _ Traffic) (Advice, bool) {
	if in.Kind != "physical" || h.Cores < 2 {
		return Advice{}, false
	}
	var queues []Interrupt
	var cores []int
	for _, line := range in.Interrupts {
		if !ofQueue(line.Name, in.Name) {
			continue
		}
		takes, err := parseList(cmp.Or(line.Effective, line.Cores))
		if err != nil || len(takes) == 0 {
			return Advice{}, false
		}
		queues, cores = append(queues, line), append(cores, takes...)
	}
	slices.Sort(cores)
	if len(queues) < 2 || len(slices.Compact(cores)) > 1 {
		return Advice{}, false
	}
	var numbers []string
	for _, line := range queues {
		numbers = append(numbers, strconv.Itoa(line.Number))
	}
	return Advice{
		Finding: fmt.Sprintf("all %d interrupts of its queues go to core %d", len(queues), cores[0]),
		Why:     "one core takes all packets, however many queues there are; irqbalance, if it runs, undoes what is set by hand",
		Command: fmt.Sprintf("core=0; for irq in %s; do echo $((core %% %d)) > /proc/irq/$irq/smp_affinity_list; core=$((core + 1)); done",
			strings.Join(numbers, " "), h.Cores),
	}, true
}

// ofQueue tells the interrupts of queues from those for mailboxes, links and errors.
func ofQueue(interrupt, name string) bool {
	if interrupt == name {
		return false
	}
	for _, other := range []string{"async", "config", "control", "event", "fdir", "mbx", "misc", "pages", "cmd", "mgmt"} {
		if strings.Contains(strings.ToLower(interrupt), other) {
			return false
		}
	}
	return true
}

// missedCounters are what drivers call packets for which the ring had no room.
var missedCounters = []string{
	"rx_out_of_buffer", "rx_discards_phy", // mlx5
	"rx_no_dma_resources", "rx_missed_errors", // ixgbe, igb
	"port.rx_dropped", "rx_dropped.nic", // i40e, ice
	"rx_total_discard_pkts", "rx_no_buffer_count", // bnxt, e1000e
}

// smallRings needs a sample: a small ring that never ran over is a good one.
func smallRings(_ Host, in Interface, seen Traffic) (Advice, bool) {
	missed := seen.RXMissed
	for _, name := range missedCounters {
		missed = max(missed, seen.Driver[name])
	}
	return Advice{
		Finding: fmt.Sprintf("the receive rings hold %d of at most %d packets, and %d found no room", in.Rings.RX, in.RingsMax.RX, missed),
		Why:     "a core that is late for a moment loses packets, and TCP slows down for it",
		Command: fmt.Sprintf("ethtool -G %s rx %d", quote(in.Name), in.RingsMax.RX),
	}, in.Kind == "physical" && missed > 0 && in.Rings.RX > 0 && 2*in.Rings.RX <= in.RingsMax.RX
}

// anyCore is whether a mask of cores names one.
func anyCore(mask string) bool { return strings.Trim(mask, "0,") != "" }

// coreMask is the mask of the first cores, as /sys takes it: words of 32 bits, in hex.
func coreMask(cores int) string {
	words := []string{}
	if rest := cores % 32; rest > 0 {
		words = append(words, strconv.FormatUint(1<<rest-1, 16))
	}
	for range cores / 32 {
		words = append(words, "ffffffff")
	}
	return strings.Join(words, ",")
}

// quote makes a name one word of a shell's. Interfaces may be called nearly anything.
func quote(name string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@", r)
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !safe(r) }) < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
