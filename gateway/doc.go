// Package gateway is the life of a tunnel: from a client's first byte, through
// ticket, policy, names and addresses, to the relay and its account.
//
// One function, (*Gateway).open, reads as that life. Each step either passes or
// returns a *tunnel.Refusal, which carries the SOCKS5 reply, the HTTP status,
// the metric label and the text for the log; whoever wants to know what a
// client is told for what mistake reads refusal.go.
//
//	negotiate   tunnel.Negotiation, whatever the carrier
//	ticket      Redeemer: known here, or redeemed at the authority
//	reach       where to, by the snapshot in force:
//	  policy    the one for this ticket decides on the name, before any look-up
//	  resolve   Resolver: addresses of a name that is allowed
//	  address   the snapshot's rules, on the resolved address; again in the dialer
//	  dial      exactly what was checked
//	register    in the registry of live tunnels; then revocations and keys once more
//	relay       tunnel.Relays, until an end, an idle limit, expiry, or what ends the ticket
//	account     once, to Hooks.Closed
//
// What happens between policy and address is one function, (*trial).judge. [Judge]
// calls it without a tunnel, and explains what it found; a refused tunnel can be
// explained in the same words, by [Attempt.Judgement]. The words are in explain.go
// and fix.go, and cost nothing until somebody asks for them.
//
// One destination is never dialled: [DeviceDNS], where a device asks for the
// addresses of what it may reach. It is a tunnel like any other, whose far end is a
// goroutine that answers by the device's [View].
//
// Servers on the inner network come by a door of their own, [Gateway.Inside]: the
// same life without the step that is about tickets, and by another list.
//
// The gateway owns no goroutine but those of the tunnels it serves, those that look
// listed names up for clients that sent an address, and while it cuts many tunnels,
// those that close them. It logs nothing and counts nothing but the ports that are in
// use towards services, which may run out: Hooks tell others. Where connections come
// from, and what is set on them, is the [Upstream]'s.
// Policies, address rules and resolver stand together in a [Snapshot] behind one
// atomic pointer, are replaced whole, and are let go when the last tunnel that was
// being set up by them is. The address rules alone may be replaced while the rest
// stays, since they change with the machine's own addresses; a tunnel is judged and
// dialled by those that were there when it came.
//
// A defect in one of those goroutines ends what it worked for, if Hooks.Panicked is
// there to be told. What cuts tunnels is left out of that: one that must end and
// does not is worse than a process that does.
package gateway
