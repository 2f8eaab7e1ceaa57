package quic

import (
	"context"
	"errors"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// h3NoError is HTTP/3's code for a normal end (RFC 9114 section 8.1).
const h3NoError = 0x100

// connection is a client's, from the end of its handshake.
type connection struct {
	listener *Listener
	quic     *quicgo.Conn
	slot     *slot
	base     tunnel.Peer // but for where the client is now
	ctx      context.Context
	cancel   context.CancelCauseFunc // with a *ending, if it is our side's wish

	mu       sync.Mutex // guards the rest; taken three times in a stream's life
	streams  int        // handed over, or about to be, and not over
	tunnels  int        // those of them that are tunnels
	failures int        // streams in a row that came to nothing
	lateUsed bool       // settleBound was granted
	retired  Code       // no further streams if it is not CodeNone, and closed with it after the last
	clock    *time.Timer
}

// ending is why our side ends a connection.
type ending struct{ code Code }

func (e *ending) Error() string { return "quic: " + e.code.String() }

func newConnection(l *Listener, conn *quicgo.Conn) *connection {
	c := &connection{listener: l, quic: conn, slot: slotOf(conn)}
	state := conn.ConnectionState().TLS
	c.base = tunnel.Peer{
		Carrier:    Carrier,
		TLSVersion: state.Version, CipherSuite: state.CipherSuite,
		ServerName: tunnel.SafeText(state.ServerName, 255),
		ALPN:       state.NegotiatedProtocol, Resumed: state.DidResume,
		Owner: new(tunnel.Owner),
	}
	if c.isHTTP3() {
		c.base.Carrier = CarrierH3
	}
	c.ctx, c.cancel = context.WithCancelCause(conn.Context())
	if !c.isHTTP3() {
		c.mu.Lock() // look may come before the timer is in its place
		c.clock = time.AfterFunc(l.config.Unused, c.look)
		c.mu.Unlock()
	}
	return c
}

func (c *connection) isHTTP3() bool { return c.base.ALPN == ALPNH3 }

// peerNow is who dialled.
func (c *connection) peerNow() tunnel.Peer {
	peer := c.base
	peer.Remote, peer.Local = addrPort(c.quic.RemoteAddr()), addrPort(c.quic.LocalAddr())
	return peer
}

// run is a connection's life.
func (c *connection) run() {
	hooks := &c.listener.config.Hooks
	peer := c.peerNow()
	if hooks.Opened != nil {
		hooks.Opened(peer)
	}
	unwatch := context.AfterFunc(c.listener.killed, c.shutdown)
	if c.isHTTP3() {
		c.listener.config.HTTP3(c.ctx, c.quic, peer, c.slot.settle)
	} else {
		c.handOver()
	}
	unwatch()
	code := c.close()
	c.listener.leave(c)
	if hooks.Closed != nil {
		hooks.Closed(peer, code)
	}
}

// shutdown ends the connection at once, whoever it is with.
func (c *connection) shutdown() {
	c.cancel(&ending{CodeShutdown})
	if c.isHTTP3() {
		_ = c.quic.CloseWithError(h3NoError, "")
	}
}

// handOver gives streams to Accept until the connection is over.
func (c *connection) handOver() {
	for {
		opened, err := c.quic.AcceptStream(c.ctx)
		if err != nil {
			return
		}
		s := &carried{stream: stream{quic: opened, at: c.quic}, conn: c}
		if code := c.enter(); code != CodeNone {
			s.reset(code)
			continue
		}
		select {
		case c.listener.streams <- s:
		case <-c.listener.draining:
			s.reset(CodeDraining)
			c.left(s, false)
		case <-c.ctx.Done():
			return
		}
	}
}

// close ends the connection, if it is not over, and says why.
func (c *connection) close() Code {
	code := CodeNone
	if why := (*ending)(nil); errors.As(context.Cause(c.ctx), &why) {
		code = why.code
	}
	onWire := quicgo.ApplicationErrorCode(code)
	if c.isHTTP3() {
		onWire, code = h3NoError, CodeNone
	} else {
		c.clock.Stop()
	}
	_ = c.quic.CloseWithError(onWire, "")
	c.cancel(nil)
	return code
}

// enter counts one more stream, or says why it may not come in.
func (c *connection) enter() Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired == CodeNone {
		c.streams++
	}
	return c.retired
}

// settled makes a stream a tunnel.
func (c *connection) settled(s *carried) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.stage != stagePending {
		return // it was aborted in between
	}
	s.stage = stageTunnel
	c.tunnels++
	c.failures, c.lateUsed = 0, false
	if c.retired == CodeNone {
		c.clock.Stop()
	}
	c.slot.settle()
}

// left is the end of a stream. It may be told of it several times.
func (c *connection) left(s *carried, aborted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := s.stage
	if was == stageOver {
		return
	}
	s.stage = stageOver
	c.streams--
	if was == stageTunnel {
		c.tunnels--
	} else {
		c.failures++
	}
	switch {
	case was == stageTunnel && aborted && c.tunnels == 0:
		c.cancel(&ending{CodeCut})
	case c.retired != CodeNone:
		c.lastWord()
	case c.tunnels == 0 && c.failures >= maxFailures:
		c.retired = CodeFailures
		c.lastWord()
	case was == stageTunnel && c.tunnels == 0:
		c.clock.Reset(c.listener.config.Unused)
	}
}

// retire lets no further streams in, and closes after the last one.
func (c *connection) retire(code Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired == CodeNone && !c.isHTTP3() {
		c.retired = code
		c.clock.Stop()
		c.lastWord()
	}
}

// lastWord closes a retired connection without streams, when what was said last has
// had time to arrive. Called with mu held.
func (c *connection) lastWord() {
	if c.streams == 0 {
		c.clock.Reset(lingerBound)
	}
}

// look is called when the clock has run out.
func (c *connection) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.retired != CodeNone:
		if c.streams == 0 {
			c.cancel(&ending{c.retired})
		}
	case c.tunnels > 0: // it came in between
	case c.streams > 0 && !c.lateUsed:
		c.lateUsed = true
		c.clock.Reset(settleBound)
	default:
		c.cancel(&ending{CodeUnused})
	}
}
