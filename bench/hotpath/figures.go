package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What is measured. The names are what reports and goals go by.
const (
	relayDown  = "relay down"
	relayUp    = "relay up"
	speedDown  = "throughput down"
	speedUp    = "throughput up"
	newTunnel  = "new tunnel"
	delayP50   = "600-byte ping-pong, p50"
	delayP99   = "600-byte ping-pong, p99"
	addedP50   = "delay added, p50"
	idleBoth   = "idle tunnel, 600 bytes each way"
	idleUpload = "idle tunnel, 32 KiB upload"
	goroutines = "goroutines per idle tunnel"
)

// atOnce is the name of an idle figure while nothing has settled yet.
func atOnce(figure string) string { return figure + ", at once" }

// later is the name of an idle figure some time on.
func later(figure string, after time.Duration) string {
	return fmt.Sprintf("%s, %g s later", figure, after.Seconds())
}

const (
	message     = 600             // bytes of a ping, and of an exchange before idling
	upload      = 32 << 10        // bytes before idling, in the other variant
	warming     = 8 << 20         // bytes each way before bulk: past slow start and small records
	settling    = 5 * time.Second // after which a tunnel counts as idle: what it needed to move bytes is put away
	churnAtOnce = 8               // tunnels in set-up at a time: a gateway at work, not one that wakes up for each
)

// turns runs something on each lane, a round at a time; the first lane of a
// round is the second of the one before.
func (b *bench) turns(ctx context.Context, figure string, lanes []*lane, rounds int, do func(*lane) error) error {
	for round := range rounds {
		for i := range lanes {
			l := lanes[(round+i)%len(lanes)]
			b.progress("%s: round %d of %d, gateway %s", figure, round+1, rounds, l.gateway)
			if err := do(l); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// withLanes opens a lane for each gateway, and closes them all.
func (b *bench) withLanes(ctx context.Context, gateways []string, do func([]*lane) error) (err error) {
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.close())
		}
	}()
	for _, gateway := range gateways {
		b.progress("starting gateway %s", gateway)
		l, err := b.open(ctx, gateway)
		if err != nil {
			return err
		}
		lanes = append(lanes, l)
	}
	return do(lanes)
}

// relay measures bulk through one tunnel, in each direction.
func (b *bench) relay(ctx context.Context) error {
	return b.relayThrough(ctx, b.gateways, b.plan.Bulk, asItIs)
}

// asItIs names a figure that is measured for one set of gateways only.
func asItIs(figure string) string { return figure }

func (b *bench) relayThrough(ctx context.Context, gateways []string, bulk int64, named func(string) string) error {
	gib := float64(bulk) / (1 << 30)
	return b.withLanes(ctx, gateways, func(lanes []*lane) error {
		return b.turns(ctx, named("relay"), lanes, b.plan.Rounds, func(l *lane) error {
			warm := order{Do: "exchange", Times: 1, Up: max(headSize, min(warming, bulk)), Down: min(warming, bulk)}
			if err := l.doAll(ctx, order{Do: "open", N: 1}, warm); err != nil {
				return err
			}
			for _, way := range []struct {
				figure, speed string
				up, down      int64
			}{
				{relayDown, speedDown, headSize, bulk},
				{relayUp, speedUp, bulk, 1},
			} {
				spent, answer, err := l.cost(ctx, order{Do: "exchange", Times: 1, Up: way.up, Down: way.down})
				if err != nil {
					return err
				}
				b.results.add(named(way.figure), "CPU-s/GiB", l.gateway, spent.Seconds()/gib)
				b.results.add(named(way.speed), "MiB/s", l.gateway, gib*1024/answer.Took.Seconds())
			}
			return l.doAll(ctx, order{Do: "drop"})
		})
	})
}

// setup measures new tunnels: handshake, ticket, dial, one exchange, end.
func (b *bench) setup(ctx context.Context) error { return b.setupBy(ctx, b.gateways, asItIs) }

func (b *bench) setupBy(ctx context.Context, gateways []string, named func(string) string) error {
	return b.withLanes(ctx, gateways, func(lanes []*lane) error {
		churn := order{Do: "churn", N: min(100, b.plan.Setups), Parallel: churnAtOnce, Up: headSize, Down: 1}
		b.progress("%s: warming up", named(newTunnel))
		for _, l := range lanes {
			if err := l.doAll(ctx, churn); err != nil {
				return err
			}
		}
		return b.churns(ctx, lanes, churn, named(newTunnel))
	})
}

// churns measures tunnels that come and go.
func (b *bench) churns(ctx context.Context, lanes []*lane, churn order, figure string) error {
	churn.N = b.plan.Setups
	return b.turns(ctx, figure, lanes, b.plan.Rounds, func(l *lane) error {
		spent, _, err := l.cost(ctx, churn)
		if err != nil {
			return err
		}
		b.results.add(figure, "CPU-ms", l.gateway, spent.Seconds()*1e3/float64(churn.N))
		return nil
	})
}

// latency measures a small message there and back, through one tunnel that is
// otherwise idle.
func (b *bench) latency(ctx context.Context) error {
	return b.withLanes(ctx, append([]string{plain}, b.gateways...), func(lanes []*lane) error {
		ping := order{Do: "exchange", Times: max(100, b.plan.Pings/10), Up: message, Down: message}
		b.progress("latency: warming up")
		for _, l := range lanes {
			if err := l.doAll(ctx, order{Do: "open", N: 1}, ping); err != nil {
				return err
			}
		}
		ping.Times = b.plan.Pings
		err := b.turns(ctx, "latency", lanes, b.plan.Rounds, func(l *lane) error {
			answer, err := l.do(ctx, ping)
			if err != nil {
				return err
			}
			b.results.add(delayP50, "µs", l.gateway, micros(answer.P50))
			b.results.add(delayP99, "µs", l.gateway, micros(answer.P99))
			return nil
		})
		b.results.subtract(addedP50, delayP50, plain)
		return err
	})
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
