package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/bench/evidence"
)

// hostView is a host as the page shows it: everything is text already.
type hostView struct {
	Title      string
	Facts      [][2]string
	Interfaces []interfaceView
	More       int // interfaces that are not shown
	Sysctls    [][2]string
	Gaps       []string
}

type interfaceView struct {
	Name, Kind, Driver, Rate string
	Facts                    [][2]string
}

// shownInterfaces bounds the interfaces of one host; a host of containers has hundreds.
const shownInterfaces = 12

func (r *Report) hosts() []hostView {
	var out []hostView
	for i := range r.Hosts {
		h := &r.Hosts[i]
		v := hostView{Title: plain(h.Role) + " (" + plain(h.Name) + ")", Facts: h.facts()}
		for _, n := range sortedInterfaces(h.Interfaces) {
			if len(v.Interfaces) == shownInterfaces {
				v.More = len(h.Interfaces) - shownInterfaces
				break
			}
			v.Interfaces = append(v.Interfaces, viewInterface(n))
		}
		for _, name := range sortedKeys(h.Sysctls) {
			v.Sysctls = append(v.Sysctls, [2]string{plain(name), plain(h.Sysctls[name])})
		}
		for _, g := range h.Gaps {
			v.Gaps = append(v.Gaps, plain(g.What)+": "+plain(g.Why))
		}
		out = append(out, v)
	}
	return out
}

func (h *Host) facts() [][2]string {
	cores := count(int64(h.Cores))
	if n := len(h.Allowed); n > 0 && n != h.Cores {
		cores += ", " + count(int64(n)) + " allowed"
	}
	facts := [][2]string{
		{"Processor", plain(h.CPU)},
		{"Cores", cores},
		{"NUMA nodes", count(int64(h.Nodes))},
		{"Memory", quantity(float64(h.MemoryKiB), "KiB")},
		{"Kernel", plain(h.Kernel)},
		{"Hypervisor", plain(h.Hypervisor)},
		{"Governor", plain(h.Governor)},
		{"Descriptors", grouped(fmt.Sprint(h.Files))},
		{"Clock", fmt.Sprintf("%s off, give or take %s", took(h.Offset), took(h.Uncertain))},
	}
	return slices.DeleteFunc(facts, func(f [2]string) bool { return f[1] == "" })
}

// sortedInterfaces has the physical first, then the virtual that are up, then the rest.
func sortedInterfaces(all []evidence.Interface) []*evidence.Interface {
	var out []*evidence.Interface
	for i := range all {
		out = append(out, &all[i])
	}
	rank := func(i *evidence.Interface) int {
		switch {
		case i.Kind == "loopback":
			return 3
		case !i.Up:
			return 2
		case i.Kind == "physical":
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b *evidence.Interface) int { return rank(a) - rank(b) })
	return out
}

func viewInterface(i *evidence.Interface) interfaceView {
	v := interfaceView{Name: plain(i.Name), Kind: plain(i.Kind), Driver: plain(i.Driver), Rate: "line rate unknown"}
	if i.SpeedMbit > 0 {
		v.Rate = tickOf("Mbit/s")(float64(i.SpeedMbit))
	}
	if !i.Up {
		v.Rate = "down"
	}
	on, off := offloads(i.Offloads)
	v.Facts = slices.DeleteFunc([][2]string{
		{"Driver", strings.TrimSpace(strings.Join(plainAll([]string{i.Driver, i.Version}), " "))},
		{"Firmware", plain(i.Firmware)},
		{"Bus", plain(i.Bus)},
		{"Duplex", plain(i.Duplex)},
		{"MTU", count(int64(i.MTU))},
		{"Queues", both(i.Queues)},
		{"Channels", of(i.Channels, i.ChannelsMax)},
		{"Rings", rings(i)},
		{"RSS table", indirection(i.Indirection)},
		{"Qdiscs", qdiscs(i.Qdiscs)},
		{"Offloads on", on},
		{"Offloads off", off},
		{"Interrupts", interrupts(i.Interrupts)},
		{"XPS", strings.Join(plainAll(i.XPS), " ")},
		{"RPS", strings.Join(plainAll(i.RPS), " ")},
	}, func(f [2]string) bool { return f[1] == "" })
	return v
}

func offloads(all map[string]bool) (on, off string) {
	var sets [2][]string
	for _, name := range sortedKeys(all) {
		n := 1
		if all[name] {
			n = 0
		}
		sets[n] = append(sets[n], plain(name))
	}
	return strings.Join(sets[0], ", "), strings.Join(sets[1], ", ")
}

func both(p evidence.Pair) string {
	if p == (evidence.Pair{}) {
		return ""
	}
	return fmt.Sprintf("%s rx, %s tx", count(int64(p.RX)), count(int64(p.TX)))
}

func of(n, most int) string {
	switch {
	case n == 0 && most == 0:
		return ""
	case most == 0:
		return count(int64(n))
	}
	return fmt.Sprintf("%s of %s", count(int64(n)), count(int64(most)))
}

func rings(i *evidence.Interface) string {
	if i.Rings == (evidence.Pair{}) {
		return ""
	}
	return fmt.Sprintf("%s rx, %s tx", of(i.Rings.RX, i.RingsMax.RX), of(i.Rings.TX, i.RingsMax.TX))
}

func indirection(table []uint32) string {
	if len(table) == 0 {
		return ""
	}
	queues := make(map[uint32]bool)
	for _, q := range table {
		queues[q] = true
	}
	return fmt.Sprintf("%s over %s", count(int64(len(table)))+" entries", plural(int64(len(queues)), "queue"))
}

func qdiscs(all []evidence.Qdisc) string {
	var out []string
	for _, q := range all {
		s := plain(q.Kind) + " " + plain(q.Handle)
		if q.RateBit > 0 {
			s += " held to " + tickOf("Mbit/s")(float64(q.RateBit)/1e6)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// interrupts says how many there are and where they may be taken.
func interrupts(all []evidence.Interrupt) string {
	if len(all) == 0 {
		return ""
	}
	where := make(map[string]int)
	for _, i := range all {
		where[plain(i.Cores)]++
	}
	var parts []string
	for _, cores := range sortedKeys(where) {
		if len(parts) == 16 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%d on %s", where[cores], cores))
	}
	return strings.Join(parts, ", ")
}
