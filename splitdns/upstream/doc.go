// Package upstream asks DNS servers, and believes only what one of them said.
//
//	Ask ──► place ──► race ──► server ──► udp    a socket a query, 0x20 (RFC 5452 §9)
//	                   │         │    ├─► tcp    one kept connection  (RFC 7766)
//	                   │         │    ├─► tls    the same, encrypted  (RFC 7858)
//	                   │         │    └─► https  HTTP/2, POST         (RFC 8484)
//	                   │         └ health: up, down, probed
//	                   └ the next server when one is slow, fails or refuses
//
// A [Pool] is a group of servers that are as good as one another: all resolvers
// of a company, or two public ones. The first in the list that is up is asked.
// When it takes longer than it should, four times its usual time or half of an
// attempt's, the next is asked beside it; the first good answer wins, and the
// other attempts are cancelled.
//
// # What counts as an answer
//
// Records, no such records (NODATA), and no such name (NXDOMAIN). Everything
// else is the server's inability, and sends the question to the next one:
// SERVFAIL, REFUSED and their like, a referral to servers that it should have
// asked itself, and an empty answer of one that neither has the name's zone nor
// offers recursion. Whether the records follow from the question is for the
// caller to judge.
//
// # Who is believed
//
// Over UDP anybody can send anything under any address. So each query has a
// socket of its own with a port that the kernel picked, connected, so that the
// kernel drops what does not come from the server; a random id; and a name in
// random case, which the answer must repeat to the letter. What does not fit is
// dropped and counted, and the wait goes on: a liar neither wins nor stops the
// honest answer. A server that does not keep the case is asked over TCP, which
// nobody can join from outside. A message that fits and cannot be parsed is the
// server's own, and ends the attempt.
//
// Over TLS and HTTPS the certificate must be for the server's name, or for its
// address when it has none. Nothing is asked over a weaker way when that fails.
//
// An error without its question proves nothing over UDP either, and is checked
// over TCP. Only when it says "I don't understand", the question goes out once
// more without EDNS, which servers older than that want.
//
// # What is bounded
//
// Questions under way, attempts and their time; a message at the 64 KiB that
// its format allows; queries open on a connection, and messages on it that
// answer nothing; what an error says of a server, and holds of it. A datagram is
// asked to be no longer than 1,232 bytes. One that is longer all the same is
// read, by asking once more with the room for it, so that the room is not there
// for all the others.
//
// Nothing outlives the question that caused it but the one connection to a
// server over TCP, TLS or HTTPS, for ten seconds after its last use. [Pool.Close]
// ends that too, and waits.
package upstream
