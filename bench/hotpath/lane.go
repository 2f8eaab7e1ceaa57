package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// The gateways. plain is none: the client goes to the service itself.
const (
	naiveGateway = "naive"
	stdLayer     = "std"
	directLayer  = "direct"
	plain        = "none"
)

// lane is a client, a gateway and a service that have nothing to do with those
// of other lanes.
type lane struct {
	gateway string // one of the above
	process *child // the gateway's; nil for plain
	end     func() error
	check   func() error // whether the gateway still is what it is called
	service *peer
	client  *peer
}

// patient bounds one order, however large.
const patient = 10 * time.Minute

// open starts a lane. Whoever calls closes it.
func (b *bench) open(ctx context.Context, gateway string) (l *lane, err error) {
	l = &lane{gateway: gateway, check: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("gateway %s: %w", gateway, err), l.close())
			l = nil
		}
	}()
	var at ready
	if l.service, at, err = startPeer(ctx, "service", struct{}{}); err != nil {
		return l, err
	}
	addr, err := netip.ParseAddrPort(at.Addr)
	if err != nil {
		return l, err
	}
	setup := clientSetup{Host: addr.Addr().String(), Port: addr.Port()}
	switch gateway {
	case plain:
	case naiveGateway:
		err = b.openNaive(ctx, l, &setup)
	default:
		err = b.openSallyport(ctx, l, &setup)
	}
	if err != nil {
		return l, err
	}
	l.client, _, err = startPeer(ctx, "client", setup)
	return l, err
}

func (b *bench) openNaive(ctx context.Context, l *lane, setup *clientSetup) error {
	password := randomText()
	p, at, err := startPeer(ctx, "naive", naiveSetup{Cert: b.identity.cert, Key: b.identity.key, User: "device", Password: password})
	if err != nil {
		return err
	}
	l.process, l.end = p.child, p.stop
	setup.Gateway, setup.Name, setup.CA = at.Addr, gatewayName, b.identity.cert
	setup.User, setup.Passwords = "device", []string{password}
	return nil
}

// close ends the lane from the client on, so that no end sees a connection
// break that it did not close.
func (l *lane) close() error {
	var errs []error
	if l.client != nil {
		errs = append(errs, l.client.stop())
	}
	if l.end != nil {
		errs = append(errs, l.end(), l.check())
	}
	if l.service != nil {
		errs = append(errs, l.service.stop())
	}
	return errors.Join(errs...)
}

// do has the client obey.
func (l *lane) do(ctx context.Context, o order) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	// The order's end must come even if the client hangs.
	defer context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.client.signalGroup(syscall.SIGKILL)
		}
	})()
	answer, err := l.client.obey(ctx, o)
	if err == nil {
		err = l.check()
	}
	if err != nil {
		err = fmt.Errorf("gateway %s: %w", l.gateway, err)
		if l.process != nil {
			err = fmt.Errorf("%w\n%s", err, l.process.said.tail())
		}
	}
	return answer, err
}

// doAll gives several orders, one after the other.
func (l *lane) doAll(ctx context.Context, orders ...order) error {
	for _, o := range orders {
		if _, err := l.do(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// cost is what an order costs the gateway in processor time, from rest to rest.
func (l *lane) cost(ctx context.Context, o order) (spent time.Duration, answer outcome, err error) {
	before, err := l.rest(ctx)
	if err != nil {
		return 0, outcome{}, err
	}
	if answer, err = l.do(ctx, o); err != nil {
		return 0, outcome{}, err
	}
	after, err := l.rest(ctx)
	return after - before, answer, err
}

// rest waits until the gateway has no more to do, and gives its processor time
// until then.
func (l *lane) rest(ctx context.Context) (time.Duration, error) {
	const (
		look  = 25 * time.Millisecond
		quiet = 250 * time.Microsecond // at most within a look
		most  = 200                    // looks: what never rests is not waited for
	)
	last, err := processCPU(l.process.pid())
	again := time.NewTicker(look)
	defer again.Stop()
	for range most {
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-l.process.ended:
			return 0, l.process.death()
		case <-again.C:
		}
		var now time.Duration
		if now, err = processCPU(l.process.pid()); err == nil && now-last < quiet {
			return now, nil
		}
		last = now
	}
	return last, err
}
