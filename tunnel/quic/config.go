package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// What the carriers call themselves in a tunnel.Peer.
const (
	Carrier   = "quic" // SOCKS5 on QUIC streams, by ALPN tunnel.ALPN
	CarrierH3 = "h3"   // HTTP/3, by ALPN ALPNH3
)

// ALPNH3 is HTTP/3's protocol name (RFC 9114).
const ALPNH3 = "h3"

// Defaults of Config.
const (
	// DefaultMaxConnections is 2 GiB of memory at some 60 KiB each.
	DefaultMaxConnections = 32_768
	// DefaultMaxPerSource lets 500 phones a second come in from behind one address,
	// when each takes half a second; the others take TCP meanwhile. It bounds what
	// strangers behind it can have us hold: see connWindow.
	DefaultMaxPerSource = 256
	// DefaultMaxUnproven is what somebody who forges addresses can have us hold:
	// 256 handshakes.
	DefaultMaxUnproven = 256
	DefaultMaxStreams  = 256
	DefaultUnused      = 30 * time.Second
)

const (
	// handshakeIdle is how long a client may be silent in its handshake. All of it
	// may take twice as long: quic-go has one setting for both.
	handshakeIdle = 5 * time.Second
	// maxIdle is for connections that have a tunnel: above the tunnels' own limit
	// (tunnel.DefaultIdle), so that it is they who end, and are accounted for.
	maxIdle = tunnel.DefaultIdle + 30*time.Second
	// settleBound is what an unused connection gets beside, once, for a stream that
	// came just before its time was over.
	settleBound = tunnel.DefaultSetupTimeout
	// lingerBound is how long the last answer on a connection has to arrive before
	// it is closed: to close it forgets what is still on the way (RFC 9000 section
	// 10.2).
	lingerBound = time.Second
	// maxFailures is how many streams in a row may come to nothing on a connection
	// without a tunnel: with each goes a try of a ticket.
	maxFailures = 16
	// maxUniStreams is what HTTP/3 needs (RFC 9114 section 6.2), and some to spare.
	maxUniStreams = 8
)

// Receive windows: what a client may have us hold before it is read. They double with
// each round trip while the service takes what comes, as the client's congestion window
// does, and begin as small: quic-go holds 145 bytes for a byte that comes alone amid
// bytes that do not, so a window may cost seventy times what it says, and strangers
// have it too. A connection's is that of four streams, so up to three tunnels whose
// services take nothing hold up no other tunnel of their device.
const (
	streamWindow     = 8 << 10
	connWindow       = 32 << 10
	maxStreamWindow  = 1 << 20
	maxConnWindow    = 4 << 20
	connectionIDSize = 8 // quic-go's 4 collide at 65,000 of them
)

// initialPacketSize is the least that QUIC has, for what may begin a connection as well
// (RFC 9000 section 14.1): three full ones of ours are three times a client's shortest.
const initialPacketSize = 1200

// Config is what a Listener needs. TLS is required.
type Config struct {
	// TLS has the certificates. TLS 1.3 and the protocols are set by Listen. The
	// config is cloned; session-ticket keys are made and rotated in memory.
	TLS *tls.Config
	// HTTP3 runs a connection that has agreed on ALPNH3, and returns when it is
	// over; the connection is closed then. The context ends when the connection
	// does, or is to. Until it calls settled, which it does when the connection's
	// first tunnel has been granted, the connection counts as MaxPerSource too. How
	// long there may be none is HTTP3's matter, and so is GOAWAY when the listener
	// drains. nil: h3 is not offered.
	HTTP3 func(ctx context.Context, conn *quicgo.Conn, peer tunnel.Peer, settled func())
	// MaxConnections is how many connections there may be, handshakes included.
	// Further ones are refused.
	MaxConnections int
	// MaxPerSource is how many of them may be without a tunnel so far, for each IPv4
	// address or IPv6 /64 whose clients have proven to be there.
	MaxPerSource int
	// MaxUnproven is how many handshakes may be under way with clients that have not
	// proven their address. While there are as many, further clients are asked for
	// the proof.
	MaxUnproven int
	// MaxStreams is how many streams a connection may have at once. A client that
	// opens more has its connection closed, as QUIC wants it.
	MaxStreams int
	// Unused is how long a connection may be without a tunnel.
	Unused time.Duration
	// Hooks tell what the streams' handler does not see. Each may be nil.
	Hooks Hooks
}

// Hooks are called on the goroutine that the event happened on, and hold it up.
type Hooks struct {
	// Refused is told of a connection that was not let in, or did not come through
	// its handshake. Its Peer has the carrier and the addresses only, and until
	// Config.MaxUnproven is reached the remote one may be forged.
	Refused func(tunnel.Peer, *tunnel.Refusal)
	// Opened is told of a connection whose handshake is complete, and Closed when
	// that connection is over. code is one of the Codes if our side ended it, and
	// CodeNone otherwise; of HTTP/3's connections it is always CodeNone.
	Opened func(tunnel.Peer)
	Closed func(peer tunnel.Peer, code Code)
}

// The labels of the Refusals that begin here, beside tunnel's: LabelTLS, LabelTimeout,
// LabelCancelled and LabelConnection.
const (
	LabelConnections = "connections" // all of Config.MaxConnections are taken
	LabelSource      = "source"      // all of Config.MaxPerSource are
)

// withDefaults checks config and fills it in.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.TLS == nil:
		return c, errors.New("quic: listener without TLS config")
	case c.MaxConnections < 0 || c.MaxPerSource < 0 || c.MaxUnproven < 0 || c.MaxStreams < 0 || c.Unused < 0:
		return c, errors.New("quic: negative limit")
	}
	set := func(v *int, normal int) {
		if *v == 0 {
			*v = normal
		}
	}
	set(&c.MaxConnections, DefaultMaxConnections)
	set(&c.MaxPerSource, DefaultMaxPerSource)
	set(&c.MaxUnproven, DefaultMaxUnproven)
	set(&c.MaxStreams, DefaultMaxStreams)
	if c.Unused == 0 {
		c.Unused = DefaultUnused
	}
	return c, nil
}

// protocols are what the server agrees on, best first.
func (c *Config) protocols() []string {
	if c.HTTP3 != nil {
		return []string{tunnel.ALPN, ALPNH3}
	}
	return []string{tunnel.ALPN}
}

func (c *Config) quic() *quicgo.Config {
	uni := int64(-1) // none
	if c.HTTP3 != nil {
		uni = maxUniStreams
	}
	return &quicgo.Config{
		InitialPacketSize:              initialPacketSize,
		HandshakeIdleTimeout:           handshakeIdle,
		MaxIdleTimeout:                 maxIdle,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		MaxIncomingStreams:             int64(c.MaxStreams),
		MaxIncomingUniStreams:          uni,
	}
}

// serverTLS is base made fit for QUIC. Whatever base chooses for a client is, too.
func serverTLS(base *tls.Config, protocols []string) *tls.Config {
	harden := func(c *tls.Config) *tls.Config {
		c = c.Clone()
		c.MinVersion, c.MaxVersion = tls.VersionTLS13, 0
		c.NextProtos = protocols // with some of its own, QUIC's TLS insists on one of them
		c.GetConfigForClient = nil
		return c
	}
	hardened := harden(base)
	if choose := base.GetConfigForClient; choose != nil {
		hardened.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if err != nil || chosen == nil {
				return nil, err
			}
			return harden(chosen), nil
		}
	}
	return hardened
}
