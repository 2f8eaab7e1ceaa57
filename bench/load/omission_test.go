package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// fakePacer is a pacer in fake time, in which sleeps are exact.
func fakePacer(s Scenario, inFlight int, patience time.Duration) *pacer {
	return &pacer{rec: newRecorder(time.Now(), s), slots: make(chan struct{}, inFlight), patience: patience, wait: waitUntil}
}

// A service that answers in 1 ms stands still for 300 ms. Open-loop, everything
// scheduled in those 300 ms waits for what is left of them; a closed loop would have
// sent one operation, and missed the rest. At 1,000 a second for 10 s, 200 of 10,000
// operations must then take longer than 100 ms, and the 99th percentile is not 1 ms
// but 200: exactly 1 % waits longer.
func TestNoCoordinatedOmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Kind: Setup, Rate: 1000, Sustain: 10 * time.Second}
		p := fakePacer(s, 1000, time.Minute)
		from := p.rec.begin.Add(5 * time.Second)
		until := from.Add(300 * time.Millisecond)
		p.run(t.Context(), row("exchange"), p.rec.begin, (&Plan{Scenario: s}).arrivals(), func(_ context.Context, _ uint64, at time.Time) error {
			if now := time.Now(); !now.Before(from) && now.Before(until) {
				time.Sleep(time.Until(until))
			}
			time.Sleep(time.Millisecond)
			p.rec.took("exchange", at, at, 0)
			return nil
		})
		r := p.rec.take()
		o := rowOf(r, "exchange")
		if r.Done != 10_000 || r.Full != 0 || o.Slip.Max() > time.Microsecond {
			t.Errorf("%d done, %d waited for others, slip %v", r.Done, r.Full, o.Slip.Max())
		}
		for _, tt := range []struct {
			above time.Duration
			want  uint64
		}{{2 * time.Millisecond, 299}, {101 * time.Millisecond, 200}, {201 * time.Millisecond, 100}, {301 * time.Millisecond, 0}} {
			if got := o.Latency.Above(tt.above); got+1 < tt.want || got > tt.want+1 {
				t.Errorf("%d took longer than %v, want %d", got, tt.above, tt.want)
			}
		}
		if p98, p99 := o.Latency.Quantile(.965), o.Latency.Quantile(.99); p98 != time.Millisecond || p99 < 199*time.Millisecond || p99 > 202*time.Millisecond {
			t.Errorf("p96.5 %v, p99 %v", p98, p99)
		}
	})
}

// The same with one operation at a time: now the generator is late too, and says so.
// What patience ends before it began is a failure, and counted.
func TestSlotsAreSlip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Kind: Setup, Rate: 100, Sustain: time.Second}
		p := fakePacer(s, 1, 200*time.Millisecond)
		p.run(t.Context(), row("exchange"), p.rec.begin, (&Plan{Scenario: s}).arrivals(), func(_ context.Context, k uint64, at time.Time) error {
			if k == 49 {
				time.Sleep(500 * time.Millisecond)
				return os.ErrDeadlineExceeded
			}
			p.rec.took("exchange", at, at, 0)
			return nil
		})
		r := p.rec.take()
		o := rowOf(r, "exchange")
		// Number 49 is due at 495 ms and goes until 995. The last 20 of the 50 behind it,
		// due after 795, still begin then; the one due at 795 may go either way.
		if r.Scheduled != 100 || r.Done+r.Failed != 100 || r.Unstarted < 29 || r.Unstarted > 30 || r.Failed != r.Unstarted+1 {
			t.Errorf("%d scheduled, %d done, %d failed, %d not begun", r.Scheduled, r.Done, r.Failed, r.Unstarted)
		}
		// All that never began waited, as did the first that then did; none before them.
		if r.Full <= r.Unstarted || r.Full > 50 {
			t.Errorf("%d waited for others, %d of them in vain", r.Full, r.Unstarted)
		}
		if r.Failures[Timeout] != r.Failed || o.Slip.Count() != r.Scheduled-r.Unstarted {
			t.Errorf("%v, slip of %d", r.Failures, o.Slip.Count())
		}
		if slip := o.Slip.Max(); slip < 189*time.Millisecond || slip > 201*time.Millisecond {
			t.Errorf("slip %v", slip)
		}
	})
}

// A run that is broken off counts what was due until then, once.
func TestPacerIsBrokenOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Kind: Setup, Rate: 10, Sustain: 10 * time.Second}
		p := fakePacer(s, 100, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p.run(ctx, row("exchange"), p.rec.begin, (&Plan{Scenario: s}).arrivals(), func(ctx context.Context, k uint64, _ time.Time) error {
			if k%2 == 0 {
				return nil
			}
			<-ctx.Done()
			return errors.New("whatever a connection says when it is closed under way")
		})
		if r := p.rec.take(); r.Scheduled != 30 || r.Done != 15 || r.Unfinished != 15 || r.Failed != 0 {
			t.Errorf("%d scheduled, %d done, %d unfinished, %d failed", r.Scheduled, r.Done, r.Unfinished, r.Failed)
		}
	})
}

// A poll whose tunnel ends before it is due has failed then, not when it was due.
func TestPollEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Kind: Push, Sustain: 5 * time.Second, Down: time.Minute}
		p := fakePacer(s, 1, time.Minute)
		c := &client{plan: Plan{Scenario: s, Patience: time.Minute}, rec: p.rec, pacer: p,
			tunnels: &tunnels{rec: p.rec, open: make(map[*tunnel]struct{})}}
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.CopyN(io.Discard, theirs, 100)
			time.Sleep(time.Second)
			_ = theirs.Close()
		}()
		err := c.poll(t.Context(), c.tunnels.add(ours), "poll", exchange.Ask{Up: 60, Hold: 10 * time.Second})
		r := p.rec.take()
		if err == nil || r.Scheduled != 1 || r.Failures[Ended] != 1 || len(r.Outside) != 0 || r.Seconds[1].Scheduled != 1 {
			t.Errorf("%v; %d scheduled, failed %v, outside %v", err, r.Scheduled, r.Failures, r.Outside)
		}
		c.tunnels.abort()
	})
}

// Through a real gateway: while the service stands still, operations fall due, and
// each of them waited for it.
func TestStall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Requests, Rate: 200, Devices: 10, Ramp: 300 * time.Millisecond, Sustain: time.Second, UpBytes: 100, DownBytes: 100}
	p := w.plan("tls", w.tls(t), s)
	const stall = 300 * time.Millisecond
	stalled := make(chan struct{})
	r, err := Run(t.Context(), p, Observer{phase: func(phase string, _ time.Time) {
		if phase == phaseSustain {
			go func() {
				defer close(stalled)
				w.standStill()
				<-time.After(stall) // this is how long the service stands still
				w.goOn()
			}()
		}
	}})
	<-stalled
	if err != nil || r.Done != 200 {
		t.Fatalf("%d done, %v, %v", r.Done, r.Failures, err)
	}
	// Phase comes no later than a few ms into sustain. 200 a second fall due; those of
	// the first 200 ms wait for longer than 100.
	if late := rowOf(r, "exchange").Latency.Above(stall / 3); late < 36 {
		t.Errorf("%d took longer than %v", late, stall/3)
	}
	// With 10 tunnels a closed loop would have seen 10.
	if p90 := rowOf(r, "exchange").Latency.Quantile(.9); p90 < stall/2 {
		t.Errorf("p90 %v", p90)
	}
}

// A gateway that leaves polls unanswered and then drops the tunnels makes the devices
// late, not the generator: no slip, and all of it in the latency.
func TestDroppedInTheWake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Storm, Devices: 4, Warm: 1, Ramp: 200 * time.Millisecond, Within: 50 * time.Millisecond,
		Sustain: 300 * time.Millisecond, UpBytes: 100, DownBytes: 100}
	p := w.plan("tls", w.tls(t), s)
	w.standStill()
	time.AfterFunc(s.Ramp+s.Within+time.Second, func() {
		w.cut(func(int) bool { return true })
		w.goOn()
	})
	charged(t, run(t, p), "wake", 4)
}

// The same if the tunnel itself is what does not come in time.
func TestOpenedTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Idle, Devices: 4, Ramp: 200 * time.Millisecond, Sustain: 300 * time.Millisecond, UpBytes: 100, DownBytes: 100}
	open := make(chan struct{})
	p := w.plan("tls", w.accept(t, w.listen(t), func(conn net.Conn) {
		<-open
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{w.identity}})
		w.relay(secure)
	}), s)
	time.AfterFunc(s.Ramp+s.Sustain+time.Second, func() { close(open) })
	charged(t, run(t, p), "exchange", 4)
}

// charged wants n operations that the gateway kept waiting for a second, about.
func charged(t *testing.T, r Result, name string, n uint64) {
	t.Helper()
	o := rowOf(r, name)
	if r.Done != n || o.Latency.Count() != n || o.Slip.Count() != n {
		t.Fatalf("%d done, %v; %d latencies, %d slips", r.Done, r.Failures, o.Latency.Count(), o.Slip.Count())
	}
	if least := o.Latency.Quantile(0); least < 700*time.Millisecond || o.Slip.Max() > 400*time.Millisecond {
		t.Errorf("latency from %v, slip to %v", least, o.Slip.Max())
	}
}

// A generator at rest keeps its schedule. How exactly is for the operator to see; here
// nothing is lost, nothing early, and the rate is reached.
func TestSelfTest(t *testing.T) {
	t.Parallel()
	e, err := SelfTest(t.Context(), 2000, 250*time.Millisecond)
	if err != nil || e.Begun != 500 || e.Slip.Count() != 500 || e.Asked != 2000 || e.Achieved > 2000 || e.Achieved <= 0 {
		t.Errorf("%+v, %v", e, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SelfTest(ctx, 10, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
