// Package socks is the wire format of SOCKS5, both sides of it: RFC 1928 for
// the greeting and the request, RFC 1929 for user name and password. It holds
// no policy, keeps no state and sets no timeout of its own; whoever calls it
// brings a connection with a deadline.
//
// A client's way through the protocol, and ours beside it:
//
//	client                                   server
//	05 n METHOD…            ReadGreeting     05 METHOD  (05 FF: none will do)
//	01 n USER… n PASSWORD…  UserPass         01 STATUS  (00: good)
//	05 01 00 ATYP ADDR PORT ReadRequest      05 REP 00 01 0000 0000 0000
//	the stream's bytes                       the stream's bytes
//
// # Reading
//
// The messages come from the open internet, before anybody has said who they
// are. Each is read to its last byte and not one further, so that bytes a
// client sends ahead stay where they are. Each has a hard upper bound, given
// by its one-byte lengths: 257, 513 and 262 bytes.
//
// The request is parsed by github.com/armon/go-socks5, through a reader that
// keeps every byte it hands over and never returns fewer than were asked for.
// What the parser says about a message is then judged against those bytes:
// its errors tell faults apart only by their text, and it takes a name of no
// length for an address. Authentication methods implement that library's
// Authenticator, with one difference that Method explains: they read what the
// client presents and leave the verdict to others.
//
// # What is wrong with a message
//
// A Problem is one of a closed list, compared with errors.Is, and knows the
// reply that RFC 1928 section 6 has for it. It never carries a byte of what
// the client sent.
package socks
