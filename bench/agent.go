package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/bench/exchange"
)

// maxStrangers bounds the connections that have not proved anything yet, or are
// about to be told that the agent is busy.
const maxStrangers = 8

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

	busy sync.Mutex // held by the session with a coordinator
}

// Serve serves coordinators on control, and the exchange service on service unless it
// is nil, until ctx ends. Then it ends all it does and returns nil. It closes both
// listeners.
func (a *Agent) Serve(ctx context.Context, control, service net.Listener) error {
	identity, err := newIdentity()
	if err != nil {
		return err
	}
	host := &host{version: a.Version, trigger: a.Trigger, do: realDeeds(), addresses: ownAddresses()}
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

// accept takes a slot before each connection, so that strangers wait in the kernel's
// queue and not in memory.
func (a *Agent) accept(ctx context.Context, control net.Listener, identity tls.Certificate, host *host) error {
	defer context.AfterFunc(ctx, func() { _ = control.Close() })()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	slots := make(chan struct{}, maxStrangers)
	var delay time.Duration
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
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
			<-slots
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			if pause(ctx, delay) != nil {
				return nil
			}
			continue
		}
		delay = 0
		sessions.Go(func() {
			defer conn.Close()
			a.welcome(ctx, conn, identity, host, sync.OnceFunc(func() { <-slots }))
		})
	}
}

// welcome finds out whether a connection is from a coordinator, and serves it. Its
// slot is free again as soon as that is known.
func (a *Agent) welcome(ctx context.Context, conn net.Conn, identity tls.Certificate, host *host, free func()) {
	defer free()
	from := conn.RemoteAddr().String()
	secure, err := acceptSecure(ctx, conn, identity, a.Key)
	if err != nil {
		if ctx.Err() == nil {
			a.log("turned away " + from + ": " + printable(err.Error()))
		}
		return
	}
	l := newLink(secure)
	if !a.busy.TryLock() {
		a.log("turned away " + from + ": busy with another run")
		refuse(l, errBusy)
		return
	}
	defer a.busy.Unlock()
	free()
	a.log("coordinator at " + from + " came")
	err = host.serve(ctx, l)
	if errors.Is(err, io.EOF) {
		a.log("coordinator at " + from + " is done")
		return
	}
	a.log("coordinator at " + from + " is gone: " + err.Error())
}

func (a *Agent) log(text string) {
	if a.Log != nil {
		a.Log(text)
	}
}

// refuse answers the hello with why there will be no run.
func refuse(l *link, why error) {
	m, err := l.receive(maxHello)
	if err == nil && m.Call == callHello {
		_ = l.send(message{ID: m.ID, Error: why.Error()})
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
