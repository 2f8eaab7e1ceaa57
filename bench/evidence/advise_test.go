package evidence

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// commands are what mends a host, by interface and command.
func commands(h Host, samples ...Sample) (all []string) {
	for _, a := range Advise(h, samples) {
		all = append(all, strings.TrimPrefix(a.Interface+": "+a.Command, ": "))
	}
	return all
}

func TestAdviseUntuned(t *testing.T) {
	t.Parallel()
	k := mlx5()
	h, err := lay(t, "mlx5.txtar", k).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Interfaces[2].Offloads = map[string]bool{"tx-tcp-segmentation": false, "rx-gro": false} // of the veth pair
	got := commands(h,
		Sample{Interfaces: []Traffic{{Name: "ens1f0np0", Driver: map[string]uint64{"rx_out_of_buffer": 3}}}, Network: Network{Conntrack: 900, ConntrackMax: 1000, SoftnetDropped: 1}},
		Sample{Interfaces: []Traffic{{Name: "ens1f0np0", RXMissed: 4}}, Network: Network{Conntrack: 100, ConntrackMax: 1000, SoftnetSqueezed: 100}},
	)
	want := []string{
		"ens1f0np0: ethtool -K ens1f0np0 tso on",
		"ens1f0np0: ethtool -K ens1f0np0 gro on",
		"ens1f0np0: ethtool -K ens1f0np0 lro off",
		"ens1f0np0: ethtool -L ens1f0np0 combined 8",
		"ens1f0np0: ethtool -X ens1f0np0 equal 4",
		"ens1f0np0: core=0; for irq in 121 122 123 124; do echo $((core % 8)) > /proc/irq/$irq/smp_affinity_list; core=$((core + 1)); done",
		"ens1f0np0: ethtool -G ens1f0np0 rx 8192",
		"sysctl -w net.core.rmem_max=7500000",
		"sysctl -w net.core.wmem_max=7500000",
		"sysctl -w net.core.somaxconn=4096",
		"sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
		"sysctl -w net.netfilter.nf_conntrack_max=2000",
		`for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > "$f"; done`,
		"sysctl -w net.core.netdev_max_backlog=4096",
		"sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000",
		"ulimit -Hn 1048576 # in a unit of systemd: LimitNOFILE=1048576",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, a := range Advise(h, nil) {
		if a.Finding == "" || a.Why == "" || a.Command == "" {
			t.Errorf("%+v", a)
		}
	}
}

// A host that is set up well is left alone, traffic without drops included.
func TestAdviseTuned(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "ixgbe.txtar", ixgbe()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := Sample{Interfaces: []Traffic{{Name: "eth2", RXBytes: 1e9}}, Network: Network{Conntrack: 10, ConntrackMax: 1000, SoftnetSqueezed: 3}}
	if got := commands(h, s, s); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := commands(Host{}); len(got) != 0 {
		t.Errorf("of a host of which nothing is known: %q", got)
	}
}

// Each rule by itself, on the tuned host with one thing changed.
func TestAdviceRules(t *testing.T) {
	t.Parallel()
	tuned, err := lay(t, "ixgbe.txtar", ixgbe()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(h *Host, in *Interface, s *Sample)
		want   string // empty for none
	}{
		"GSO off":            {func(_ *Host, in *Interface, _ *Sample) { in.Offloads["tx-generic-segmentation"] = false }, "eth2: ethtool -K eth2 gso on"},
		"LRO, no forwarding": {func(_ *Host, in *Interface, _ *Sample) { in.Offloads["rx-lro"] = true }, ""},
		"one queue of many":  {func(_ *Host, in *Interface, _ *Sample) { in.Queues.RX, in.Channels, in.Indirection = 1, 1, nil }, "eth2: ethtool -L eth2 combined 4"},
		"queues set apart":   {func(_ *Host, in *Interface, _ *Sample) { in.Queues.RX, in.Split, in.Indirection = 1, true, nil }, "eth2: ethtool -L eth2 rx 4 tx 4"},
		"the only queue":     {func(_ *Host, in *Interface, _ *Sample) { in.Queues.RX, in.ChannelsMax, in.Indirection = 1, 1, nil }, "eth2: echo f > /sys/class/net/eth2/queues/rx-0/rps_cpus"},
		"shared out by RPS": {func(_ *Host, in *Interface, _ *Sample) {
			in.Queues.RX, in.RPS, in.Indirection = 1, []string{"00,0000000f"}, nil
		}, ""},
		"one queue, one core":   {func(h *Host, in *Interface, _ *Sample) { in.Queues.RX, in.Indirection, h.Cores = 1, nil, 1 }, ""},
		"small rings, no drops": {func(_ *Host, in *Interface, _ *Sample) { in.Rings.RX = 64 }, ""},
		"small rings, drops": {func(_ *Host, in *Interface, s *Sample) {
			in.Rings.RX, s.Interfaces = 64, []Traffic{{Name: "eth2", Driver: map[string]uint64{"rx_no_dma_resources": 1}}}
		}, "eth2: ethtool -G eth2 rx 4096"},
		"others' drops": {func(_ *Host, in *Interface, s *Sample) {
			in.Rings.RX, s.Interfaces = 64, []Traffic{{Name: "eth3", RXMissed: 9}}
		}, ""},
		"overflows":         {func(_ *Host, _ *Interface, s *Sample) { s.Network.ListenOverflows = 1 }, "sysctl -w net.core.somaxconn=8192"},
		"cookies":           {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.tcp_syncookies"] = "0" }, "sysctl -w net.ipv4.tcp_syncookies=1"},
		"ports":             {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.ip_local_port_range"] = "50000 60000" }, "sysctl -w net.ipv4.ip_local_port_range='10240 65535'"},
		"reuse":             {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.tcp_tw_reuse"] = "0" }, "sysctl -w net.ipv4.tcp_tw_reuse=1"},
		"receive buffers":   {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.tcp_rmem"] = "4096 87380 1000000" }, "sysctl -w net.ipv4.tcp_rmem='4096 87380 4194304'"},
		"send buffers":      {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.tcp_wmem"] = "4096 16384 65536" }, "sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"},
		"nonsense":          {func(h *Host, _ *Interface, _ *Sample) { h.Sysctls["net.ipv4.tcp_wmem"] = "4096 x" }, ""},
		"saving some":       {func(h *Host, _ *Interface, _ *Sample) { h.Governor = "performance, powersave" }, `for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > "$f"; done`},
		"tracking, roomy":   {func(_ *Host, _ *Interface, s *Sample) { s.Network.Conntrack, s.Network.ConntrackMax = 799, 1000 }, ""},
		"few files":         {func(h *Host, _ *Interface, _ *Sample) { h.Files = 1024 }, "ulimit -Hn 1048576 # in a unit of systemd: LimitNOFILE=1048576"},
		"files not known":   {func(h *Host, _ *Interface, _ *Sample) { h.Files = 0 }, ""},
		"interrupts spread": {func(_ *Host, in *Interface, _ *Sample) { in.Interrupts[0].Effective = "2" }, ""},
		"interrupts on one core": {func(_ *Host, in *Interface, _ *Sample) {
			for i := range in.Interrupts {
				in.Interrupts[i].Effective = "2"
			}
		}, "eth2: core=0; for irq in 50 51 52 53; do echo $((core % 4)) > /proc/irq/$irq/smp_affinity_list; core=$((core + 1)); done"},
	} {
		h, in, s := tuned, tuned.Interfaces[1], Sample{}
		h.Sysctls = make(map[string]string)
		for setting, value := range tuned.Sysctls {
			h.Sysctls[setting] = value
		}
		in.Offloads = map[string]bool{"tx-tcp-segmentation": true, "tx-generic-segmentation": true, "rx-gro": true, "rx-lro": false}
		in.Interrupts = slices.Clone(in.Interrupts)
		c.change(&h, &in, &s)
		h.Interfaces = []Interface{tuned.Interfaces[0], in}
		if got := strings.Join(commands(h, s), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What is virtual is not told to spread interrupts that it does not have; a virtio card
// is told what its driver can do something about.
func TestAdviceForVirtual(t *testing.T) {
	t.Parallel()
	bad := Interface{
		Name: "x", Queues: Pair{1, 1}, ChannelsMax: 8, Rings: Pair{64, 64}, RingsMax: Pair{4096, 4096},
		Offloads:    map[string]bool{"tx-tcp-segmentation": false, "tx-generic-segmentation": false, "rx-gro": false, "rx-lro": true},
		Indirection: []uint32{0, 0, 0, 0}, Interrupts: []Interrupt{{1, "x-0", "0", "0"}, {2, "x-1", "0", "0"}},
	}
	for kind, want := range map[string][]string{
		"veth": nil, "loopback": nil, "bridge": nil, "tap": nil, "bond": nil, "vlan": nil, "virtual": nil,
		"virtio": {"x: ethtool -K x tso on gso on", "x: ethtool -K x gro on", "x: ethtool -L x combined 4"},
	} {
		bad.Kind = kind
		h := Host{Cores: 4, Interfaces: []Interface{bad}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}
		if got := commands(h, Sample{Interfaces: []Traffic{{Name: "x", RXMissed: 9}}}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

// A shell takes a quoted name for one word, whatever is in it.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"eth0", "enp3s0f0np0", "a'b", "$(reboot)", "`id`", "a;b", "a b", `a\`, "*", "", "-K", "a\nb", "ü", "eth0@if3", "'\"'"} {
		said, err := exec.Command("sh", "-c", "printf '[%s]' "+quote(name)).Output()
		if err != nil || string(said) != "["+name+"]" {
			t.Errorf("%q became %q, %v", name, said, err)
		}
	}
}

// The commands are ones that a shell can read.
func TestCommandsParse(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "mlx5.txtar", mlx5()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Interfaces[1].Name = "$(x';"
	for _, a := range Advise(h, nil) {
		if out, err := exec.Command("sh", "-n", "-c", a.Command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", a.Command, err, out)
		}
	}
}

func TestCoreMask(t *testing.T) {
	t.Parallel()
	for cores, want := range map[int]string{1: "1", 2: "3", 8: "ff", 32: "ffffffff", 33: "1,ffffffff", 96: "ffffffff,ffffffff,ffffffff"} {
		if got := coreMask(cores); got != want {
			t.Errorf("%d cores: %s, want %s", cores, got, want)
		}
	}
}
