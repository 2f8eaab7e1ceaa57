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
//	            Relays.Run(stream, service, limits, ender)
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
// A tunnel waits for most of its life, so on Linux it waits with nothing in hand.
// Relays.Run takes the two descriptors out of Go's connections and lets go of the
// rest; the tunnel is parked, which takes one struct, a place among the epoll's
// owners and one among the deadlines, and what its record layer must remember. An
// event or a deadline starts a goroutine, which does both directions and leaves
// when nothing is left to do; what a single message takes, while no other tunnel
// has need of it, is done where the event is heard. See parked, where the states
// are drawn. A load, which
// is a buffer and the pieces of it that are still to be written, exists between a
// read that found something and the write that took it all.
//
// What lies between the client's bytes and the tunnel's is a codec: crypto/tls upon
// a connection in memory, which keeps of its own the remainder of the largest record
// that it has seen; our own record layer, package record, which keeps 168 bytes and
// for two seconds its ciphers; or nothing.
//
// Elsewhere, and for streams without a descriptor, Relay does the same with two
// goroutines, and a small buffer for each stream that is no Awaiter.
//
// # Three ways to end
//
//	the tunnel                     each stream   its peer gets
//	has come to its end            Close         everything, and a goodbye
//	broke off: one side failed,    Break         everything, and no good end: no
//	or a limit has passed                        close_notify, a reset over TCP
//	is revoked, or stalled         Abort         a reset, at once
//
// Close says goodbye for up to 200 ms to a client that does not listen; the goodbye of
// a parked tunnel is one write that does not wait. Break waits until the peer's kernel
// has acknowledged everything, or nothing for a second, since a reset has ours forget
// the rest. QUIC and HTTP/3 tell nobody what was acknowledged: theirs follows half a
// second after the last byte, whatever has come. Abort waits for nobody, and has the kernel forget what it has not sent.
//
// So nobody takes what was cut short for the whole. One end cannot be told: a client's
// TLS connection that is closed between two records, without close_notify. Many mobile
// apps close so, and it is passed on as an end.
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
// A stream is served by one goroutine, from handshake to the handler's return,
// which is one of a crew's that have grown their stacks. Relays have one that waits
// for events, one that deadlines are told on, and one for each tunnel that moves
// something at the moment. Relay
// adds one for the other direction, and both have names that a stack dump shows:
// copyUp and copyDown. All of a tunnel's are gone, or about to be, when its Ender is
// told; everything is gone when Serve, and then Relays.Close, have returned.
package tunnel
