package evidence

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// asked is the kernel that this process runs on.
type asked struct {
	room *statistics // for counters; made when first needed
}

// dump asks netlink for a list until it was read in one piece: while interfaces come
// and go the kernel says that what it returned is not one moment's.
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	const tries = 5
	for range tries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, fmt.Errorf("interfaces kept changing: %w", err)
}

func (*asked) links() ([]link, error) {
	list, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list of interfaces: %w", err)
	}
	links := make([]link, 0, len(list))
	for _, l := range list {
		at := l.Attrs()
		kept := link{
			index: at.Index, name: at.Name, address: at.HardwareAddr.String(), kind: linkKind(l),
			bus: at.ParentDevBus, mtu: at.MTU, queues: Pair{at.NumRxQueues, at.NumTxQueues},
			loopback: at.Flags&net.FlagLoopback != 0,
			up:       at.OperState == netlink.OperUp || at.OperState == netlink.OperUnknown && at.Flags&net.FlagUp != 0,
		}
		if s := at.Statistics; s != nil {
			kept.counters = linkCounters{
				rxBytes: s.RxBytes, txBytes: s.TxBytes, rxPackets: s.RxPackets, txPackets: s.TxPackets,
				rxDropped: s.RxDropped, txDropped: s.TxDropped, rxMissed: s.RxMissedErrors,
				rxErrors: s.RxErrors, txErrors: s.TxErrors, rxCRC: s.RxCrcErrors,
			}
		}
		links = append(links, kept)
	}
	return links, nil
}

// linkKind is the kernel's name for a virtual interface; empty for a device.
func linkKind(l netlink.Link) string {
	switch l := l.(type) {
	case *netlink.Tuntap:
		if l.Mode == netlink.TUNTAP_MODE_TUN {
			return "tun"
		}
		return "tap"
	case *netlink.Device:
		return ""
	}
	return l.Type()
}

// undecoded are the kinds that may hold traffic to a rate that this program does not
// read.
var undecoded = []string{"cake", "hfsc", "cbq", "taprio", "mqprio", "qfq", "ets"}

func (*asked) qdiscs() ([]qdisc, error) {
	list, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("list of queueing disciplines: %w", err)
	}
	all := make([]qdisc, 0, len(list))
	for _, q := range list {
		at := q.Attrs()
		kept := qdisc{
			link: at.LinkIndex, kind: q.Type(), handle: handle(at.Handle), parent: handle(at.Parent),
			unread: slices.Contains(undecoded, q.Type()), counters: queueCounters((*netlink.ClassStatistics)(at.Statistics)),
		}
		switch q := q.(type) {
		case *netlink.Tbf:
			kept.rateBit = 8 * q.Rate
		case *netlink.Netem:
			kept.rateBit = 8 * q.Rate64
		}
		all = append(all, kept)
		if _, classes := q.(*netlink.Htb); classes {
			ceilings, err := htbClasses(at.LinkIndex)
			if err != nil {
				all[len(all)-1].unread = true
			}
			all = append(all, ceilings...)
		}
	}
	return all, nil
}

// htbClasses are the classes of an interface that htb holds to a ceiling.
func htbClasses(index int) ([]qdisc, error) {
	on := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	list, err := dump(func() ([]netlink.Class, error) { return netlink.ClassList(on, netlink.HANDLE_NONE) })
	if err != nil {
		return nil, fmt.Errorf("list of classes: %w", err)
	}
	var classes []qdisc
	for _, class := range list {
		htb, is := class.(*netlink.HtbClass)
		if !is {
			continue
		}
		classes = append(classes, qdisc{
			link: index, kind: "htb class", handle: handle(htb.Handle), parent: handle(htb.Parent),
			rateBit: 8 * htb.Ceil, counters: queueCounters(htb.Statistics),
		})
	}
	return classes, nil
}

func queueCounters(s *netlink.ClassStatistics) qdiscCounters {
	if s == nil || s.Basic == nil || s.Queue == nil {
		return qdiscCounters{}
	}
	return qdiscCounters{
		bytes: s.Basic.Bytes, packets: uint64(s.Basic.Packets), drops: uint64(s.Queue.Drops),
		overlimits: uint64(s.Queue.Overlimits), requeues: uint64(s.Queue.Requeues), backlog: uint64(s.Queue.Backlog),
	}
}
