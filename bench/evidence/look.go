package evidence

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Look says what this host is like. What cannot be read is among the host's Gaps; the
// only error is that ctx ended, as answers of a driver can take a while.
func Look(ctx context.Context) (Host, error) {
	p := here()
	if p.kernel == nil {
		h := Host{Cores: runtime.NumCPU(), Kernel: runtime.GOOS, Gaps: []Gap{notBuilt()}}
		h.Name, _ = os.Hostname()
		return h, ctx.Err()
	}
	return p.look(ctx)
}

func notBuilt() Gap {
	return Gap{What: "evidence", Why: "it is built for Linux, not for " + runtime.GOOS}
}

func (p place) look(ctx context.Context) (Host, error) {
	var missing gaps
	h := Host{Sysctls: make(map[string]string)}
	p.lookMachine(&h, &missing)
	p.lookProcessors(&h, &missing)
	p.lookSysctls(&h, &missing)
	err := p.lookInterfaces(ctx, &h, &missing)
	h.Gaps = missing
	return h, err
}

func (p place) lookMachine(h *Host, missing *gaps) {
	const subject = "host"
	for _, part := range []struct {
		what string
		file string
		into *string
	}{
		{"name", p.proc("sys/kernel/hostname"), &h.Name},
		{"kernel", p.proc("sys/kernel/osrelease"), &h.Kernel},
	} {
		var err error
		*part.into, err = word(part.file)
		missing.add(subject, part.what, err)
	}
	if h.Kernel != "" {
		h.Kernel = "Linux " + h.Kernel + " " + runtime.GOARCH
	}
	memory := read(missing, subject, "memory", p.proc("meminfo"), sure(parsePairs))
	h.MemoryKiB = int64(memory["MemTotal"])
	h.Files = read(missing, subject, "limit of descriptors", p.proc("self/limits"), parseFiles)
	h.Quota = p.quota("self", "host", missing)

	var virtual bool
	h.CPU = read(missing, subject, "processor", p.proc("cpuinfo"), func(text []byte) (model string, err error) {
		if model, virtual = parseProcessor(text); model == "" {
			err = errNotThere
		}
		return model, err
	})
	h.Hypervisor = p.hypervisor(virtual)
}

// hypervisor names what a virtual machine runs on, if it shows itself: Xen in
// /sys/hypervisor, others by what they write where a vendor's name would stand.
func (p place) hypervisor(virtual bool) string {
	if kind, err := word(p.sys("hypervisor/type")); err == nil && kind != "" {
		return kind
	}
	if !virtual {
		return ""
	}
	vendor, _ := word(p.sys("class/dmi/id/sys_vendor"))
	product, _ := word(p.sys("class/dmi/id/product_name"))
	if name := strings.TrimSpace(vendor + " " + product); name != "" {
		return name
	}
	return "unnamed"
}

func (p place) lookProcessors(h *Host, missing *gaps) {
	const subject = "processors"
	list := func(text []byte) ([]int, error) { return parseList(string(text)) }
	h.Cores = len(read(missing, subject, "online", p.sys("devices/system/cpu/online"), list))
	h.Nodes = len(read(missing, subject, "NUMA nodes", p.sys("devices/system/node/online"), list))
	h.Allowed = read(missing, subject, "allowed", p.proc("self/status"), parseAllowed)

	files, _ := filepath.Glob(p.sys("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
	var governors []string
	for _, file := range files {
		governor, err := word(file)
		missing.add(subject, "governor", err)
		if err == nil && !slices.Contains(governors, governor) {
			governors = append(governors, governor)
		}
	}
	if len(files) == 0 {
		missing.add(subject, "governor", os.ErrNotExist)
	}
	slices.Sort(governors)
	h.Governor = strings.Join(governors, ", ")
}

// quota is the least that the control groups (version 2) of a process grant it, from its
// own up to the outermost that is seen from here.
func (p place) quota(process, subject string, missing *gaps) (least float64) {
	const what = "quota of processor time"
	text, err := os.ReadFile(p.proc("%s/cgroup", process))
	if err != nil {
		missing.add(subject, what, err)
		return 0
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if slices.Contains(strings.Split(parts[1], ","), "cpu") {
			missing.say(subject, what, "control groups of version 1 are not read")
			return 0
		}
		if parts[0] != "0" {
			continue
		}
		for group := filepath.Clean("/" + parts[2]); ; group = filepath.Dir(group) {
			limit, err := os.ReadFile(p.sys("fs/cgroup%s/cpu.max", group))
			if err == nil { // the root has none
				cores, err := parseQuota(limit)
				missing.add(subject, what, err)
				if cores > 0 && (least == 0 || cores < least) {
					least = cores
				}
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// sysctls are the settings that a reader needs to understand a figure or to repeat it.
var sysctls = []string{
	"fs.file-max", "fs.nr_open",
	"net.core.busy_poll", "net.core.default_qdisc",
	"net.core.netdev_budget", "net.core.netdev_budget_usecs", "net.core.netdev_max_backlog",
	"net.core.rmem_default", "net.core.rmem_max", "net.core.rps_sock_flow_entries", "net.core.somaxconn",
	"net.core.wmem_default", "net.core.wmem_max",
	"net.ipv4.ip_forward", "net.ipv4.ip_local_port_range",
	"net.ipv4.tcp_congestion_control", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_max_orphans",
	"net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_mem", "net.ipv4.tcp_mtu_probing",
	"net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_rmem", "net.ipv4.tcp_sack", "net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_window_scaling",
	"net.ipv4.tcp_wmem", "net.ipv4.udp_mem",
	"net.ipv6.conf.all.forwarding",
}

func (p place) lookSysctls(h *Host, missing *gaps) {
	for _, name := range sysctls {
		value, err := word(p.proc("sys/%s", strings.ReplaceAll(name, ".", "/")))
		if err != nil {
			missing.add("sysctls", name, err)
			continue
		}
		h.Sysctls[name] = strings.Join(strings.Fields(value), " ")
	}
	// A kernel without connection tracking has no limit of it, and lacks nothing.
	if value, err := word(p.proc("sys/net/netfilter/nf_conntrack_max")); err == nil {
		h.Sysctls["net.netfilter.nf_conntrack_max"] = value
	}
}

func (p place) lookInterfaces(ctx context.Context, h *Host, missing *gaps) error {
	links, err := p.kernel.links()
	missing.add("interfaces", "list", err)
	qdiscs, err := p.kernel.qdiscs()
	missing.add("interfaces", "queueing disciplines", err)
	names := read(missing, "interfaces", "interrupts", p.proc("interrupts"), sure(parseInterrupts))
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("look at interfaces: %w", err)
		}
		in := p.lookInterface(l, names, missing)
		for _, q := range qdiscs {
			if q.link != l.index {
				continue
			}
			in.Qdiscs = append(in.Qdiscs, Qdisc{Kind: q.kind, Handle: q.handle, Parent: q.parent, RateBit: q.rateBit})
			if q.unread {
				missing.say(subjectOf(l.name), "rate of "+q.kind, "it is not decoded")
			}
		}
		h.Interfaces = append(h.Interfaces, in)
	}
	return ctx.Err()
}
