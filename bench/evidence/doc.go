// Package evidence says what a host is and what it did while it was measured, so
// that a figure can be believed, or not.
//
//	Look     what it is: processors, memory, interfaces, offloads, queues, limits
//	Sampler  what happened since the sample before: cores, bytes, drops, processes
//	Advise   what is set up in a way that is known to hurt, and what mends it
//
// It changes nothing. It reads three things, and each covers what the others cannot:
//
//	/proc, /sys   text, by the parsers in proc.go
//	rtnetlink     interfaces, their 64 bit counters, queueing disciplines
//	ethtool       driver, rings, channels, RSS, offloads, the driver's own counters
//
// # What is not known stays unknown
//
// Much of this needs rights, a certain driver or a certain kernel. What could not be
// read is a [Gap] that names the reason; it never ends the look or the run. What
// could be read but means nothing is left out: a veth pair says 10,000 Mbit/s and has
// no line at all, so only a physical interface has a line rate. Paravirtual ones
// (vmxnet3, ena and their like) have a device behind them that makes its speed up;
// their kind is their driver's name and their rate unknown.
//
// Counters are differences of 64 bit numbers. One that went backwards (a driver that
// was reloaded, a 32 bit counter that came round) is a Gap in that sample rather than
// an enormous number. An interface or a process that ends while it is watched is a
// Gap too.
//
// # Whose network
//
// Interfaces, disciplines, sysctls and protocol counters are those of the network
// namespace that the process is in. Two things are the machine's whatever the
// namespace: the cores, and the softnet counters. A /sys that was mounted in another
// namespace shows other interfaces, perhaps of the same name; each is believed only
// if its index and its address are those that netlink says.
//
// It is built for Linux. Elsewhere it says so in a Gap and nothing more.
package evidence
