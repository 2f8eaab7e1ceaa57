package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// timing is how long what may take.
type timing struct {
	// headStart is how long QUIC alone is tried, for the handshake.
	headStart time.Duration
	// answer is how long the gateway has to answer a credential over QUIC, until TCP
	// is tried beside it.
	answer time.Duration
	// poll is how often a connection with tunnels is compared with the network.
	poll time.Duration
	// move is how long another network may take to show that it leads to the gateway.
	move time.Duration
	// linger is how long the last words of a connection's last tunnel have to arrive
	// before it is closed.
	linger time.Duration
}

var defaultTiming = timing{
	headStart: 300 * time.Millisecond, answer: time.Second, poll: 2 * time.Second, move: 3 * time.Second, linger: time.Second,
}

// stage is how far QUIC has come for a tunnel. It may go back: to a second link.
type stage int32

const (
	stageDialing   stage = iota // nothing has been heard
	stageLinked                 // there is a connection; a stream is waited for
	stagePresented              // the credential is sent; nothing has been heard of it
	stageHeard
)

// progress is what the race sees of a tunnel's way over QUIC.
type progress struct {
	stage  atomic.Int32
	link   atomic.Pointer[link] // the last one
	linked chan struct{}        // an element when there is one; nil if nobody looks
}

func (s *progress) reach(to stage) { s.stage.Store(int32(to)) }

func (s *progress) on(l *link) {
	s.link.Store(l)
	s.reach(stageLinked)
	select {
	case s.linked <- struct{}{}:
	default:
	}
}

// silent tells whether nothing has been heard that should have been. A stream that
// is waited for, or an answer that is under way, is no sign of that.
func (s *progress) silent() bool {
	at := stage(s.stage.Load())
	return at == stageDialing || at == stagePresented
}

// outcome is what comes of one try.
type outcome struct {
	stream tunnel.Stream // nil if err is not
	err    error
}

// lane is one carrier's try. It runs while out is not nil.
type lane struct {
	out  chan outcome
	stop context.CancelFunc
	err  error // why it has lost; it does not run again
}

// halt ends a try as if it had not been.
func (l *lane) halt() {
	if l.out != nil {
		l.stop()
		l.out = nil
	}
}

func (l *lane) lose(err error) {
	l.halt()
	l.err = err
}

// race is a tunnel's way to the gateway, by whatever reaches it first. What is raced
// is the reaching: a destination is asked for afterwards, and once.
type race struct {
	client    *Client
	ctx       context.Context // until the race is decided
	auth      socks.Auth
	seen      *progress
	clock     *time.Timer // when it is over, TCP may start
	quic, tcp lane
}

// race returns a stream on which the gateway has taken the credential.
func (c *Client) race(ctx context.Context, auth socks.Auth) (tunnel.Stream, error) {
	ctx, decided := context.WithCancelCause(ctx)
	defer decided(nil)
	defer context.AfterFunc(c.links.life, func() { decided(net.ErrClosed) })()
	r := &race{
		client: c, ctx: ctx, auth: auth, seen: &progress{linked: make(chan struct{}, 1)},
		clock: time.NewTimer(c.links.timing.headStart),
	}
	defer r.clock.Stop()
	avoided, tryAgain := c.networks.judge(c.links.network())
	if tryAgain {
		_ = c.links.dialOnce()
	}
	if avoided {
		r.clock.Stop()
		r.startTCP()
	} else {
		r.startQUIC()
	}
	return r.run()
}

// run waits for the first to arrive. Who is not the gateway ends the race, and so
// does a ticket that is no good: the other way would tell nothing else, or be the one
// that somebody wants us to take.
func (r *race) run() (tunnel.Stream, error) {
	for r.quic.err == nil || r.tcp.err == nil {
		select {
		case <-r.seen.linked:
			if r.quic.out == nil {
				continue // it has been lost since
			}
			r.tcp.halt()
			r.clock.Reset(r.client.links.timing.answer)
		case <-r.clock.C:
			r.startTCP()
		case o := <-r.quic.out:
			if o.err == nil || isFinal(o.err) {
				return o.stream, o.err
			}
			r.quic.lose(o.err)
			r.startTCP()
		case o := <-r.tcp.out:
			if o.err == nil {
				return r.wonByTCP(o.stream)
			}
			if isFinal(o.err) {
				return nil, o.err
			}
			r.tcp.lose(o.err)
			r.startQUIC()
		case <-r.ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(r.ctx))
		}
	}
	return nil, fmt.Errorf("%w; %w", r.tcp.err, r.quic.err)
}

func isFinal(err error) bool { return errors.Is(err, ErrTicketRefused) || isCertificate(err) }

func (r *race) startQUIC() {
	r.start(&r.quic, func(ctx context.Context) outcome {
		s, err := r.client.links.open(ctx, r.auth, r.seen)
		if err != nil {
			return outcome{err: err}
		}
		return outcome{stream: s}
	})
}

func (r *race) startTCP() {
	r.start(&r.tcp, func(ctx context.Context) outcome {
		s, err := r.client.dialTLS(ctx)
		if err != nil {
			return outcome{err: err}
		}
		return outcome{stream: s}
	})
}

// start runs a try, unless it does or has lost. What it brings when nobody wants it
// any more is ended.
func (r *race) start(l *lane, try func(context.Context) outcome) {
	if l.out != nil || l.err != nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	out := make(chan outcome)
	started := r.client.links.start(func() {
		defer stop()
		o := try(ctx)
		select {
		case out <- o:
		case <-ctx.Done():
			if o.stream != nil {
				tunnel.Abort(o.stream)
			}
		}
	})
	if !started {
		stop()
		l.err = net.ErrClosed
		return
	}
	l.out, l.stop = out, stop
}

// wonByTCP presents the credential where TCP was first, and remembers it if QUIC was
// silent.
func (r *race) wonByTCP(stream tunnel.Stream) (tunnel.Stream, error) {
	silent := r.quic.err != nil || r.quic.out != nil
	silent = silent && r.seen.silent()
	r.quic.halt()
	if silent {
		r.client.gaveUpQUIC(r.seen.link.Load())
	}
	if err := present(r.ctx, stream, r.auth); err != nil {
		return nil, err
	}
	return stream, nil
}

// gaveUpQUIC remembers that QUIC does not come through. The connection that was
// silent, if there was one, keeps the tunnels that it has: the network may come back.
func (c *Client) gaveUpQUIC(silent *link) {
	c.networks.avoid(c.links.network())
	if silent != nil {
		c.links.retire(silent)
	}
}
