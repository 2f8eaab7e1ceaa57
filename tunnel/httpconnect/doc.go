// Package httpconnect carries tunnels by HTTP CONNECT, over HTTP/1.1, HTTP/2 and
// HTTP/3: for browsers, for the relays of Apple's systems, and for whatever else
// knows a proxy and no SOCKS5. It is an adapter. Tickets, policy and accounts are
// where they are for SOCKS5, behind tunnel.Handler.
//
//	CONNECT mail.example.com:443 HTTP/1.1
//	Host: mail.example.com:443
//	Proxy-Authorization: Bearer <handle or token>
//
//	HTTP/1.1 200 Connection established
//
// A request becomes a wish, which has the credential and the destination, or what
// is wrong with it; a negotiation tells the gateway of it step by step; and the
// answer goes out by whoever brought the request, its voice:
//
//	HTTP/1.1   Web reads the request at the server's Door      ─┐
//	           and returns the negotiation                      │ negotiation
//	HTTP/2     Web serves the connection ─┐ each request waits  │ Credential
//	HTTP/3     ServeQUIC serves one      ─┤ in Accept for the   ├ Destination
//	DoH        on any of the three       ─┘ server to admit it  │ Refuse, Succeed
//	inside     Inside listens, and asks for no credential      ─┘
//
// # One parser
//
// Requests are parsed by net/http, x/net/http2 and quic-go/http3, and never by
// hand. What those let through and a CONNECT must not have is refused in one
// place: bodies, doubled and folded headers, a Host that says something else than
// the target, user names, paths. There is no next hop that could read a request
// differently than we do: what follows it is opaque.
//
// # What a stranger gets
//
// Without a ticket: 407, which asks for one, and is not counted as a try; on
// HTTP/1.1 three times on one connection, since that is how browsers and curl come
// by a credential. With a ticket that is not good: 407, the same bytes whatever is
// wrong with it. For a page that a proxy would fetch: 405, and a sentence, since it
// is the one refusal that browsers show. For anything else but CONNECT: 404, without
// a word. No answer names us or a version, but for the realm of a 407.
//
// A whole HTTP/2 connection stays within the bound on bytes before authentication,
// and its deadline, until the first of its tunnels succeeds. Then it takes a place
// of its own among the tunnels, and is over when it has carried none for 30 s,
// whatever is refused on it meanwhile. An HTTP/3 connection without a tunnel has
// 10 s and 16 requests, and counts with its source.
//
// # Two directions
//
// A client's end of its direction is passed on by all three versions. The service's
// is over HTTP/1.1 and HTTP/3. Over HTTP/2 the server library can end a response
// only together with the request: CloseWrite of such a stream sends END_STREAM, and
// what the client sends afterwards is not heard (RFC 9113 §8.1). A Close after
// everything has been said looks the same everywhere.
//
// A tunnel that broke off ends with a reset, behind everything that was written: on
// HTTP/2 in the same queue, with INTERNAL_ERROR, since the library has no way to say
// CONNECT_ERROR (RFC 9113 §8.5); on HTTP/3 with H3_CONNECT_ERROR (RFC 9114 §4.4), half a
// second after the last write, which is the time that it has to arrive. HTTP/1.1 ends as
// TLS does, without close_notify.
//
// Abort resets a stream (RST_STREAM, H3_CONNECT_ERROR) and leaves the connection
// to the others. What lies in the kernel by then, encrypted, still goes out. With
// the last of its tunnels the connection ends, since whoever aborts it has a reason
// not to hear from this client again; and so does one that takes nothing, when the
// reset has waited for 200 ms.
//
// An HTTP/3 stream fails like a TCP connection: syscall.ECONNRESET for what the
// client did, syscall.ETIMEDOUT when it was silent for too long, net.ErrClosed for what
// our side did. What a client says in words when it closes a connection is never
// printed.
//
// # What it costs
//
// An HTTP/2 stream has the goroutine of its handler, which sleeps, beside the two
// of the relay; an HTTP/3 stream is taken out of its handler.
package httpconnect
