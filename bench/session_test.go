package bench

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// patientPlan is a plan that passes its check.
func patientPlan(begin time.Time) load.Plan {
	return load.Plan{Scenario: load.Default(load.Setup), Endpoint: load.Endpoint{Name: "direct", Way: "tcp", Address: "10.0.0.1:1"},
		Service: "10.0.0.1:1", Begin: begin, Of: 1, MaxInFlight: 1, Patience: time.Second}
}

// endless is a host whose load ends when it is told to, and says then what there was.
// Its clock is five minutes ahead.
func endless(running chan<- load.Plan, ended chan<- error) *host {
	do := realDeeds()
	do.now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	do.look = func(context.Context) (evidence.Host, error) { return evidence.Host{Name: "far", Cores: 4}, nil }
	do.watch = func([]evidence.Watched) func() (evidence.Sample, error) {
		return func() (evidence.Sample, error) {
			return evidence.Sample{At: do.now(), Took: time.Second}, nil
		}
	}
	do.run = func(ctx context.Context, plan load.Plan, second func(load.Second)) (load.Result, error) {
		running <- plan
		second(load.Second{At: plan.Begin, Done: 7})
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return load.Result{Scheduled: 10, Done: 7, Seconds: []load.Second{{At: plan.Begin, Done: 7}}}, ctx.Err()
	}
	return &host{version: "1", do: do, addresses: func() []netip.Addr { return nil }}
}

// meeting is a coordinator and a host at two ends of a pipe.
func meeting(t *testing.T, h *host) (ours net.Conn, served <-chan error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- h.serve(t.Context(), newLink(theirs)) }()
	return ours, done
}

func TestRunAndBreakOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, ended := make(chan load.Plan, 1), make(chan error, 1)
		conn, served := meeting(t, endless(running, ended))
		p := attended(t, newParty("client 1", "far:7400", newLink(conn)))
		if err := p.greet(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if off := p.clock.offset - 5*time.Minute; off.Abs() > p.clock.uncertain {
			t.Errorf("the clock is said to be %v ahead", p.clock.offset)
		}
		gone := watched{[]evidence.Watched{{Role: roleGateway, PID: 1 << 30}}}
		if err := p.call(t.Context(), callWatch, gone, nil, nil); err == nil || !strings.Contains(err.Error(), "there is no process 1073741824 on this host") {
			t.Errorf("a process that is gone: %v", err)
		}
		if err := p.call(t.Context(), callWatch, watched{}, nil, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now().Add(time.Second)
		seconds := make(chan load.Second, 8)
		type outcome struct {
			ran ran
			err error
		}
		finished := make(chan outcome, 1)
		go func() {
			done, err := p.run(ctx, patientPlan(begin), func(s load.Second) { seconds <- s })
			finished <- outcome{done, err}
		}()
		if plan := <-running; !plan.Begin.Equal(begin.Add(5 * time.Minute)) {
			t.Errorf("it begins at %v there, %v here", plan.Begin, begin)
		}
		if s := <-seconds; s.Done != 7 || !s.At.Equal(begin) {
			t.Errorf("the second came as %+v", s)
		}
		time.Sleep(10*time.Second + 500*time.Millisecond) // far beyond silence, and between two samples: both sides keep beating
		cancel()
		got := <-finished
		if got.err != nil || got.ran.Broken == "" || got.ran.Result.Done != 7 || !got.ran.Result.Seconds[0].At.Equal(begin) {
			t.Errorf("broken off: %+v, %v", got.ran, got.err)
		}
		if err := <-ended; !errors.Is(err, errBroken) {
			t.Errorf("the load ended with %v", err)
		}
		samples := p.taken()
		if len(samples) < 10 || samples[0].At.Sub(begin.Add(5*time.Minute)).Abs() > 5*time.Second {
			t.Errorf("%d samples, the first at %v", len(samples), samples[0].At)
		}
		p.link.close()
		<-served
	})
}

// Samples come by the clock of their host. However wrong it is, they belong to the same
// rounds, in figures and on the page.
func TestSamplesOfAnotherClock(t *testing.T) {
	curves := func(offset time.Duration) int {
		began := time.Date(2026, 11, 22, 22, 45, 1, 0, time.UTC)
		p := newParty("gateway", "far:7400", nil)
		p.clock.offset = offset
		host := calm("far", roleGateway, 1)
		for i, s := range host.samples {
			s.At = began.Add(offset + time.Duration(i+1)*time.Second)
			body, err := pack(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.event(message{Event: eventSample, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
		m := &member{party: p, host: host.host}
		v := calmView()
		r := &run{cast: cast{all: []*member{m}, clients: []*member{m}, sink: m}, report: &report.Report{Format: report.Format, ID: "1", Began: began, Ended: began.Add(time.Minute),
			Endpoints: []string{"ours"}, Plan: v.plan, Rounds: []report.Round{{Number: 1, Endpoint: "ours", Began: began, Sustain: began,
				Ended: began.Add(11 * time.Second), Result: v.result}}}}
		v.clients = nil
		if r.see(v, began, began.Add(10*time.Second)); len(v.sink.samples) != len(host.samples) {
			t.Errorf("%v ahead, %d of %d samples belong to the round", offset, len(v.sink.samples), len(host.samples))
		}
		r.hosts()
		var page strings.Builder
		if err := r.report.WritePage(&page); err != nil {
			t.Fatal(err)
		}
		return strings.Count(page.String(), "<svg")
	}
	right, wrong := curves(0), curves(5*time.Minute)
	if right == 0 || wrong != right {
		t.Errorf("%d curves of a host whose clock is right, %d of one that is 5 minutes ahead", right, wrong)
	}
}

// A coordinator that stops, without a word, leaves nothing behind.
func TestSilentCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, ended := make(chan load.Plan, 1), make(chan error, 1)
		conn, served := meeting(t, endless(running, ended))
		defer conn.Close()
		l := newLink(conn)
		body, err := json.Marshal(patientPlan(time.Now().Add(5 * time.Minute))) // by its clock
		if err != nil {
			t.Fatal(err)
		}
		go func() { // hears everything, and says nothing more
			for {
				if _, err := readMessage(conn, maxFrame); err != nil {
					return
				}
			}
		}()
		for _, m := range []message{{ID: 1, Call: callHello, Body: json.RawMessage(`{"version":"1"}`)}, {ID: 2, Call: callRun, Body: body}} {
			if err := l.send(m); err != nil {
				t.Fatal(err)
			}
		}
		<-running
		silent := time.Now()
		<-ended
		if err := <-served; err == nil {
			t.Error("the session ended without a reason")
		}
		if after := time.Since(silent); after > 5*time.Second {
			t.Errorf("the load went on for %v", after)
		}
	})
}

// An agent that stops, without a word, ends the run, and is named.
func TestSilentAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() { // reads, and says nothing
			for {
				if _, err := readMessage(theirs, maxFrame); err != nil {
					return
				}
			}
		}()
		p := newParty("sink", "far:7400", newLink(ours))
		attended := make(chan error, 1)
		began := time.Now()
		go func() { attended <- p.attend(t.Context()) }()
		called := make(chan error, 1)
		go func() { called <- p.call(t.Context(), callLook, nil, nil, nil) }()
		var gone *goneError
		if err := <-attended; !errors.As(err, &gone) || !strings.Contains(err.Error(), "the sink at far:7400 went away after 4 s") {
			t.Errorf("attended: %v", err)
		}
		if err := <-called; !errors.As(err, &gone) {
			t.Errorf("the call under way: %v", err)
		}
		if err := p.call(t.Context(), callLook, nil, nil, nil); !errors.As(err, &gone) {
			t.Errorf("a later call: %v", err)
		}
		if after := time.Since(began); after > 5*time.Second {
			t.Errorf("it took %v to see", after)
		}
	})
}

func TestSessionRefuses(t *testing.T) {
	for name, frames := range map[string][]message{
		"before hello":     {{ID: 1, Call: callRun}},
		"hello twice":      {{ID: 1, Call: callHello, Body: json.RawMessage(`{"version":"1"}`)}, {ID: 2, Call: callHello, Body: json.RawMessage(`{"version":"1"}`)}},
		"an answer":        {{ID: 1}},
		"an event":         {{ID: 1, Event: eventSample}},
		"another version":  {{ID: 1, Call: callHello, Body: json.RawMessage(`{"version":"2"}`)}},
		"hello of garbage": {{ID: 1, Call: callHello, Body: json.RawMessage(`[1]`)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, served := meeting(t, endless(nil, nil))
				defer conn.Close()
				l := newLink(conn)
				go func() {
					for {
						if _, err := l.receive(maxFrame); err != nil {
							return
						}
					}
				}()
				for _, m := range frames {
					_ = l.send(m)
				}
				synctest.Wait()
				select {
				case <-served:
				default:
					t.Error("the session goes on")
				}
			})
		})
	}
}

// A plan with a command in it is not for everybody to run.
func TestTriggerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, ended := make(chan load.Plan, 1), make(chan error, 1)
		h := endless(running, ended)
		conn, served := meeting(t, h)
		p := attended(t, newParty("client 1", "far:7400", newLink(conn)))
		if err := p.greet(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		plan := patientPlan(time.Now())
		plan.Scenario = load.Default(load.Revoke)
		plan.Scenario.Trigger = []string{"true"}
		if _, err := p.run(t.Context(), plan, nil); err == nil || !strings.Contains(err.Error(), "--trigger") {
			t.Errorf("a command was taken: %v", err)
		}
		var refused *refusedError
		if err := p.call(t.Context(), callAccount, nil, nil, nil); !errors.As(err, &refused) {
			t.Errorf("an account without a service: %v", err)
		}
		if err := p.call(t.Context(), "shell", nil, nil, nil); !errors.As(err, &refused) {
			t.Errorf("a call that is none: %v", err)
		}
		p.link.close()
		<-served
	})
}
