// Package tunnel carries streams: it accepts clients, speaks the carrier's
// protocol with them, and moves bytes between a client and a service. It knows
// nothing of tickets and policy. Whoever does implements Handler, and pulls at
// a Negotiation step by step:
//
//	accept      Server takes a connection, starts the clock, and makes room for it
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
// accepted, 16 KiB for its handshake, and no large buffer before Succeed. A
// refused client gets its answer, and one second to take it.
//
// Connections are counted twice over. Those that Succeed has made tunnels are
// at most MaxStreams; one too many is refused in words. All others are pending,
// at most MaxPending, and strangers among them. A pending one never keeps the
// next from being accepted: when they are full, one of the source that has the
// most of them is shed, cut off without an answer. So one address can hold
// every place, but not one that somebody else has need of, and many devices
// behind one address are not bothered unless there is an attack.
//
// Bytes that a client sends ahead of the replies are kept, and come first out
// of Stream.Read. Before Succeed there is no Stream, so they cannot reach a
// service too early.
//
// # While nothing moves
//
// A tunnel waits for most of its life, so it waits with nothing in hand. Bytes
// are read out of the kernel with a buffer that is taken for the attempt, and
// given back when nothing was there; its size follows from what the reads
// before have found. What stays is crypto/tls's own: the remainder of the
// largest record that it has seen.
//
// # Two ways to end
//
// Close says goodbye, for up to 200 ms to a client that does not listen. Abort
// says nothing, waits for nobody, and has the kernel forget what it has not
// sent: for tunnels that are revoked, or stalled.
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
