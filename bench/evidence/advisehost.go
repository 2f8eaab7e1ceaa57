package evidence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// hostRules are asked once.
var hostRules = []func(Host, Network) (Advice, bool){
	smallUDPBuffers("rmem_max", "receive"), smallUDPBuffers("wmem_max", "send"),
	shortListen, shortSYN, noCookies, trackingFull, savingPower, fewPorts, noReuse,
	smallTCPBuffers("tcp_rmem", 4<<20, "receive"), smallTCPBuffers("tcp_wmem", 4<<20, "send"),
	backlogDropped, budgetSpent, fewFiles,
}

// networkOf sums what was counted; of tracked connections it is the most that there
// were.
func networkOf(samples []Sample) (sum Network) {
	for _, s := range samples {
		n := s.Network
		sum.SoftnetDropped += n.SoftnetDropped
		sum.SoftnetSqueezed += n.SoftnetSqueezed
		sum.ListenOverflows += n.ListenOverflows
		sum.ListenDrops += n.ListenDrops
		sum.Conntrack = max(sum.Conntrack, n.Conntrack)
		sum.ConntrackMax = max(sum.ConntrackMax, n.ConntrackMax)
	}
	return sum
}

// sysctl is a setting's numbers; none if it was not read.
func (h Host) sysctl(name string) (all []int64) {
	for _, field := range strings.Fields(h.Sysctls[name]) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// below is whether a setting of one number was read and is less.
func (h Host) below(name string, least int64) bool {
	n := h.sysctl(name)
	return len(n) == 1 && n[0] < least
}

func set(name string, value any) string { return fmt.Sprintf("sysctl -w %s=%v", name, value) }

// smallUDPBuffers is about QUIC: a connection asks for 7 MiB, and gets what is allowed.
func smallUDPBuffers(setting, direction string) func(Host, Network) (Advice, bool) {
	const wanted = 7_500_000
	name := "net.core." + setting
	return func(h Host, _ Network) (Advice, bool) {
		return Advice{
			Finding: fmt.Sprintf("UDP sockets may have %s bytes to %s", h.Sysctls[name], direction),
			Why:     "QUIC loses packets in bursts, in the socket of a host that has time for them",
			Command: set(name, wanted),
		}, h.below(name, wanted)
	}
}

const deepListen = 4096

func shortListen(h Host, seen Network) (Advice, bool) {
	const name = "net.core.somaxconn"
	a := Advice{
		Finding: fmt.Sprintf("%s connections may wait to be accepted", h.Sysctls[name]),
		Why:     "when many devices come at once the rest is dropped, and tries again after a second",
		Command: set(name, deepListen),
	}
	if h.below(name, deepListen) {
		return a, true
	}
	if n := h.sysctl(name); len(n) == 1 && seen.ListenOverflows > 0 {
		a.Finding += fmt.Sprintf(", and %d found no room", seen.ListenOverflows)
		a.Command = set(name, 2*n[0])
		return a, true
	}
	return Advice{}, false
}

func shortSYN(h Host, _ Network) (Advice, bool) {
	const name, least = "net.ipv4.tcp_max_syn_backlog", 1024
	return Advice{
		Finding: fmt.Sprintf("%s half-open connections a listener", h.Sysctls[name]),
		Why:     "when many devices come at once the rest is dropped, or loses its options to SYN cookies",
		Command: set(name, deepListen),
	}, h.below(name, least)
}

func noCookies(h Host, _ Network) (Advice, bool) {
	const name = "net.ipv4.tcp_syncookies"
	return Advice{
		Finding: "SYN cookies are off",
		Why:     "a few thousand forged SYNs a second keep everybody else out",
		Command: set(name, 1),
	}, h.Sysctls[name] == "0"
}

// trackingFull is about the table of connections that a packet filter keeps.
func trackingFull(_ Host, seen Network) (Advice, bool) {
	const share = 0.8
	return Advice{
		Finding: fmt.Sprintf("%d of at most %d connections are tracked", seen.Conntrack, seen.ConntrackMax),
		Why:     "when the table is full new connections are dropped without a word",
		Command: set("net.netfilter.nf_conntrack_max", 2*seen.ConntrackMax),
	}, seen.ConntrackMax > 0 && float64(seen.Conntrack) >= share*float64(seen.ConntrackMax)
}

func savingPower(h Host, _ Network) (Advice, bool) {
	return Advice{
		Finding: "the frequency governor is " + h.Governor,
		Why:     "cores slow down between bursts: the same work takes longer at low load, and figures depend on what came before",
		Command: `for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > "$f"; done`,
	}, slices.Contains(strings.Split(h.Governor, ", "), "powersave")
}

func fewPorts(h Host, _ Network) (Advice, bool) {
	const name, least = "net.ipv4.ip_local_port_range", 28_000 // Linux's own has 28,232
	n := h.sysctl(name)
	if len(n) != 2 || n[1]-n[0] >= least {
		return Advice{}, false
	}
	return Advice{
		Finding: fmt.Sprintf("%d ports for outgoing connections (%d to %d)", n[1]-n[0]+1, n[0], n[1]),
		Why:     "no more than that many connections from one address to one service at a time, those that linger counted",
		Command: "sysctl -w net.ipv4.ip_local_port_range='10240 65535'",
	}, true
}

func noReuse(h Host, _ Network) (Advice, bool) {
	const name = "net.ipv4.tcp_tw_reuse"
	return Advice{
		Finding: "ports of ended connections are not used again for a minute",
		Why:     "a client that opens connections fast runs out of ports, some 470 a second to one service",
		Command: set(name, 1),
	}, h.Sysctls[name] == "0" && h.Sysctls["net.ipv4.tcp_timestamps"] != "0"
}

// smallTCPBuffers is about windows: a connection carries at most one a round trip.
func smallTCPBuffers(setting string, least int64, direction string) func(Host, Network) (Advice, bool) {
	name := "net.ipv4." + setting
	return func(h Host, _ Network) (Advice, bool) {
		n := h.sysctl(name)
		if len(n) != 3 || n[2] >= least {
			return Advice{}, false
		}
		return Advice{
			Finding: fmt.Sprintf("TCP may have at most %d bytes to %s", n[2], direction),
			Why:     fmt.Sprintf("one connection over 50 ms carries at most %.0f Mbit/s", float64(n[2])*8/0.05/1e6),
			Command: fmt.Sprintf("sysctl -w %s='%d %d %d'", name, n[0], n[1], least),
		}, true
	}
}

func backlogDropped(h Host, seen Network) (Advice, bool) {
	const name = "net.core.netdev_max_backlog"
	n := h.sysctl(name)
	if len(n) != 1 || seen.SoftnetDropped == 0 {
		return Advice{}, false
	}
	return Advice{
		Finding: fmt.Sprintf("the backlog of a core holds %d packets, and %d found no room", n[0], seen.SoftnetDropped),
		Why:     "packets that arrived are lost before any socket sees them",
		Command: set(name, max(4*n[0], deepListen)),
	}, true
}

func budgetSpent(h Host, seen Network) (Advice, bool) {
	const name, usual, often = "net.core.netdev_budget", 300, 100
	n := h.sysctl(name)
	if len(n) != 1 || n[0] > usual || seen.SoftnetSqueezed < often {
		return Advice{}, false
	}
	return Advice{
		Finding: fmt.Sprintf("cores left packets in the rings %d times after their budget of %d", seen.SoftnetSqueezed, n[0]),
		Why:     "packets wait for the next round although a core is at it",
		Command: set(name, 2*n[0]) + " " + "net.core.netdev_budget_usecs=8000",
	}, true
}

func fewFiles(h Host, _ Network) (Advice, bool) {
	const least = 65_536
	return Advice{
		Finding: fmt.Sprintf("a process may have %d files and sockets", h.Files),
		Why:     fmt.Sprintf("a tunnel takes two: no more than %d at a time", h.Files/2),
		Command: "ulimit -Hn 1048576 # in a unit of systemd: LimitNOFILE=1048576",
	}, h.Files > 0 && h.Files < least
}
