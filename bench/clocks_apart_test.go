package bench

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

// wrongly is a client whose clock is off: everything that it says of time, and hears, is
// by that clock. It serves over TLS on loopback until the test ends.
func wrongly(t *testing.T, key Key, off time.Duration) (address string) {
	t.Helper()
	do := realDeeds()
	do.now = func() time.Time { return time.Now().Add(off) }
	sampler := do.watch
	do.watch = func(processes []evidence.Watched) func() (evidence.Sample, error) {
		sample := sampler(processes)
		return func() (evidence.Sample, error) {
			s, err := sample()
			s.At = s.At.Add(off)
			return s, err
		}
	}
	run := do.run
	do.run = func(ctx context.Context, plan load.Plan, second func(load.Second)) (load.Result, error) {
		plan.Begin = plan.Begin.Add(-off)
		r, err := run(ctx, plan, func(s load.Second) { s.At = s.At.Add(off); second(s) })
		r.Shift(off)
		return r, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	identity, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- (&Agent{Key: key, Version: "test"}).accept(ctx, l, identity, &host{version: "test", do: do, addresses: ownAddresses})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	return l.Addr().String()
}

// Two clients whose clocks are five minutes off, one ahead and one behind, do a round at
// the same time, and what they say of it is put where it belongs.
func TestRunWithClocksApart(t *testing.T) {
	t.Parallel()
	const off = 5 * time.Minute
	key := newKey()
	sink, _ := startSink(t, key)
	o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
	o.Clients = []string{wrongly(t, key, off), wrongly(t, key, -off)}
	o.Scenario.Sustain = 2 * time.Second
	r, err := Run(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 1 || r.Rounds[0].Result.Done != 80 || r.Rounds[0].Result.Failed != 0 {
		t.Fatalf("rounds %+v", r.Rounds)
	}
	for _, v := range r.Void {
		if v.What == "clocks" {
			t.Errorf("void: %+v", v)
		}
	}
	round := r.Rounds[0]
	for _, s := range round.Result.Seconds {
		if s.At.Before(round.Began.Add(-time.Second)) || s.At.After(round.Ended) {
			t.Errorf("a second at %v of a round from %v to %v", s.At, round.Began, round.Ended)
		}
	}
	for i, want := range []time.Duration{0, off, -off} {
		h := r.Hosts[i]
		if wrong := (h.Offset - want).Abs(); wrong > h.Uncertain+time.Millisecond {
			t.Errorf("the clock of %s is off by %v ± %v, want %v", h.Role, h.Offset, h.Uncertain, want)
		}
		within := 0
		for _, s := range h.Samples {
			if at := s.At.Add(-h.Offset); at.After(round.Sustain) && at.Before(round.Ended) {
				within++
			}
		}
		if within == 0 {
			t.Errorf("of %d samples of %s none is within the round", len(h.Samples), h.Role)
		}
	}
}
