// Command hotpath measures what a tunnel costs the gateway: processor time,
// memory, delay. It holds the built sallyport binary against goals that are
// ratios to a naive gateway in the same run, and says which of them it meets.
//
//	go run ./bench/hotpath                    everything, a quarter of an hour or so
//	go run ./bench/hotpath -only relay        one figure
//	go run ./bench/hotpath -quick             a smoke test, a few seconds
//	go run ./bench/hotpath -naive …           the naive gateway alone, for the load tool
//
// It exits with 0 if every goal that was measured is met, 1 if one is not, 2 for
// a wrong command line and 3 if it could not measure. (go run makes 1 of them
// all; build it to tell them apart.)
//
// # Who takes part
//
// The gateway is a black box: a process, a configuration file, a ticket that the
// sallyport command issued, a socket. Beside it stands the gateway that anybody
// would write first, armon/go-socks5 over crypto/tls as they come. Each gateway
// has a client and a service to itself, and all of them are processes of their
// own, so that what the operating system accounts to a gateway's process is the
// gateway's:
//
//	client ──TLS, SOCKS5──► gateway ──TCP──► service      a lane
//	   ▲                        ▲               ▲
//	   └───────── orders ─── coordinator ───────┘         processor time, memory
//
// Client, service and naive gateway are this same program, started again with
// -role and told what to do in lines of JSON on their standard input. They end
// when that ends, and the kernel ends them should the coordinator die.
//
// Everything is on loopback, at free ports, out of a scratch folder that only
// the user can read and that is removed at the end. Both gateways show the same
// self-signed P-256 certificate, and the client insists on TLS 1.3, X25519,
// AES-128-GCM and a full handshake.
//
// # What the figures mean
//
// A shared machine is not the same from minute to minute. So the gateways take
// turns within each round, the order moves on by one from round to round, and a
// ratio is made of two figures of one round; what is printed and judged is the
// median, between the smallest and the largest. Where even the naive gateway
// differs much between rounds, a warning says so.
//
// Processor time is the kernel's count for the whole process, threads that have
// ended included, from before the load until the gateway has come to rest.
// Memory is the resident set that the tunnels added; what the kernel holds for
// their sockets is not in it, and what the runtime has not collected yet is. It is
// looked at three times: at once after the last byte, which shows what a wave leaves
// behind; after five seconds, when what moves bytes has been put away and a tunnel
// can be called idle; and after a minute. The goal is the same each time.
// Once nothing happens any more, Go collects every two minutes: -after 150s looks
// behind that. Tunnels that idled are used once more afterwards: if any had ended
// meanwhile, what was measured does not count.
// Delay is what a gateway adds to a plain connection to the same kind of
// service, which takes its turn as a lane without gateway.
//
// # Carriers
//
// The same gateway has further ways in: HTTP CONNECT by HTTP/1.1, 2 and 3, and
// SOCKS5 on QUIC streams. They are measured beside std, which comes in by SOCKS5 over
// TLS, and beside the naive gateway, in the same rounds; their goals are ratios to
// std. A client is Go's own or quic-go's, by the carrier, with the receive windows
// that the report names, and a socket for each connection. It insists on the same
// cryptography, and on the protocol that the connection was made for.
//
// Where a connection carries many tunnels, three things have a cost: a tunnel with a
// connection of its own, one more on a connection that is there, and each of these
// when it idles. The first is measured as for other gateways. The others are measured
// on top of it, so what the connection itself costs is not in them.
//
// A gateway whose log says that it fell back to another record layer than it was
// configured for ends the run.
//
// What cannot be seen from outside (allocations, collections) is named in the
// report and left to the Go benchmarks of the packages.
//
// At its end a run is held against the baseline of the same kind of machine
// (baselines, compare.go), if there is one.
//
// It needs Linux, for /proc and for clocks of other processes.
package main
