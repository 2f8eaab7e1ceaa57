package evidence

import (
	"fmt"
	"time"
)

// kernel answers what no file says. On Linux it is netlink and ethtool; in tests, a
// machine that nobody has.
type kernel interface {
	// links are the interfaces of the process's network namespace, with counters.
	links() ([]link, error)
	// qdiscs are the queueing disciplines, and the classes that have a rate.
	qdiscs() ([]qdisc, error)
	// describe fills in what the driver says, and calls missing for what it does not.
	describe(in *Interface, missing func(what string, err error))
	// counters are the driver's own, by its names.
	counters(name string) (map[string]uint64, error)
	// processor is the time that all threads of a process have had so far.
	processor(pid int) (time.Duration, error)
}

// link is an interface as netlink has it.
type link struct {
	index    int
	name     string
	address  string // the hardware's, as /sys writes it; may be empty
	loopback bool
	kind     string // as IFLA_INFO_KIND has it, tun and tap told apart; empty of what has a device
	bus      string // that the device is on: pci, virtio; empty if the kernel is old, or there is none
	mtu      int
	up       bool
	queues   Pair
	counters linkCounters
}

// linkCounters are the members of struct rtnl_link_stats64 that a Sample shows.
type linkCounters struct {
	rxBytes, txBytes, rxPackets, txPackets uint64
	rxDropped, txDropped, rxMissed         uint64
	rxErrors, txErrors, rxCRC              uint64
}

// qdisc is a queueing discipline or a class, with counters.
type qdisc struct {
	link           int // its index
	kind           string
	handle, parent string
	rateBit        uint64
	unread         bool // it has a rate, or may have, that this program does not decode
	counters       qdiscCounters
}

type qdiscCounters struct {
	bytes, packets, drops, overlimits, requeues uint64
	backlog                                     uint64 // a gauge
}

// The handles that stand for a place in the tree rather than a discipline.
const (
	handleRoot    = 0xFFFFFFFF
	handleIngress = 0xFFFFFFF1
)

// handle writes a 32 bit handle as tc does: 8001: is a discipline, 1:10 a class.
func handle(number uint32) string {
	switch number {
	case handleRoot:
		return "root"
	case handleIngress:
		return "ingress"
	}
	major, minor := number>>16, number&0xFFFF
	if minor == 0 {
		return fmt.Sprintf("%x:", major)
	}
	return fmt.Sprintf("%x:%x", major, minor)
}
