// Package epoll watches the sockets of many idle tunnels with one descriptor
// and one goroutine.
//
// The runtime's own poller would wake a goroutine for each socket, and that
// goroutine, its stack and its descriptor's bookkeeping would have to be there
// all the time that a tunnel waits. Here a waiting tunnel is a slot of 32 bytes,
// and its owner is told on the poller's goroutine what has happened:
//
//	kernel ─▶ one epoll ─▶ the runtime's poller ─▶ Poller's goroutine ─▶ Owner.Ready(side, events)
//	          (all tunnels'    (waits for the epoll      (harvests up to 256
//	           sockets)         descriptor itself)        events at a time)
//
// The epoll's descriptor is itself waited for by the runtime, so no thread is
// blocked while nothing happens.
//
// # Edges
//
// A socket is registered once, edge-triggered, for everything. So an event says
// that something has changed, not that it is still so, and there is one for
// each new arrival rather than one for as long as bytes lie there. Whoever is
// told Readable reads until the kernel has no more; whoever waits for Writable
// must have been refused by the kernel first. Add reports how things stand, by
// the same way: the first event of nearly every socket is Writable, and
// Readable if bytes were there already.
//
// # Stale events
//
// Events are harvested in bulk, and a tunnel may be removed, its descriptors
// closed, and both its slot and its descriptors' numbers given to another one,
// before its turn comes. So an event does not carry a descriptor. It carries a
// slot and the slot's generation, which is another one for each tenant:
//
//	bit 63        32 31         1   0
//	    ┌───────────┬────────────┬────┐
//	    │ generation│    slot    │side│   epoll_data, and a Token with side 0
//	    └───────────┴────────────┴────┘
//
// On systems without epoll everything compiles, and New returns ErrUnsupported.
package epoll
