// Package tunnel carries streams: it accepts clients, speaks the carrier's
// protocol with them, and moves bytes between a client and a service. It knows
// nothing of tickets and policy. Whoever does implements Handler, and pulls at
// a Negotiation step by step:
//
//	accept      Server takes a slot, then a connection, and starts the clock
//	TLS         ServerTLS says what is spoken; SOCKS5 lies inside
//	            Handler.ServeTunnel(ctx, n)
//	n.Credential   what the client presents          ─┐ n.Refuse(err) answers
//	n.Destination  "good", and where it wants to go   │ in the carrier's words
//	n.Succeed      "connected", and the Stream       ─┘ at any of these steps
//	            Relay(stream, service, limits)
//
// There are two questions, not one, because SOCKS5 answers the credential
// before it learns the destination. A carrier that learns both at once answers
// the first in memory.
//
// # Before anybody is known
//
// One deadline covers handshake and negotiation, so a client that sends a byte
// a second gets as far as one that sends none. At most MaxPreAuthBytes of
// decrypted bytes are taken from a client whose credential has not been
// accepted. A connection holds its slot from before it is accepted until it is
// closed. A refused client gets its answer, and one second to take it.
//
// Bytes that a client sends ahead of the replies are kept, and come first out
// of Stream.Read. Before Succeed there is no Stream, so they cannot reach a
// service too early.
//
// # What leaves this package
//
// Text that clients chose goes through SafeText before it gets into a Peer, a
// Credential or an error. Secrets are in Credential.Secret and nowhere else,
// and a Credential prints without it. The one exception is a Destination's
// Host: it is what the client sent, because it may be a credential itself; a
// Destination prints safely all the same.
//
// # Goroutines
//
// A stream is served by one goroutine, from handshake to the handler's return.
// Relay adds one for the other direction, and both have names that a stack
// dump shows: copyUp and copyDown. A timer watches the tunnel's limits. All of
// them are gone when Relay returns, and everything is gone when Serve returns.
package tunnel
