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
//	policy      the compiled snapshot decides on the name, before any look-up
//	resolve     Resolver: addresses of a name that is allowed
//	address     the snapshot's rules, on the resolved address; again in the dialer
//	dial        exactly what was checked
//	register    in the registry of live tunnels; then revocations and keys once more
//	relay       tunnel.Relay, until an end, an idle limit, expiry, or what ends the ticket
//	account     once, to Hooks.Closed
//
// The gateway owns no goroutine but those of the tunnels it serves, and while it
// cuts many of them, those that close them. It logs nothing and counts nothing:
// Hooks tell others. Policy, address rules and
// resolver stand together in a [Snapshot] behind one atomic pointer and are
// replaced whole.
package gateway
