package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A run that is broken off says so, and what it saw until then.
func TestPartialResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateway := w.socks(t)
	together(len(Kinds()), func(i int) {
		kind := Kinds()[i]
		t.Run(kind, func(t *testing.T) {
			s := small(kind)
			s.Sustain = time.Hour
			p := w.plan("socks", gateway, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := Run(ctx, p, Observer{phase: func(phase string, _ time.Time) {
				if phase == phaseSustain {
					time.AfterFunc(50*time.Millisecond, cancel)
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%v", err)
			}
			if r.Sustain <= 0 || r.Sustain > 30*time.Second || len(r.Seconds) == 0 || r.Failed != 0 {
				t.Errorf("sustain %v, %d seconds, failed %v", r.Sustain, len(r.Seconds), r.Failures)
			}
			if r.Scheduled != r.Done+r.Unfinished {
				t.Errorf("%d scheduled, %d done, %d unfinished", r.Scheduled, r.Done, r.Unfinished)
			}
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := w.plan("tcp", w.service, small(Setup))
	p.Begin = time.Now().Add(time.Hour)
	if _, err := Run(ctx, p, Observer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("before it began: %v", err)
	}
}

// An observer is told of each phase once, in order, and of every second as it ends.
func TestObserver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Setup, Rate: 20, Ramp: 100 * time.Millisecond, Sustain: 1100 * time.Millisecond, Down: 100 * time.Millisecond}
	p := w.plan("tcp", w.service, s)
	p.Begin = time.Now().Add(50 * time.Millisecond).Round(0) // as it comes from another host: no monotonic clock
	var phases []string
	var seconds []Second
	r, err := Run(t.Context(), p, Observer{
		phase:  func(phase string, _ time.Time) { phases = append(phases, phase) },
		Second: func(s Second) { seconds = append(seconds, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{phaseRamp, phaseSustain, phaseDown, phaseDrain, phaseDone}
	if !slices.Equal(phases, want) && !slices.Equal(phases, slices.DeleteFunc(slices.Clone(want), func(s string) bool { return s == phaseDrain })) {
		t.Errorf("%v", phases)
	}
	var done uint64
	for _, s := range seconds {
		if done += s.Done; s.Done > 0 && (s.P50 <= 0 || s.P99 < s.P50 || s.Max < s.P99) {
			t.Errorf("%+v", s)
		}
	}
	if len(seconds) != len(r.Seconds) || len(seconds) < 2 || done != r.Done+2 { // one in each ramp
		t.Errorf("%d done in all, %d in the seconds: %+v", r.Done, done, seconds)
	}
	if at := r.Seconds[0].At.Sub(p.Begin); at < -10*time.Millisecond || at > 10*time.Millisecond {
		t.Errorf("it began %v after it should have", at)
	}
}

// Tunnels that end by themselves while they are held have died; each is counted, and
// what it was to do failed.
func TestDied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Idle, Devices: 4, Ramp: 300 * time.Millisecond, Sustain: 1500 * time.Millisecond, UpBytes: 1, DownBytes: 1}
	r, err := Run(t.Context(), w.plan("tls", w.tls(t), s), Observer{phase: func(phase string, _ time.Time) {
		for phase == phaseSustain && w.account().Open < 4 {
			runtime.Gosched() // the last may be late
		}
		if phase == phaseSustain {
			w.cut(func(int) bool { return true })
		}
	}})
	if err != nil || r.Died != r.Held || r.Failed != 4 || r.Done != 0 {
		t.Errorf("%d held, %d died, %d done, failed %v, %v", r.Held, r.Died, r.Done, r.Failures, err)
	}
}

// A tunnel that comes to stand while a run is broken off is ended like the others.
func TestAbortIsForGood(t *testing.T) {
	t.Parallel()
	all := &tunnels{rec: new(recorder), open: make(map[*tunnel]struct{})}
	for range 2 {
		ours, theirs := net.Pipe()
		stands := all.add(ours)
		all.abort()
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || all.rec.tunnels.Load() != 0 {
			t.Errorf("%v, %d are open", err, all.rec.tunnels.Load())
		}
		if err := stands.Close(); err != nil || all.rec.tunnels.Load() != 0 {
			t.Errorf("closed again: %v, %d are open", err, all.rec.tunnels.Load())
		}
	}
}

// Devices whose tunnel was cut open another, and go on. The run is broken off when they
// have: how long that takes is the machine's doing.
func TestPollsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const devices, polls = 4, 8
	s := Scenario{Kind: Push, Devices: devices, Ramp: 300 * time.Millisecond, Sustain: 10 * time.Minute,
		Heartbeat: [2]time.Duration{200 * time.Millisecond, 300 * time.Millisecond}}
	ctx, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	cut, whole, since := false, 0, uint64(0)
	r, err := Run(ctx, w.plan("tls", w.tls(t), s), Observer{
		phase: func(phase string, _ time.Time) {
			if phase == phaseSustain && w.reached(ctx, devices) == nil {
				w.cut(func(int) bool { return true })
				cut = true
			}
		},
		Second: func(second Second) {
			if cut && w.came() >= 2*devices && second.Tunnels == devices {
				whole, since = whole+1, since+second.Done
			}
			if whole > 1 && since >= polls {
				enough()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	failed := r.Failed // with the polls that were due just before they were cut
	for _, n := range r.Outside {
		failed += n
	}
	if r.Died != r.Held || failed < devices {
		t.Errorf("%d held, %d died, failed %v %v", r.Held, r.Died, r.Failures, r.Outside)
	}
	if n := rowOf(r, "setup").Latency.Count(); n < devices || rowOf(r, "poll").Latency.Count() < polls {
		t.Errorf("%d opened again, %d polls", n, rowOf(r, "poll").Latency.Count())
	}
}

// Revoking ends some tunnels: those are reckoned from when the command began, and the
// others lived on.
func TestRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateway := w.socks(t)
	const devices = 8
	// The command writes here. It is a small one, for it must have begun before the
	// tunnels are looked at for the last time.
	orders := filepath.Join(t.TempDir(), "orders")
	if err := syscall.Mkfifo(orders, 0o600); err != nil {
		t.Fatal(err)
	}
	heard, err := os.OpenFile(orders, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, over := context.WithCancel(t.Context())
	var took time.Duration // of the gateway, at least
	var revoking sync.WaitGroup
	revoking.Go(func() { // what a gateway does when it is told to revoke
		if _, err := heard.Read(make([]byte, 1)); err != nil {
			return
		}
		told := time.Now()
		if w.reached(ctx, devices) == nil { // a tunnel may be late
			took = time.Since(told)
			w.cut(func(i int) bool { return i%2 == 0 })
		}
	})
	s := Scenario{Kind: Revoke, Devices: devices, Ramp: 400 * time.Millisecond, Sustain: 4 * time.Second,
		Trigger: []string{"sh", "-c", `echo revoke > "$0"`, orders}}
	r := run(t, w.plan("socks", gateway, s))
	over()
	_ = heard.Close()
	revoking.Wait()
	// Reckoned from anything that was before the command, it would be more than half of
	// sustain, which is when the command began.
	o := rowOf(r, "revoke")
	if r.Done != devices/2 || r.Lived != devices/2 || r.Died != 0 || r.Failed != 0 || o.Latency.Count() != devices/2 ||
		o.Latency.Max() > s.Sustain/2 || o.Latency.Quantile(0) < took*99/100 {
		t.Errorf("%d ended, %d lived, %d died, %v %v, latency from %v to %v, the gateway took %v",
			r.Done, r.Lived, r.Died, r.Failures, r.Outside, o.Latency.Quantile(0), o.Latency.Max(), took)
	}
}

// A trigger that fails, or goes on for too long, is an error, with a result.
func TestTriggerFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, command := range [][]string{{"false"}, {"sleep", "600"}} {
		s := Scenario{Kind: Revoke, Devices: 2, Ramp: 100 * time.Millisecond, Sustain: 300 * time.Millisecond, Trigger: command}
		r, err := Run(t.Context(), w.plan("tcp", w.service, s), Observer{})
		var exit *exec.ExitError
		if !errors.As(err, &exit) || errors.Is(err, context.DeadlineExceeded) || r.Lived != 2 || r.Scheduled != 2 {
			t.Errorf("%v: %d lived, %v", command, r.Lived, err)
		}
	}
}

// Two results add up; a result survives JSON.
func TestMerge(t *testing.T) {
	t.Parallel()
	sample := func(ms ...int) (h Histogram) {
		for _, n := range ms {
			h.Record(time.Duration(n) * time.Millisecond)
		}
		return h
	}
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	a := Result{Scheduled: 3, Done: 2, Failed: 1, Full: 2, Failures: map[string]uint64{Reset: 1}, Up: 5, Down: 6, Sustain: 9 * time.Second, Held: 1,
		Operations: []Operation{{Name: "setup", Latency: sample(1, 2), Slip: sample(1, 1, 1), Within10s: 2, Within30s: 2}},
		Seconds:    []Second{{At: at, Scheduled: 3, Done: 2, InFlight: 1, P99: 2 * time.Millisecond}, {At: at.Add(time.Second), Failed: 1}}}
	b := Result{Scheduled: 2, Done: 1, Unfinished: 1, Full: 1, Outside: map[string]uint64{TLS: 2}, Down: 4, Sustain: 10 * time.Second, Handshakes: 3, Resumed: 1,
		Operations: []Operation{{Name: "setup", Latency: sample(30), GaveUp: sample(9, 9), Within10s: 1, Within30s: 1}, {Name: "exchange", Latency: sample(4)}},
		Seconds:    []Second{{At: at.Add(5 * time.Minute), Scheduled: 2, Done: 1, InFlight: 2, P99: 3 * time.Millisecond, Slip: 4}}}
	m := Merge(a, b)
	if m.Scheduled != 5 || m.Done != 3 || m.Failed != 1 || m.Unfinished != 1 || m.Full != 3 || m.Failures[Reset] != 1 || m.Outside[TLS] != 2 || m.Up != 5 ||
		m.Down != 10 || m.Sustain != 10*time.Second || m.Held != 1 || m.Handshakes != 3 || m.Resumed != 1 {
		t.Errorf("%+v", m)
	}
	setup := rowOf(m, "setup")
	if setup.Latency.Count() != 3 || setup.GaveUp.Count() != 2 || setup.Slip.Count() != 3 || setup.Within10s != 3 || setup.Latency.Above(10*time.Millisecond) != 1 || rowOf(m, "exchange").Latency.Count() != 1 {
		t.Errorf("%+v", m.Operations)
	}
	want := []Second{{At: at, Scheduled: 5, Done: 3, InFlight: 3, P99: 3 * time.Millisecond, Slip: 4}, {At: at.Add(time.Second), Failed: 1}}
	if !reflect.DeepEqual(m.Seconds, want) {
		t.Errorf("%+v", m.Seconds)
	}
	if a.Operations[0].Latency.Count() != 2 || a.Seconds[0].Done != 2 || len(a.Failures) != 1 {
		t.Errorf("merging changed what was merged: %+v", a)
	}
	b.Shift(-5 * time.Minute)
	if !b.Seconds[0].At.Equal(at) {
		t.Errorf("shifted to %v", b.Seconds[0].At)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != string(text) {
		t.Errorf("%s\n%s\n%v", text, again, err)
	}
}
