// Package quic is the carrier for devices that move: QUIC (RFC 9000) on a UDP port,
// each bidirectional stream of a connection one tunnel, negotiated by SOCKS5 with a
// credential of its own. A phone that leaves its Wi-Fi keeps its tunnels, since a
// connection is known by its identifiers and not by its address.
//
//	Listen ─► gate ─► handshake ─► connection ─► Accept ─► tunnel.Server ─► gateway
//	          who may try          one goroutine   one stream each, in the
//	          without proof of     each, hands     server's limits and deadline
//	          his address          streams over
//
// A [Listener] is a net.Listener of tunnel.Carried streams, so a tunnel.Server admits,
// bounds and sheds them like its own. It adds what a Server cannot see: connections.
//
// # The life of a connection
//
//	             first tunnel            last tunnel ends
//	handshake ──────────────► in use ──────────────────────► unused
//	    │ 10 s                  │  ▲       next tunnel          │
//	    ▼                       │  └───────────────────────────┤ 30 s
//	  gone ◄────────────────────┴──────────────────────────────┘
//	            last tunnel aborted, or listener closed
//
// A connection that has a tunnel may be silent for 3,930 s, longer than any tunnel
// may, and nothing is sent on it meanwhile: each packet would wake a phone's radio.
// One without is closed after 30 s, however busily it tries: streams that present
// nothing good keep nobody in. A connection whose last tunnel is aborted is closed
// with [CodeCut], since whoever aborts it has a reason not to hear from this device
// again: its ticket is revoked, or it takes nothing.
//
// # Before anybody is known
//
// A UDP source address proves nothing. So few handshakes may be under way with
// addresses that are unproven (Config.MaxUnproven); above that a client must first
// send back a token that went to its address (Retry, RFC 9000 section 8.1.2), which
// costs it a round trip and us no memory. Only proven addresses are counted against
// Config.MaxPerSource, or else one could fill up somebody else's share. What is sent
// to an unproven address is at most three times as long as what came from it (section
// 8.1); where the kernel does not merge packets (Linux does since 5.0), less than one
// packet more. An exception is quic-go's: a client that has a connection and sends from
// another address has that one probed by packets of 1,200 bytes, of which each forged
// address gets a few, and three addresses at a time (section 8.2.1).
// There is no 0-RTT: a recorded first flight could be played once more. No stream is
// looked at before the handshake is complete.
//
// # What a device does
//
// A [Dialer] makes a [Conn], whose Open gives streams and whose Migrate moves all of
// them to another socket (RFC 9000 section 9).
//
// # Errors
//
// A stream fails like a TCP connection: syscall.ECONNRESET when the peer has reset it
// or closed the connection, syscall.ETIMEDOUT when nothing has been heard for too
// long, net.ErrClosed when our side did it, os.ErrDeadlineExceeded. errors.As finds
// quic-go's own error behind them. What a peer says in words when it closes a
// connection is never printed.
package quic
