package evidence

// Host is what a host is like. It is looked at once, before a run.
type Host struct {
	Name    string `json:"name"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Allowed []int  `json:"allowed"` // cores that this process may use
	// Quota is how many cores' time its control groups let it have; 0 is no quota.
	Quota      float64           `json:"cpu_quota,omitempty"`
	Nodes      int               `json:"numa_nodes"`
	MemoryKiB  int64             `json:"memory_kib"`
	Governor   string            `json:"governor,omitempty"`
	Hypervisor string            `json:"hypervisor,omitempty"` // empty if there is none; "unnamed" if it hides
	Files      uint64            `json:"files"`                // descriptors a process may have
	Sysctls    map[string]string `json:"sysctls"`
	Interfaces []Interface       `json:"interfaces"`
	// Gaps are what could not be read, each with the reason: no rights, no such
	// file, not known to this driver.
	Gaps []Gap `json:"gaps,omitempty"`
}

// Gap is something that could not be read.
type Gap struct {
	What string `json:"what"`
	Why  string `json:"why"`

	subject string // of What, to put together what has the same reason
}

// Interface is a network interface as it is set up.
type Interface struct {
	Name string `json:"name"`
	// Kind is physical, virtio, veth, loopback, tap, bridge, bond, vlan, or what the
	// kernel calls it. Only of a physical one the speed is a line rate.
	//
	// A paravirtual one (vmxnet3, ena, hv_netvsc …) is called by its driver.
	Kind      string `json:"kind"`
	Driver    string `json:"driver,omitempty"`
	Version   string `json:"version,omitempty"`
	Firmware  string `json:"firmware,omitempty"`
	Bus       string `json:"bus,omitempty"`
	Node      int    `json:"numa_node"` // -1 for none
	MTU       int    `json:"mtu"`
	Up        bool   `json:"up"`
	SpeedMbit int64  `json:"speed_mbit"` // line rate; 0 is unknown
	Duplex    string `json:"duplex,omitempty"`
	Queues    Pair   `json:"queues"` // rx, tx
	Rings     Pair   `json:"rings"`
	RingsMax  Pair   `json:"rings_max"`
	// Channels are the queues that the driver was told to use, and could.
	Channels    int             `json:"channels,omitempty"`
	ChannelsMax int             `json:"channels_max,omitempty"`
	Split       bool            `json:"channels_split,omitempty"` // rx and tx are set apart, not combined
	Pause       string          `json:"pause,omitempty"`          // Ethernet flow control: rx, tx, autoneg
	RSSKey      string          `json:"rss_key,omitempty"`        // hex
	Indirection []uint32        `json:"indirection,omitempty"`
	Offloads    map[string]bool `json:"offloads,omitempty"` // by the kernel's feature names
	Interrupts  []Interrupt     `json:"interrupts,omitempty"`
	XPS         []string        `json:"xps,omitempty"` // CPU masks by tx queue
	RPS         []string        `json:"rps,omitempty"` // by rx queue
	Qdiscs      []Qdisc         `json:"qdiscs,omitempty"`
}

// Pair is something of both directions.
type Pair struct {
	RX int `json:"rx"`
	TX int `json:"tx"`
}

// Interrupt is one line of an interface, and the cores that may take it.
type Interrupt struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Cores  string `json:"cores"` // as smp_affinity_list has it
	// Effective is the core that the kernel chose among them; empty if it does not say.
	Effective string `json:"effective,omitempty"`
}

// Qdisc is a queueing discipline, or a class of one that has a rate ("htb class").
// RateBit is the rate that it holds traffic to, bits a second (a class's ceiling); 0
// if it has none, or one that cannot be read, which is a Gap.
type Qdisc struct {
	Kind    string `json:"kind"`
	Handle  string `json:"handle"`
	Parent  string `json:"parent"`
	RateBit uint64 `json:"rate_bit,omitempty"`
}

// Advice is a setting that is known to hurt, and how to mend it.
type Advice struct {
	Interface string `json:"interface,omitempty"`
	Finding   string `json:"finding"` // what is, with the figure
	Why       string `json:"why"`
	Command   string `json:"command"` // what mends it
}
