// Package record is a TLS 1.3 record layer that goes on where crypto/tls's
// handshake ends.
//
// A gateway keeps hundreds of thousands of connections on which nothing happens.
// A tls.Conn that rests weighs more than all the rest of such a connection; a
// Layer that rests has 168 bytes: two secrets, two counters, and no cipher. What
// is hard about TLS stays with crypto/tls, all of the handshake. What is taken
// over is RFC 8446 section 5, and of sections 4.6, 6 and 7 what happens after
// the handshake. Nothing uses this package unless it is told to.
//
//	tap := record.NewTap(conn)
//	over := tls.Server(tap, config)         // with tap.KeyLog() as its KeyLogWriter
//	err := over.HandshakeContext(ctx)
//	state := over.ConnectionState()
//	ahead, ok, err := tap.Take(record.Server, &state, layer)
//	  ok: over is dead; layer opens ahead and what follows, and seals
//	  not ok: over goes on, as if nothing had been
//
// The key log is a connection's own. A config that many share can still be, if
// its GetConfigForClient returns a clone with the KeyLogWriter of the Tap that it
// finds in ClientHelloInfo.Conn: session-ticket keys remain the shared one's.
//
// Layer has no I/O: it is for who reads and writes by himself. Conn is the
// blocking form, for everybody else.
//
// # Threats
//
// The peer and everybody on the way are hostile. They send what they like, cut
// it where they like, and stop. Against them:
//
//   - Nothing is delivered that the peer has not sealed, in the order in which
//     it did, all of it up to where the delivery stands. An end that the peer
//     has not announced is told from one that it has.
//   - A nonce is never used twice. The counter lives beside its secret and both
//     are replaced together; how many records crypto/tls has sent is proved by
//     decryption and not inferred from what it usually does; keys are replaced
//     long before a counter gets anywhere.
//   - What costs us something is bounded: a record by its header, before there
//     is room for it; messages that may come in parts, to 5 bytes; what carries
//     no data, to 16 in a row; KeyUpdates, to 1,024, and their answers to one
//     for each time that we send.
//   - The first thing that is wrong ends the connection for good.
//   - There is one error for whatever is not genuine, and AEADs compare in
//     constant time. Padding is removed in a time that tells its length, as RFC
//     8446 section 5.4 allows; contents do not matter.
//   - A secret is wiped when its KeyUpdate has replaced it: what was recorded
//     before stays closed to who takes the process afterwards.
//
// Who reads this process's memory reads its connections. Secrets are not in
// errors, nor in what is printed, and the key log ends in an array of 48 bytes.
// But they cannot be wiped everywhere: crypto/tls keeps copies of its own in the
// tls.Conn, in the lines that it has made for the key log and in the hashes that
// it used, and ciphers keep expanded keys. Those are gone when the garbage
// collector has been there and the memory is used anew, which no one promises.
// Let go of the tls.Conn after Take; its ConnectionState keeps the exporter's
// secret, and certificates, so take from it what is needed.
//
// # What it does not do
//
// No handshake, TLS 1.2, early data, padding of what is sent, post-handshake
// authentication, renegotiation, resumption from tickets that arrive after Take:
// a client skips those. No FIPS 140-3 mode: there Supported says no, and the
// connection stays with crypto/tls, whose GCM is an approved one. No defence
// against traffic analysis.
//
// # How to review it
//
// In this order, and the RFC beside it: keys.go (sections 5.3, 7.1 to 7.3),
// layer.go (5.2, 5.5, sealing), open.go (5.1, 5.2, 5.4, 4.6.3, 6: all that reads
// what strangers send), tap.go and keylog.go (the only part that depends on how
// crypto/tls works inside, and so the one to read again with each Go release),
// conn.go and connwrite.go. selftest.go and memory.go protect nothing. In
// open.go the thing to look for is a path that returns content and should not;
// in tap.go, a way to a counter that is too low. docs/record-layer.md has where
// this differs from crypto/tls, and what to do before it may be a default.
package record
