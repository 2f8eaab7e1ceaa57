package main

import (
	"context"
	"fmt"
	"slices"
)

// The further carriers, each of which is a gateway of ours with std's record layer
// where it has one.
const (
	carrierH1   = "h1"   // HTTP CONNECT by HTTP/1.1
	carrierH2   = "h2"   // by HTTP/2
	carrierH3   = "h3"   // by HTTP/3
	carrierQUIC = "quic" // SOCKS5 on QUIC streams
)

// carriers are all of them, and shared those whose connections carry many tunnels.
func carriers() []string { return []string{carrierH1, carrierH2, carrierH3, carrierQUIC} }
func shared() []string   { return []string{carrierH2, carrierH3, carrierQUIC} }

// What is measured of carriers, beside byCarrier of what is of others.
const (
	oneMoreTunnel  = "one more tunnel on a connection"
	idleConnection = "idle connection with a tunnel"
	idleOneMore    = "one more idle tunnel on a connection"
)

// byCarrier is the name of a figure that is measured for carriers as well.
func byCarrier(figure string) string { return figure + ", by carrier" }

// carriersShare is what part of plan.Bulk carriers move: they are many, and slow.
const carriersShare = 4

// carriers measures what it costs to come in by another way.
func (b *bench) carriers(ctx context.Context) error {
	n, err := b.newNode()
	if err != nil {
		return err
	}
	if err := n.configure(carrierQUIC, 443, b.identity); err != nil {
		return err
	}
	if err := n.check(ctx); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		b.results.miss("carriers", "not built: "+err.Error())
		return nil
	}
	gateways := append([]string{naiveGateway, stdLayer}, carriers()...)
	if err := b.relayThrough(ctx, gateways, max(1, b.plan.Bulk/carriersShare), byCarrier); err != nil {
		return err
	}
	if err := b.setupBy(ctx, gateways, byCarrier); err != nil {
		return err
	}
	if err := b.setupMore(ctx); err != nil {
		return err
	}
	for range b.plan.IdleRounds {
		if err := b.idleConnections(ctx, gateways); err != nil {
			return err
		}
	}
	return nil
}

// setupMore measures new tunnels on a connection that has one: ticket, dial, one
// exchange, end.
func (b *bench) setupMore(ctx context.Context) error {
	return b.withLanes(ctx, shared(), func(lanes []*lane) error {
		churn := order{Do: "churn", Live: true, N: min(100, b.plan.Setups), Parallel: churnAtOnce, Up: headSize, Down: 1}
		b.progress("%s: warming up", oneMoreTunnel)
		for _, l := range lanes {
			if err := l.doAll(ctx, order{Do: "open", N: 1}, churn); err != nil {
				return err
			}
		}
		return b.churns(ctx, lanes, churn, oneMoreTunnel)
	})
}

// idleConnections measures what connections hold that have idled for a while: with
// one tunnel each, and then with more.
func (b *bench) idleConnections(ctx context.Context, gateways []string) error {
	return b.withLanes(ctx, gateways, func(lanes []*lane) error {
		return b.turns(ctx, idleConnection, lanes, 1, func(l *lane) error {
			r := &rested{lane: l}
			return b.idleConnection(ctx, r)
		})
	})
}

func (b *bench) idleConnection(ctx context.Context, r *rested) error {
	exchange := order{Do: "exchange", Times: 1, Parallel: b.plan.Parallel, Up: message, Down: message}
	if err := b.fill(ctx, r, b.plan.Connections, exchange); err != nil {
		return err
	}
	connection, err := b.heldIdle(ctx, r, b.plan.Connections)
	if err != nil {
		return err
	}
	many := slices.Contains(shared(), r.gateway)
	var tunnel float64
	if many {
		if tunnel, err = b.fillMore(ctx, r, exchange); err != nil {
			return err
		}
	}
	// It counts only if all are still there, which is no rest.
	answer, err := r.do(ctx, order{Do: "probe", Parallel: b.plan.Parallel, Up: headSize, Down: 1})
	switch {
	case err != nil:
		return err
	case answer.Dead > 0:
		b.results.miss(idleConnection+", gateway "+r.gateway, fmt.Sprintf("%d tunnels had ended by then", answer.Dead))
		return r.doAll(ctx, order{Do: "drop"})
	}
	b.results.add(idleConnection, "KiB RSS", r.gateway, connection)
	if many {
		b.results.add(idleOneMore, "KiB RSS", r.gateway, tunnel)
	}
	return r.doAll(ctx, order{Do: "drop"}) // so that the next has the machine's memory
}

// fillMore opens further tunnels on the connections there are, and gives what each
// holds once it idles.
func (b *bench) fillMore(ctx context.Context, r *rested, exchange order) (held float64, err error) {
	if r.base, err = resident(r.process.pid()); err != nil {
		return 0, err
	}
	more := b.plan.Connections * b.plan.Streams
	open := order{Do: "open", Live: true, N: more, Parallel: b.plan.Parallel}
	if err := b.leaveIdle(ctx, r, open, exchange); err != nil {
		return 0, err
	}
	return b.heldIdle(ctx, r, more)
}

// heldIdle is what each of so many holds after settling.
func (b *bench) heldIdle(ctx context.Context, r *rested, of int) (float64, error) {
	if err := r.idleFor(ctx, min(settling, b.plan.After)); err != nil {
		return 0, err
	}
	return r.held(of)
}
