package deadline

import (
	"runtime"
	"testing"
	"time"
)

// The comparison is with a runtime timer for each tunnel. Read it by
//
//	go test -run '^$' -bench . -count 6 ./tunnel/deadline | tee new.txt
//	benchstat -col /with new.txt
//
// with=queue and with=timers do the same work. bytes/tunnel is what 100,000 tunnels
// with one deadline and a counter take, 8 of them for the counter.

const crowd = 100_000

type tunnel struct {
	Entry
	calls int
}

func (t *tunnel) Due() { t.calls++ }

func BenchmarkSetClear(b *testing.B) {
	b.Run("with=queue", func(b *testing.B) {
		var q Queue
		tunnels := make([]tunnel, crowd)
		for i := range tunnels {
			q.Set(&tunnels[i].Entry, &tunnels[i], time.Hour+time.Duration(i*7919%crowd)*time.Millisecond)
		}
		var t tunnel
		i := 0
		for b.Loop() {
			i = (i + 7919) % crowd
			q.Set(&t.Entry, &t, time.Hour+time.Duration(i)*time.Millisecond)
			q.Clear(&t.Entry)
		}
		runtime.KeepAlive(tunnels)
	})
	b.Run("with=timers", func(b *testing.B) {
		tunnels, timers := make([]tunnel, crowd), make([]*time.Timer, crowd)
		for i := range tunnels {
			timers[i] = time.AfterFunc(time.Hour+time.Duration(i*7919%crowd)*time.Millisecond, tunnels[i].Due)
		}
		var t tunnel
		i := 0
		for b.Loop() {
			i = (i + 7919) % crowd
			time.AfterFunc(time.Hour+time.Duration(i)*time.Millisecond, t.Due).Stop()
		}
		for _, timer := range timers {
			timer.Stop()
		}
	})
}

// BenchmarkMove is what a limit that starts anew costs: the same for all, from
// now on, so that the entry goes to the end.
func BenchmarkMove(b *testing.B) {
	b.Run("with=queue", func(b *testing.B) {
		var q Queue
		tunnels := make([]tunnel, crowd)
		for i := range tunnels {
			q.Set(&tunnels[i].Entry, &tunnels[i], time.Hour)
		}
		i := 0
		for b.Loop() {
			i = (i + 7919) % crowd
			q.Set(&tunnels[i].Entry, &tunnels[i], time.Hour)
		}
	})
	b.Run("with=timers", func(b *testing.B) {
		tunnels, timers := make([]tunnel, crowd), make([]*time.Timer, crowd)
		for i := range tunnels {
			timers[i] = time.AfterFunc(time.Hour, tunnels[i].Due)
		}
		i := 0
		for b.Loop() {
			i = (i + 7919) % crowd
			timers[i].Reset(time.Hour)
		}
		for _, timer := range timers {
			timer.Stop()
		}
	})
}

func BenchmarkMemory(b *testing.B) {
	b.Run("with=queue", func(b *testing.B) {
		most := int64(0)
		for b.Loop() {
			before, q := inUse(), new(Queue)
			tunnels := make([]tunnel, crowd)
			for i := range tunnels {
				q.Set(&tunnels[i].Entry, &tunnels[i], time.Hour)
			}
			most = max(most, inUse()-before)
			for i := range tunnels {
				q.Clear(&tunnels[i].Entry)
			}
		}
		b.ReportMetric(float64(most)/crowd, "bytes/tunnel")
	})
	b.Run("with=timers", func(b *testing.B) {
		most := int64(0)
		for b.Loop() {
			before := inUse()
			tunnels := make([]timed, crowd)
			for i := range tunnels {
				tunnels[i].timer = time.AfterFunc(time.Hour, tunnels[i].Due)
			}
			most = max(most, inUse()-before)
			for i := range tunnels {
				tunnels[i].timer.Stop()
			}
		}
		b.ReportMetric(float64(most)/crowd, "bytes/tunnel")
	})
}

// timed is a tunnel with a timer of its own.
type timed struct {
	timer *time.Timer
	calls int
}

func (t *timed) Due() { t.calls++ }

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStampede is the time for each of 100,000 that are due in one instant.
func BenchmarkStampede(b *testing.B) {
	for b.Loop() {
		var q Queue
		entries := make([]Entry, crowd)
		left, done := crowd, make(chan struct{})
		owner := told(func() {
			if left--; left == 0 {
				close(done)
			}
		})
		q.mu.Lock() // all at once: the timer's goroutine waits for the last
		now := q.now()
		for i := range entries {
			entries[i].owner = owner
			q.heap.set(&entries[i], now)
		}
		began := time.Now()
		q.arm(now)
		q.mu.Unlock()
		<-done
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/crowd, "ns/entry")
	}
}
