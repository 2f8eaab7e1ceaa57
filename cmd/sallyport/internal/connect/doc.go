// Package connect is the device's side: what the proxy layer inside a managed
// app does, as a program for people and tests. It takes connections from
// applications on a local SOCKS5 listener, decides for each whether it goes
// through the gateway or straight out, and opens tunnels:
//
//	application ── SOCKS5, RFC 1929 ──→ Proxy ── by Mode ─┬─→ straight out
//	                (loopback)                            └─→ Client
//	Client ── TCP ── TLS ── SOCKS5: ticket, name ──→ gateway ──→ service
//
// # Which way
//
// With [On] the listed services go through the gateway and everything else goes
// straight out; with [Off] everything goes to the gateway, which refuses what is
// not listed; with [Reverse] everything but the listed goes through the gateway.
// Names are matched by the gateway's own rules. A name on its way to the gateway
// is not resolved here: it is handed on as the application wrote it, an address
// as the same address. What goes straight out uses this machine's resolver, and
// a host that cannot be read as a name or an address never goes straight out.
//
// # What an application is told
//
// The gateway's reply is passed on unchanged, so that curl shows what a device
// would see. What happens before the gateway can answer is put into the same
// words:
//
//	ticket refused                    02  not allowed
//	gateway unreachable               03, 05 where it refuses the connection
//	TLS with the gateway fails        01
//	not done within 30 s              06
//
// # Secrets
//
// The ticket is asked for at every tunnel, so that a renewed one is used from
// the next tunnel on; it is kept nowhere and appears in no error. The local
// listener is on loopback and wants a password all the same: on a machine with
// several users, the tunnel is not for all of them.
package connect
