package load

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// small makes a default scenario one that a test can wait for.
func small(kind string) Scenario {
	s := Default(kind)
	s.Ramp, s.Sustain, s.Down = 150*time.Millisecond, 300*time.Millisecond, 50*time.Millisecond
	u, _ := s.uses()
	if u.rate {
		s.Rate = 100
	}
	if u.devices {
		s.Devices = 10
	}
	if u.within {
		s.Within = 200 * time.Millisecond
	}
	if u.extender {
		s.Accounts, s.Mailboxes = 2, 400
		s.Scale = 6000
	}
	if u.heartbeat {
		s.Heartbeat, s.Scale = [2]time.Duration{5 * time.Second, 20 * time.Second}, 100
	}
	if closed(kind) {
		s.Sustain = 1500 * time.Millisecond
	}
	if kind == Bulk {
		s.DownBytes = 64 << 10
	}
	if kind == Attachments {
		s.Rate = 20
	}
	return s
}

// closed is whether operations of a kind do not fall due by themselves, but one after
// the other: how many there are within a time is the machine's doing.
func closed(kind string) bool {
	return slices.Contains([]string{Bulk, Push, Extender, Day}, kind)
}

// Every kind does, through a gateway, what it says, and nothing fails. What is a closed
// loop gets more time if the machine was too busy for all of it.
func TestKinds(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		kind      string
		scheduled [2]uint64 // at least, at most
		rows      []string
		held      uint64
	}{
		{Setup, [2]uint64{30, 30}, []string{"setup", "exchange"}, 0},
		{Idle, [2]uint64{10, 10}, []string{"exchange"}, 10},
		{Bulk, [2]uint64{1, 1e6}, []string{"transfer"}, 0},
		{Requests, [2]uint64{30, 30}, []string{"exchange"}, 10},
		{Push, [2]uint64{5, 400}, []string{"poll"}, 10},
		{Storm, [2]uint64{10, 10}, []string{"wake", "setup", "poll", "sync", "fetch"}, 5},
		{Morning, [2]uint64{10, 10}, []string{"morning", "setup", "exchange"}, 0},
		{Extender, [2]uint64{4, 14_000}, []string{"event"}, 4},
		{Attachments, [2]uint64{6, 6}, []string{"attachment"}, 10},
		{Day, [2]uint64{150 + 1, 150 + 400}, []string{"poll", "sync", "attachment", "setup"}, 10},
	}
	together(len(kinds), func(i int) {
		tt := kinds[i]
		t.Run(tt.kind, func(t *testing.T) {
			w := newWorld(t)
			s, times := small(tt.kind), uint64(1)
			r := run(t, w.plan("socks", w.socks(t), s))
			enough := func() bool {
				return r.Scheduled >= times*tt.scheduled[0] &&
					!slices.ContainsFunc(tt.rows, func(name string) bool { return rowOf(r, name).Latency.Count() == 0 })
			}
			for closed(tt.kind) && !enough() && times < 16 {
				doneWhatItDid(t, r)
				t.Logf("not all of it came in %v: %d scheduled, %d handshakes, %+v", s.Sustain, r.Scheduled, r.Handshakes, r.Seconds)
				times *= 4
				s.Sustain *= 4
				r = run(t, w.plan("socks", w.socks(t), s))
			}
			doneWhatItDid(t, r)
			if r.Scheduled < times*tt.scheduled[0] || r.Scheduled > times*tt.scheduled[1] {
				t.Errorf("%d scheduled, want %d times %v", r.Scheduled, times, tt.scheduled)
			}
			if r.Held > tt.held { // what was opened late, on a busy machine, is not among them
				t.Errorf("%d held, want %d", r.Held, tt.held)
			}
			for _, name := range tt.rows {
				if rowOf(r, name).Latency.Count() == 0 {
					t.Errorf("%s: none", name)
				}
			}
			if r.Handshakes == 0 {
				t.Error("no handshake")
			}
		})
	})
}

// doneWhatItDid wants nothing of a run to have failed, and its parts to agree.
func doneWhatItDid(t *testing.T, r Result) {
	t.Helper()
	if r.Failed != 0 || r.Unfinished != 0 || r.Died != 0 || len(r.Outside) != 0 {
		t.Errorf("failed %d %v, unfinished %d, died %d, outside %v", r.Failed, r.Failures, r.Unfinished, r.Died, r.Outside)
	}
	for _, o := range r.Operations {
		if o.Within10s != o.Latency.Count() || o.Within30s != o.Within10s {
			t.Errorf("%s: %d, of them %d and %d in 10 and 30 s", o.Name, o.Latency.Count(), o.Within10s, o.Within30s)
		}
	}
	if r.Resumed != 0 || r.Sustain <= 0 {
		t.Errorf("%d resumed, sustain %v", r.Resumed, r.Sustain)
	}
	var total Second
	for _, s := range r.Seconds {
		total.Scheduled, total.Done, total.Down = total.Scheduled+s.Scheduled, total.Done+s.Done, total.Down+s.Down
	}
	if (total.Down == 0) != (total.Done == 0) || total.Done < r.Done || total.Scheduled < r.Scheduled {
		t.Errorf("the seconds add up to %+v", total)
	}
}

// Every kind has rows, each with a name of its own.
func TestRows(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		rows := Rows(kind)
		if slices.Sort(rows); len(rows) == 0 || len(slices.Compact(rows)) != len(rows) {
			t.Errorf("%s: %q", kind, Rows(kind))
		}
	}
	if rows := Rows("siesta"); rows != nil {
		t.Errorf("an unknown kind has %q", rows)
	}
}

// Bytes are those of the bodies, all of them and no others.
func TestBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := Scenario{Kind: Requests, Rate: 50, Devices: 4, Ramp: 100 * time.Millisecond, Sustain: 300 * time.Millisecond, UpBytes: 600, DownBytes: 4096}
	r := run(t, w.plan("tls", w.tls(t), s))
	a := w.account()
	var up, down uint64
	for _, second := range r.Seconds {
		up, down = up+second.Up, down+second.Down
	}
	if up != a.Up || down != a.Down || r.Up > up || up < r.Scheduled*600 {
		t.Errorf("seconds say %d and %d, the result %d and %d, the service %+v", up, down, r.Up, r.Down, a)
	}
}

// All ways to the service carry the same exchanges; the first handshakes are full,
// and later ones resume if they may.
func TestWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ways := map[string]string{"socks": w.socks(t), "https": w.https(t), "tls": w.tls(t), "tcp": ""} // without a gateway it is the service
	s := Scenario{Kind: Setup, Rate: 40, Sustain: 200 * time.Millisecond, UpBytes: 10, DownBytes: 5000, Write: 1000}
	names := slices.Sorted(maps.Keys(ways))
	together(2*len(names), func(i int) {
		way, resume := names[i/2], i%2 == 1
		p := w.plan(way, ways[way], s)
		p.Endpoint.Resume, p.MaxInFlight = resume, 1 // one after the other: each has the session of the last
		r := run(t, p)
		if r.Done != 8 || r.Failed != 0 {
			t.Errorf("%s: %d done, %v", way, r.Done, r.Failures)
		}
		handshakes, resumed := uint64(8), uint64(0)
		if resume {
			resumed = 7
		}
		if way == "tcp" {
			handshakes, resumed = 0, 0
		}
		if r.Handshakes != handshakes || r.Resumed != resumed {
			t.Errorf("%s: %d handshakes, %d resumed", way, r.Handshakes, r.Resumed)
		}
	})
}

// In a storm exactly the share is warm, and clients that share it leave none out.
func TestStormIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateway := w.socks(t)
	results := make([]Result, 3)
	var clients sync.WaitGroup
	for share := range results {
		s := small(Storm)
		s.Devices, s.Warm, s.Poisson = 20, 0.25, true
		p := w.plan("socks", gateway, s)
		p.Share, p.Of = share, len(results)
		clients.Go(func() { results[share] = run(t, p) })
	}
	clients.Wait()
	r := Merge(results...)
	if r.Done != 20 || rowOf(r, "poll").Latency.Count() != 5 || rowOf(r, "setup").Latency.Count() != 15 || r.Held > 5 {
		t.Errorf("%d done, %d warm, %d cold, %d held", r.Done, rowOf(r, "poll").Latency.Count(), rowOf(r, "setup").Latency.Count(), r.Held)
	}
	if rowOf(r, "wake").Within10s != 20 {
		t.Errorf("%d within 10 s", rowOf(r, "wake").Within10s)
	}
}
