// Package connect is the device's side: what the proxy layer inside a managed
// app does, as a program for people and tests. It takes connections from
// applications on local listeners, decides for each whether it goes through the
// gateway or straight out, and opens tunnels; and it answers their DNS:
//
//	application ── SOCKS5, RFC 1929 ──→ ┐
//	            ── HTTP proxy, Basic ─→ Proxy ── by way ──┬─→ straight out, names by asks
//	                (loopback)                            └─→ Client
//	            ── DNS, UDP and TCP ──→ names ── by asks ─┬─→ local DNS
//	                                                      └─→ Client: DNS over TCP at
//	                                                          dns.sallyport.internal:53
//	Client ─┬─ TCP ── TLS ── SOCKS5: ticket, name ─┬─→ gateway ──→ service
//	        └─ QUIC ── a stream of it ── SOCKS5 ───┘
//
// # Which way
//
// One pure function, way, decides on a destination, by the first line of this
// table that fits. Listed means by the gateway's own rules for names; web domains
// are listed on ports 80 and 443. Split DNS has no say in the way, only in what is
// at its end:
//
//	split tunnel                    off        on         reverse
//	network access unrestricted     straight   straight   straight
//	the gateway's own name          straight   straight   straight
//	a single label                  gateway    gateway    gateway
//	dns.sallyport.internal          gateway    gateway    gateway
//	listed                          gateway    gateway    straight
//	all else, addresses included    gateway    straight   gateway
//
// What goes to the gateway is not resolved here: a name is handed on as the
// application wrote it, an address as the same address. A host that cannot be read
// as a name or an address never goes straight out. The gateway's own names are
// those that it is dialled by and that its certificate has; an address is not one
// of them.
//
// # Whose DNS
//
// Another, asks, decides on a question to the stub, and on the name of what goes
// straight out, by the first line that fits. The zones are the suffixes that the
// gateway's DNS answers for, at them and below; the split tunnel has no say in it:
//
//	split DNS                       remote     local      both
//	no host's name, dns.sallyport…  refused    refused    refused
//	localhost and below             here       here       here
//	network access unrestricted     local      local      local
//	the gateway's own name          local      local      local
//	a single label                  gateway    gateway    gateway
//	in a zone                       gateway    local      gateway, else local
//	all else                        local      local      local
//
// "Else" is when the gateway's DNS has no answer: the tunnel fails, nothing comes
// within 3 s, or SERVFAIL or REFUSED does. That a name does not exist is an
// answer. A single label is never asked of the local DNS, and gets a SERVFAIL
// rather: outside it would tell a name of the inside, or meet a stranger's. With
// network access unrestricted everything is as if this program were not there.
//
// An application that asks the stub and one that leaves its names to a proxy are
// so led to the same place, and no name of a zone is told outside against the
// mode. That place may be an address of the inside, reached straight out: a device
// gets no other. The gateway is asked for both families then, an address of one is
// an answer, and IPv4 is tried first. The local DNS is this machine's resolver
// then, with its hosts file, unless Config says which server it is; no search list
// is applied.
//
// For the stub, the local DNS is asked by UDP, from a fresh port and with a fresh
// id, and over TCP if the answer is cut. The gateway's is asked through at most
// eight tunnels, which are kept for 30 s after their last question.
//
// # By what carrier
//
// With Auto, a tunnel takes what reaches the gateway first. The race is for a
// stream on which the ticket has been taken, or can be shown; the destination is
// asked for afterwards, once:
//
//	0 s                  0.3 s                          the first counts
//	QUIC: dial ─────────────┬───→ connected ──→ ticket shown ──→ answered
//	      or have one ──────┼──────────┘         │ 1 s
//	TCP:                    └─→ connected ──→    └─→ connected ──→ ticket shown
//
// TCP starts sooner when QUIC fails sooner, as where nobody listens on UDP: an empty
// packet from a connected socket, beside the dial, is what the kernel tells that by.
// A certificate that is not good, or a ticket that is refused, ends the race: neither
// is a reason to try the other way.
//
// Where TCP wins and QUIC is silent, the network is remembered, by this machine's
// address in it: TCP is taken at once there, and with the first tunnel after 1, 2, 4
// … 30 min QUIC is dialled beside it. As soon as that succeeds, whichever dial it
// is, QUIC is back. Between tunnels there are no tries, since they would wake the
// radio; a gateway that has answered anything at all on a stream is slow, not
// blocked.
//
//	            a tunnel beyond 192, 30 s without one,
//	dial ──→ live ────────────────────────────────────→ retired ──→ closed, after its
//	           │  reset, silent, cannot be moved                    last tunnel
//	           └── another network: moved, with all of its tunnels
//
// All tunnels share the live connection. While it has any, the address that the
// kernel would use towards the gateway is looked at every 2 s, which sends nothing.
// Tunnels in a retired connection live on, and move on, as long as QUIC's own timers
// let them.
//
// # What an application is told
//
// Over SOCKS5 the gateway's reply is passed on unchanged, so that curl shows what
// a device would see. What happens before the gateway can answer is put into the
// same words. The HTTP proxy answers with a status, and says in a sentence what
// it was:
//
//	                              SOCKS5   HTTP
//	refused by policy             02       403
//	no host                       02       403
//	ticket refused                02       502
//	gateway unreachable           03       502
//	gateway refuses to connect    05       502
//	TLS with the gateway fails    01       502
//	host not found, unreachable   04, 03   502
//	service refuses to connect    05       502
//	not done within 30 s          06       504
//	no or wrong local password    (RFC 1929)  407
//	a request read in two ways             400, 431
//
// An application has 10 s of the 30 s to say what it wants.
//
// # HTTP
//
// A head of at most 16 KiB is judged by stricter rules than net/http's, and is
// then read by net/http. Each connection carries one request, and each request in
// absolute form gets a tunnel of its own, without the headers that concern one
// hop. What follows behind it is not read, so there is nothing to smuggle. Bytes
// behind CONNECT go into the tunnel, once it stands.
//
// The listener has the PAC file at /proxy.pac, without a password since browsers
// fetch it so. It holds the rules and no secret; and because the rules have names
// of the inside, it is not given to pages of other origins or by other hosts'
// names.
//
// # Secrets
//
// The ticket is asked for at every tunnel, so that a renewed one is used from
// the next tunnel on; it is kept nowhere and appears in no error. The local
// listeners are on loopback, and the proxies want a password all the same: on a
// machine with several users, the tunnel is not for all of them. DNS knows no
// passwords, so whoever is on the machine may ask for names.
package connect
