package evidence

import "time"

// Sample is what happened on a host since the sample before. Counters are
// differences, never totals, and a counter that went backwards is a Gap.
type Sample struct {
	At         time.Time      `json:"at"`
	Took       time.Duration  `json:"took"` // since the sample before
	Cores      []Core         `json:"cores"`
	Interfaces []Traffic      `json:"interfaces"`
	Qdiscs     []QdiscTraffic `json:"qdiscs,omitempty"`
	Network    Network        `json:"network"`
	Processes  []Process      `json:"processes,omitempty"`
	MemoryFree int64          `json:"memory_available_kib"`
	Gaps       []Gap          `json:"gaps,omitempty"`
}

// Core is where a processor core's time went: shares of Took, 0 to 1, which the
// kernel counts in ticks of 10 ms. Waiting for a disk is idle. MHz is 0 if the kernel
// does not scale frequencies, or does not say.
type Core struct {
	ID      int     `json:"id"`
	User    float64 `json:"user"`
	System  float64 `json:"system"`
	SoftIRQ float64 `json:"softirq"`
	IRQ     float64 `json:"irq"`
	Steal   float64 `json:"steal"`
	Idle    float64 `json:"idle"`
	MHz     float64 `json:"mhz,omitempty"`
}

// Traffic is what went through an interface. Bytes are as the kernel counts them
// (from the Ethernet header on); WireRX and WireTX are bits on the wire, with
// preamble, checksum and gap (24 bytes a packet, IEEE 802.3). A virtual interface has
// no wire and hands over up to 64 KiB as one packet: its bits are a lower bound of
// what a wire would have carried.
type Traffic struct {
	Name      string `json:"name"`
	RXBytes   uint64 `json:"rx_bytes"`
	TXBytes   uint64 `json:"tx_bytes"`
	RXPackets uint64 `json:"rx_packets"`
	TXPackets uint64 `json:"tx_packets"`
	WireRX    uint64 `json:"wire_rx_bits"`
	WireTX    uint64 `json:"wire_tx_bits"`
	RXDropped uint64 `json:"rx_dropped"`
	TXDropped uint64 `json:"tx_dropped"`
	RXMissed  uint64 `json:"rx_missed"`
	RXErrors  uint64 `json:"rx_errors"`
	TXErrors  uint64 `json:"tx_errors"`
	RXCRC     uint64 `json:"rx_crc_errors"`
	Pause     uint64 `json:"pause"`
	// Share is of the line rate, the busier direction; 0 if the rate is unknown.
	Share float64 `json:"share,omitempty"`
	// Driver are counters of the driver that changed, by its names: of trouble, and of
	// packets, which it may count by queue.
	Driver map[string]uint64 `json:"driver,omitempty"`
}

// QdiscTraffic is what a queueing discipline, or a class with a rate, did. Interface,
// Parent and Handle together name the [Qdisc].
type QdiscTraffic struct {
	Interface  string `json:"interface"`
	Kind       string `json:"kind"`
	Handle     string `json:"handle"`
	Parent     string `json:"parent"`
	Bytes      uint64 `json:"bytes"`
	Packets    uint64 `json:"packets"`
	Drops      uint64 `json:"drops"`
	Overlimits uint64 `json:"overlimits"`
	Requeues   uint64 `json:"requeues"`
	Backlog    uint64 `json:"backlog_bytes"` // now
}

// Network is what the host's network stack counted.
type Network struct {
	SoftnetDropped  uint64 `json:"softnet_dropped"`
	SoftnetSqueezed uint64 `json:"softnet_squeezed"`
	ListenOverflows uint64 `json:"listen_overflows"`
	ListenDrops     uint64 `json:"listen_drops"`
	Segments        uint64 `json:"segments_out"`
	Retransmits     uint64 `json:"retransmits"`
	UDPRcvbufErrors uint64 `json:"udp_rcvbuf_errors"`
	UDPSndbufErrors uint64 `json:"udp_sndbuf_errors"`
	Conntrack       uint64 `json:"conntrack"`     // entries now
	ConntrackMax    uint64 `json:"conntrack_max"` // 0 if there is none
}

// Process is one that is watched: the gateway, the generator, the sink.
type Process struct {
	Role    string  `json:"role"`
	PID     int     `json:"pid"`
	Cores   float64 `json:"cores"` // processor time over Took: 1 is one core, busy
	RSSKiB  int64   `json:"rss_kib"`
	Threads int     `json:"threads"`
	Files   int     `json:"files"`
	// Allowed is how many cores it may run on, by its affinity; 0 if that is unknown.
	Allowed int `json:"allowed,omitempty"`
	// Quota is how many cores' time its control groups let it have; 0 is no quota, or one
	// that is not seen from here.
	Quota float64 `json:"cpu_quota,omitempty"`
}
