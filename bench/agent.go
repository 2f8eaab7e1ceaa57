package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/bench/exchange"
)

// Agent is a host that takes part in runs: it may serve the exchange service, makes
// load and watches its host, as a coordinator with its key tells it. It serves one
// coordinator at a time.
type Agent struct {
	// Key proves both sides. It is required.
	Key Key
	// Version is of the program. A coordinator of another version is sent away.
	Version string
	// Advertise is the host that endpoints know the service by; empty for that of the
	// control connection.
	Advertise string
	// Trigger lets a coordinator name a command that is run here, once, in the middle of
	// a run (revoke). Without it a plan that has one is refused: whoever holds the key can
	// make load, and no more.
	Trigger bool
	// Service answers asks; nil stands for one without limits of its own. One that is
	// slow on purpose shows whether a run sees that its sink is the limit.
	Service *exchange.Service
	// Log is told, in a sentence, what happens; nil discards it. It may be called from
	// several goroutines.
	Log func(text string)

	busy chan struct{} // has room for the session with a coordinator

	mu     sync.Mutex // guards the rest
	told   time.Time  // of one who was turned away
	untold int        // further ones since
}

// parting is how long a session may take to end when another coordinator comes.
const parting = time.Second

// Serve serves coordinators on control, and the exchange service on service unless it
// is nil, until ctx ends. Then it ends all it does and returns nil. It closes both
// listeners.
func (a *Agent) Serve(ctx context.Context, control, service net.Listener) error {
	identity, err := newIdentity()
	if err != nil {
		return err
	}
	host := &host{version: a.Version, trigger: a.Trigger, do: realDeeds(), addresses: ownAddresses}
	group, ctx := errgroup.WithContext(ctx)
	if service != nil {
		answering := a.Service
		if answering == nil {
			answering = new(exchange.Service)
		}
		host.do.account = answering.Account
		host.service = serviceAddress(a.Advertise, service.Addr())
		group.Go(func() error { return answering.Serve(ctx, service) })
	}
	group.Go(func() error { return a.accept(ctx, control, identity, host) })
	return group.Wait()
}

// accept lets in whoever comes, and has a stranger give way to a new one.
func (a *Agent) accept(ctx context.Context, control net.Listener, identity tls.Certificate, host *host) error {
	defer context.AfterFunc(ctx, func() { _ = control.Close() })()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	strangers := newStrangers()
	a.busy = make(chan struct{}, 1)
	var delay time.Duration
	for {
		conn, err := control.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			if pause(ctx, delay) != nil {
				return nil
			}
			continue
		}
		delay = 0
		proving, leave, err := strangers.admit(ctx, sourceOf(conn.RemoteAddr()))
		if err != nil {
			_ = conn.Close()
			return nil
		}
		sessions.Go(func() {
			defer leave()
			defer conn.Close()
			a.welcome(ctx, proving, conn, identity, host, leave)
		})
	}
}

// welcome finds out whether a connection is from a coordinator, before proving ends,
// and serves it. From then on it is a stranger no more.
func (a *Agent) welcome(ctx, proving context.Context, conn net.Conn, identity tls.Certificate, host *host, leave func()) {
	from := conn.RemoteAddr().String()
	secure, err := acceptSecure(proving, conn, identity, a.Key)
	if err != nil {
		if cause := context.Cause(proving); errors.Is(cause, errCrowd) {
			err = cause
		}
		leave() // whoever reads the log keeps nobody waiting
		if ctx.Err() == nil {
			a.turnedAway("turned away " + from + ": " + printable(err.Error()))
		}
		return
	}
	if !a.take(proving) {
		refuse(proving, secure, errBusy)
		leave()
		a.turnedAway("turned away " + from + ": busy with another run")
		return
	}
	defer func() { <-a.busy }()
	leave()
	a.log("coordinator at " + from + " came")
	err = host.serve(ctx, newLink(secure))
	if errors.Is(err, io.EOF) {
		a.log("coordinator at " + from + " is done")
		return
	}
	a.log("coordinator at " + from + " is gone: " + err.Error())
}

// take makes the agent this coordinator's, if it is nobody's. One run may follow another
// at once: the session before is given a moment to end.
func (a *Agent) take(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, parting)
	defer cancel()
	select {
	case a.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// turnedAway tells of one who was, at most once a second: whoever comes again and again
// fills no log. How many were not told of is in the next line.
func (a *Agent) turnedAway(text string) {
	a.mu.Lock()
	if time.Since(a.told) < time.Second {
		a.untold++
		a.mu.Unlock()
		return
	}
	if a.untold > 0 {
		text = fmt.Sprintf("%s (and %d more before)", text, a.untold)
	}
	a.told, a.untold = time.Now(), 0
	a.mu.Unlock()
	a.log(text)
}

func (a *Agent) log(text string) {
	if a.Log != nil {
		a.Log(text)
	}
}

// refuse answers the hello with why there will be no run, before ctx ends.
func refuse(ctx context.Context, conn net.Conn, why error) {
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	m, err := readMessage(conn, maxHello)
	if err != nil || m.Call != callHello {
		return
	}
	if frame, err := appendMessage(nil, message{ID: m.ID, Error: why.Error()}); err == nil {
		_, _ = conn.Write(frame)
	}
}

// serviceAddress is host:port of the service, the host empty unless it is known.
func serviceAddress(advertise string, listening net.Addr) string {
	listens, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(listens); advertise == "" && ip != nil && !ip.IsUnspecified() {
		advertise = listens
	}
	return net.JoinHostPort(advertise, port)
}
