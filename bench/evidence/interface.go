package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// paravirtual drivers have a device behind them that is no card: the speed that they
// report is a constant, or the host's.
var paravirtual = []string{"vmxnet3", "hv_netvsc", "xen_netfront", "vif", "ena", "gve", "mana", "ibmveth", "netdevsim"}

// kindOf tells interfaces apart. Only what is physical has a line.
func kindOf(l link, device bool, driver string) string {
	switch {
	case l.loopback:
		return "loopback"
	case l.kind != "":
		return l.kind
	case l.bus == "virtio" || driver == "virtio_net":
		return "virtio"
	case slices.Contains(paravirtual, driver):
		return driver
	case device || l.bus != "":
		return "physical"
	}
	return "virtual"
}

// card is whether there is hardware, real or made up, behind an interface: something
// with queues, a driver and counters of its own.
func card(kind string) bool {
	return kind == "physical" || kind == "virtio" || slices.Contains(paravirtual, kind)
}

// subjectOf names an interface in a Gap.
func subjectOf(name string) string { return plain(name) }

// shown is whether /sys shows this very interface. It may have been mounted in another
// network namespace, whose interfaces can have the same names.
func (p place) shown(l link) error {
	// A name is a file's name here. The kernel refuses these; a tree of files may not.
	if l.name == "" || l.name == "." || l.name == ".." || strings.ContainsRune(l.name, '/') {
		return os.ErrNotExist
	}
	index, err := word(p.sys("class/net/%s/ifindex", l.name))
	if err != nil {
		return err
	}
	address, err := word(p.sys("class/net/%s/address", l.name))
	if err != nil {
		return err
	}
	if index != strconv.Itoa(l.index) || l.address != "" && address != l.address {
		return errors.New("/sys shows another namespace's interfaces")
	}
	return nil
}

func (p place) lookInterface(l link, interruptNames map[int]string, missing *gaps) Interface {
	in := Interface{Name: l.name, MTU: l.mtu, Up: l.up, Queues: l.queues, Node: -1}
	subject := subjectOf(l.name)
	p.kernel.describe(&in, func(what string, err error) { missing.add(subject, what, err) })
	if err := p.shown(l); err != nil {
		missing.add(subject, "/sys (speed, interrupts, queues)", err)
		in.Kind = kindOf(l, false, in.Driver)
		return in
	}
	_, err := os.Stat(p.sys("class/net/%s/device", l.name))
	device := err == nil
	if in.Driver == "" {
		if to, err := os.Readlink(p.sys("class/net/%s/device/driver", l.name)); err == nil {
			in.Driver = filepath.Base(to)
		}
	}
	in.Kind = kindOf(l, device, in.Driver)
	if in.Kind == "physical" && !l.up {
		missing.say(subject, "line rate, duplex", "the link is down")
	} else if in.Kind == "physical" {
		in.SpeedMbit, err = p.speed(l.name)
		missing.add(subject, "line rate", err)
		in.Duplex, err = word(p.sys("class/net/%s/duplex", l.name))
		missing.add(subject, "duplex", err)
	}
	p.lookQueues(&in, subject, missing)
	if device {
		in.Node = p.node(l.name)
		in.Interrupts = p.interrupts(l.name, interruptNames, subject, missing)
	}
	return in
}

// speed is a line rate in Mbit/s. A link that is down has none, and drivers that do not
// know say -1.
func (p place) speed(name string) (int64, error) {
	text, err := word(p.sys("class/net/%s/speed", name))
	if err != nil {
		return 0, err
	}
	speed, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	const unknown = 1<<32 - 1
	if speed <= 0 || speed >= unknown {
		return 0, errNotThere
	}
	return speed, nil
}

// lookQueues reads the queues that are in use, and which cores they are tied to.
func (p place) lookQueues(in *Interface, subject string, missing *gaps) {
	files, err := os.ReadDir(p.sys("class/net/%s/queues", in.Name))
	if err != nil {
		missing.add(subject, "queues in use", err)
		return // netlink's count stays, which is of those that could be used
	}
	in.Queues = Pair{}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), "rx-") {
			in.Queues.RX++
		} else if strings.HasPrefix(file.Name(), "tx-") {
			in.Queues.TX++
		}
	}
	if !card(in.Kind) {
		return
	}
	for queue := range in.Queues.RX {
		mask, err := word(p.sys("class/net/%s/queues/rx-%d/rps_cpus", in.Name, queue))
		if err != nil {
			missing.add(subject, "RPS", err)
			break
		}
		in.RPS = append(in.RPS, mask)
	}
	if in.Queues.TX == 1 {
		return // there is nothing to choose, and the kernel refuses to say so
	}
	for queue := range in.Queues.TX {
		mask, err := word(p.sys("class/net/%s/queues/tx-%d/xps_cpus", in.Name, queue))
		if err != nil {
			missing.add(subject, "XPS", err)
			break
		}
		in.XPS = append(in.XPS, mask)
	}
}

// node is the NUMA node of a card; -1 for none. A virtio device is a child of the PCI
// device that has one.
func (p place) node(name string) int {
	for _, at := range []string{"device", "device/.."} {
		if text, err := word(p.sys("class/net/%s/%s/numa_node", name, at)); err == nil {
			if node, err := strconv.Atoi(text); err == nil {
				return node
			}
		}
	}
	return -1
}

// interrupts are the lines of a card, with the cores that may take them.
func (p place) interrupts(name string, names map[int]string, subject string, missing *gaps) (lines []Interrupt) {
	var numbers []int
	for _, at := range []string{"device", "device/.."} {
		files, err := os.ReadDir(p.sys("class/net/%s/%s/msi_irqs", name, at))
		if err != nil {
			continue
		}
		for _, file := range files {
			if number, err := strconv.Atoi(file.Name()); err == nil {
				numbers = append(numbers, number)
			}
		}
		break
	}
	if len(numbers) == 0 {
		missing.add(subject, "interrupts", os.ErrNotExist)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		if names[number] == "" {
			continue // set aside by the device, and used by nothing
		}
		line := Interrupt{Number: number, Name: names[number]}
		var err error
		if line.Cores, err = word(p.proc("irq/%d/smp_affinity_list", number)); err != nil {
			missing.add(subject, "cores of interrupts", err)
		}
		line.Effective, _ = word(p.proc("irq/%d/effective_affinity_list", number))
		lines = append(lines, line)
	}
	return lines
}
