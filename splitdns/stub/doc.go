// Package stub serves DNS messages over streams and packets, and asks one over
// a stream. It knows the wire and nothing else: who may ask for what, and where
// an answer comes from, is its Handler's business. The gateway answers its
// devices with it, inside their tunnels; connect answers the apps of its own
// machine. The name and the port at which devices find the gateway's are here,
// DeviceDNS and DevicePort, for both ends of a tunnel must mean the same.
//
//	stream or packet ─▶ Parse ─▶ Query ─▶ Handler ─▶ Query.Addresses ─▶ stream or packet
//	                      │                          Query.Reply
//	                      ▼                          Query.Fail
//	                  rejected: answered here, no Handler sees it
//
// # What gets through
//
// A question is the word of a stranger, and few forms of it are taken: at most
// 4,096 bytes, opcode QUERY, QR clear, one question of class IN without
// compression, nothing in the answer and authority sections, and in the
// additional section at most one OPT record (RFC 6891), of version 0 and well
// formed. Zone transfers, and the other types that are no data, get NOTIMP; ANY
// gets the one HINFO record of RFC 8482 §4.2, whatever the name. What is too
// short for a header, or is an answer itself, gets nothing.
//
// A name is put into normal form on the way: lower case, no trailing dot. One
// that is neither a host name nor a name with underscores (SRV, TXT) leaves
// Query.Name empty. The answer repeats the question in the asker's own
// spelling, for many check its upper and lower case.
//
// # What goes out
//
// Answers have RA set and AA and AD clear: this is a resolver's side door that
// validates nothing. OPT answers OPT, with the asker's DO bit, and carries the
// Notes of RFC 8914 for whoever brought an OPT. There is no padding. A packet's
// answer is cut to what the asker takes, 1,232 bytes at most, with TC set; a
// stream's answer holds up to 65,535 bytes.
//
// # Bounds
//
// A stream has eight questions in flight and is not read beyond them, so one
// that asks faster than it is answered waits (RFC 7766 §6.2.1.1). Answers go out
// as they come ready, in any order (§7). Once the first byte of a message has
// come, the rest has ten seconds; so has the taking of an answer. How long a
// stream may say nothing is the matter of whoever accepted it. A socket for
// packets has 256 questions in flight and drops what comes on top.
//
// Packets are served on loopback only by design. An answer over UDP can be
// larger than its question and go to a forged sender; on loopback there is
// nobody to forge. Nothing here makes a socket on the network safe to open:
// it would amplify.
package stub
