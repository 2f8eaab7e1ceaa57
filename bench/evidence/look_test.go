package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestLookAtCard(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "mlx5.txtar", mlx5()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "bench-a" || !strings.HasPrefix(h.Kernel, "Linux 6.8.0-45-generic ") || h.CPU != "Intel(R) Xeon(R) Gold 6334 CPU @ 3.60GHz" {
		t.Errorf("name %q, kernel %q, processor %q", h.Name, h.Kernel, h.CPU)
	}
	if h.Cores != 8 || !slices.Equal(h.Allowed, []int{2, 3, 4, 5, 6, 7}) || h.Nodes != 2 || h.Quota != 6 || h.Governor != "powersave" {
		t.Errorf("cores %d, allowed %v, nodes %d, quota %v, governor %q", h.Cores, h.Allowed, h.Nodes, h.Quota, h.Governor)
	}
	if h.MemoryKiB != 131072000 || h.Files != 20000 || h.Hypervisor != "" {
		t.Errorf("memory %d, files %d, hypervisor %q", h.MemoryKiB, h.Files, h.Hypervisor)
	}
	if h.Sysctls["net.ipv4.tcp_rmem"] != "4096 131072 6291456" || h.Sysctls["net.netfilter.nf_conntrack_max"] != "1000" {
		t.Errorf("sysctls %v", h.Sysctls)
	}
	in := h.Interfaces[1]
	mlx5().cards[in.Name](&in) // what the driver said has been kept
	want := h.Interfaces[1]
	if !reflect.DeepEqual(in, want) {
		t.Errorf("%+v, want %+v", want, in)
	}
	if in.Kind != "physical" || in.SpeedMbit != 100_000 || in.Duplex != "full" || in.Node != 1 || in.Queues != (Pair{4, 4}) {
		t.Errorf("kind %q, speed %d %s, node %d, queues %v", in.Kind, in.SpeedMbit, in.Duplex, in.Node, in.Queues)
	}
	if len(in.Interrupts) != 5 || in.Interrupts[1] != (Interrupt{121, "mlx5_comp0@pci:0000:3b:00.0", "0-7", "3"}) {
		t.Errorf("interrupts %+v", in.Interrupts)
	}
	if !slices.Equal(in.XPS, []string{"01", "02", "04", "08"}) || !slices.Equal(in.RPS, []string{"00", "00", "00", "00"}) {
		t.Errorf("XPS %v, RPS %v", in.XPS, in.RPS)
	}
	if !slices.Contains(in.Qdiscs, Qdisc{"htb class", "1:10", "root", 40e9}) {
		t.Errorf("qdiscs %v", in.Qdiscs)
	}
	want2 := []Gap{
		{What: "lo: driver, rings, channels", Why: "the driver does not offer it"},
		{What: "veth0: driver, rings, channels", Why: "the driver does not offer it"},
		{What: "veth0: rate of cake", Why: "it is not decoded"},
	}
	for _, gap := range want2 {
		if !slices.ContainsFunc(h.Gaps, func(g Gap) bool { return g.What == gap.What && g.Why == gap.Why }) {
			t.Errorf("no gap %v among %v", gap, h.Gaps)
		}
	}
}

// A Host is what a report keeps: nothing is lost on the way through JSON.
func TestHostIsRecord(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "ixgbe.txtar", ixgbe()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back Host
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for i := range h.Gaps {
		h.Gaps[i].subject = ""
	}
	if !reflect.DeepEqual(h, back) {
		t.Errorf("%+v\ncame back as\n%+v", h, back)
	}
}

// Of a host that shows nothing everything is a gap, and looking is no error.
func TestLookAtNothing(t *testing.T) {
	t.Parallel()
	nowhere := place{procRoot: t.TempDir(), sysRoot: t.TempDir(), kernel: &made{linkList: []link{loopback}, err: syscall.EPERM}}
	h, err := nowhere.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"interfaces: list, queueing disciplines|no rights to read it", "processors: online, NUMA nodes, allowed, governor|this kernel does not show it",
		"lo: /sys (speed, interrupts, queues)|this kernel does not show it",
	} {
		what, reason, _ := strings.Cut(want, "|")
		if !slices.ContainsFunc(h.Gaps, func(g Gap) bool { return g.What == what && g.Why == reason }) {
			t.Errorf("no gap %q among %+v", want, h.Gaps)
		}
	}
	if h.Cores != 0 || h.CPU != "" || len(h.Sysctls) != 0 {
		t.Errorf("something was made up: %+v", h)
	}
}

func TestLookEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lay(t, "ixgbe.txtar", ixgbe()).look(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after it was called off: %v", err)
	}
}

// Only what has a line has a line rate, whatever /sys says.
func TestKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		l      link
		device bool
		driver string
		want   string
	}{
		{link{loopback: true}, false, "", "loopback"},
		{link{kind: "veth"}, false, "veth", "veth"},
		{link{kind: "vlan"}, false, "802.1Q VLAN Support", "vlan"},
		{link{kind: "tap"}, false, "tun", "tap"},
		{link{bus: "virtio"}, true, "virtio_net", "virtio"},
		{link{}, true, "virtio_net", "virtio"},
		{link{bus: "pci"}, true, "vmxnet3", "vmxnet3"},
		{link{}, true, "ena", "ena"},
		{link{bus: "pci"}, true, "ixgbe", "physical"},
		{link{}, true, "ixgbe", "physical"},
		{link{bus: "usb"}, false, "r8152", "physical"},
		{link{}, false, "", "virtual"},
	} {
		if got := kindOf(c.l, c.device, c.driver); got != c.want {
			t.Errorf("%+v, device %v, driver %q: %s, want %s", c.l, c.device, c.driver, got, c.want)
		}
	}
}

// A driver that makes a speed up is in /sys like any other. So is a card's, down.
func TestSpeedIsNotGuessed(t *testing.T) {
	t.Parallel()
	paravirtual, down := mlx5(), mlx5()
	paravirtual.cards["ens1f0np0"] = func(in *Interface) { in.Driver = "vmxnet3" }
	down.linkList[1].up = false
	for name, k := range map[string]*made{"vmxnet3": paravirtual, "physical": down} {
		h, err := lay(t, "mlx5.txtar", k).look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if in := h.Interfaces[1]; in.Kind != name || in.SpeedMbit != 0 {
			t.Errorf("%s with %d Mbit/s, want %s and unknown", in.Kind, in.SpeedMbit, name)
		}
	}
	p := lay(t, "mlx5.txtar", mlx5())
	for _, text := range []string{"-1", "0", "4294967295", "fast"} {
		put(t, p.sys("class/net/ens1f0np0/speed"), text)
		if speed, err := p.speed("ens1f0np0"); speed != 0 || err == nil {
			t.Errorf("%q is %d, %v", text, speed, err)
		}
	}
}

// A /sys of another namespace has an interface of that name, and it is another one.
func TestForeignSys(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*link){
		"index":   func(l *link) { l.index = 7 },
		"address": func(l *link) { l.address = "02:00:00:00:00:09" },
		"name":    func(l *link) { l.name = "../net/ens1f0np0" },
	} {
		k := mlx5()
		change(&k.linkList[1])
		h, err := lay(t, "mlx5.txtar", k).look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if in := h.Interfaces[1]; in.SpeedMbit != 0 || in.Interrupts != nil {
			t.Errorf("another %s: speed %d, %d interrupts", what, in.SpeedMbit, len(in.Interrupts))
		}
	}
}

func TestHypervisor(t *testing.T) {
	t.Parallel()
	p := place{sysRoot: t.TempDir()}
	if got := p.hypervisor(false); got != "" {
		t.Errorf("real: %q", got)
	}
	if got := p.hypervisor(true); got != "unnamed" {
		t.Errorf("nothing shown: %q", got)
	}
	put(t, p.sys("class/dmi/id/sys_vendor"), "QEMU\n")
	put(t, p.sys("class/dmi/id/product_name"), "Standard PC (Q35 + ICH9, 2009)\n")
	if got := p.hypervisor(true); got != "QEMU Standard PC (Q35 + ICH9, 2009)" {
		t.Errorf("qemu: %q", got)
	}
	put(t, p.sys("hypervisor/type"), "xen\n")
	if got := p.hypervisor(true); got != "xen" {
		t.Errorf("xen: %q", got)
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "open", Path: "/secret/path", Err: syscall.EACCES}, "no rights to read it"},
		{syscall.EPERM, "no rights to read it"},
		{syscall.ENOENT, "this kernel does not show it"},
		{syscall.EOPNOTSUPP, "the driver does not offer it"},
		{syscall.ENODEV, "no such device"},
		{&fs.PathError{Op: "read", Path: "/secret/path", Err: syscall.EINVAL}, "invalid argument"},
		{errNotThere, "it does not say"},
	} {
		if got := why(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
