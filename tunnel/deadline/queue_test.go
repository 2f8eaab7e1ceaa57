package deadline

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is an owner that runs a function, for short tests.
type told func()

func (f told) Due() { f() }

func TestEachIsToldInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		began := time.Now()
		var got []time.Duration
		note := told(func() { got = append(got, time.Since(began)) })
		want := []time.Duration{0, 1, time.Second, time.Minute, 65 * time.Minute}
		entries := make([]Entry, len(want))
		for _, i := range []int{3, 1, 4, 0, 2} {
			q.Set(&entries[i], note, want[i])
		}
		if q.Len() != len(want) {
			t.Errorf("Len = %d, want %d", q.Len(), len(want))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("told after %v, want %v", got, want)
		}
		if q.Len() != 0 {
			t.Errorf("%d are still in after all were told", q.Len())
		}
	})
}

func TestSetMovesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		began := time.Now()
		var got [2]time.Duration
		var sooner, later Entry
		noteSooner := told(func() { got[0] = time.Since(began) })
		noteLater := told(func() { got[1] += time.Since(began) })
		q.Set(&later, noteLater, time.Second)
		q.Set(&sooner, noteSooner, time.Hour)
		time.Sleep(time.Second / 2)
		q.Set(&later, noteLater, time.Hour) // the timer fires in vain after a second
		q.Set(&sooner, noteSooner, time.Minute)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		want := [2]time.Duration{time.Second/2 + time.Minute, time.Second/2 + time.Hour}
		if got != want {
			t.Errorf("told after %v, want %v", got, want)
		}
	})
}

func TestClearedIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var e Entry
		if q.Clear(&e) {
			t.Error("an entry that was never set was in")
		}
		q.Set(&e, told(func() { t.Error("told, although it was cleared") }), time.Second)
		if !q.Clear(&e) {
			t.Error("an entry that was set was not in")
		}
		if q.Clear(&e) {
			t.Error("an entry that was cleared was in")
		}
		if q.armed != 0 {
			t.Error("an empty queue leaves its timer running")
		}
		time.Sleep(time.Minute)
	})
}

// What is due in the same instant can still be cleared or moved by whoever is
// told first: nothing is decided ahead of its turn.
func TestTheFirstToldMayStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		entries := make([]Entry, 100)
		calls, moved := 0, 0
		first := told(func() {
			calls++
			for i := range entries {
				if i%2 == 0 {
					q.Clear(&entries[i])
				} else {
					q.Set(&entries[i], told(func() { moved++ }), time.Hour)
				}
			}
		})
		for i := range entries {
			q.Set(&entries[i], first, time.Minute)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if calls != 1 || q.Len() != 50 {
			t.Errorf("%d told and %d in, want 1 and 50", calls, q.Len())
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if moved != 50 {
			t.Errorf("%d of the moved were told, want 50", moved)
		}
	})
}

// An owner that sets itself again when it is told is how a tunnel puts its idle
// limit off without touching the queue for each byte.
func TestDueMaySetAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var e Entry
		began := time.Now()
		var got []time.Duration
		var again told
		again = func() {
			if got = append(got, time.Since(began)); len(got) < 4 {
				q.Set(&e, again, time.Minute)
			}
		}
		q.Set(&e, again, time.Minute)
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}
		if !slices.Equal(got, want) {
			t.Errorf("told after %v, want %v", got, want)
		}
	})
}

func TestNeverAndTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var never, negative Entry
		q.Set(&never, told(func() { t.Error("never has come") }), math.MaxInt64)
		time.Sleep(time.Hour)
		q.Set(&never, told(func() { t.Error("never has come") }), math.MaxInt64)
		told1 := false
		q.Set(&negative, told(func() { told1 = true }), math.MinInt64)
		synctest.Wait()
		if !told1 {
			t.Error("a time that has passed is not told at once")
		}
		time.Sleep(24 * 365 * time.Hour)
		q.Clear(&never)
	})
}

// A stampede keeps nobody out: while it is under way the queue serves others.
func TestStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 100_000
		var q Queue
		entries := make([]Entry, crowd)
		calls := 0
		var other Entry
		visit := func() { // by another goroutine, which the lock would keep out
			done := make(chan struct{})
			go func() {
				q.Set(&other, told(func() {}), time.Hour)
				q.Clear(&other)
				close(done)
			}()
			<-done
		}
		owner := told(func() {
			if calls++; calls%1000 == 0 {
				visit()
			}
		})
		for i := range entries {
			q.Set(&entries[i], owner, time.Minute)
		}
		check(t, &q)
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls != crowd {
			t.Errorf("%d were told, want %d", calls, crowd)
		}
		check(t, &q)
		if got := cap(q.heap); got > 2*smallest {
			t.Errorf("an empty queue keeps memory for %d entries", got)
		}
	})
}

// Whatever the timing: an entry that was Set is either cleared or told, and
// never both.
func TestClearedOrTold(t *testing.T) {
	const workers, rounds = 8, 4000
	var q Queue
	var cleared, dues atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			entries := make([]Entry, 16)
			owners := make([]once, len(entries))
			for i := range owners {
				owners[i].dues, owners[i].done = &dues, make(chan struct{}, 1)
			}
			for range rounds {
				i := random.IntN(len(entries))
				q.Set(&entries[i], &owners[i], time.Hour) // no one else has it: it is out
				q.Set(&entries[i], &owners[i], time.Duration(random.IntN(20_000)))
				if random.IntN(2) == 0 {
					runtime.Gosched()
				}
				if q.Clear(&entries[i]) {
					cleared.Add(1)
					continue
				}
				<-owners[i].done // told, or about to be
			}
			for i := range owners {
				if len(owners[i].done) != 0 {
					t.Errorf("an owner was told once too often")
				}
			}
		})
	}
	all.Wait()
	if got := cleared.Load() + dues.Load(); got != workers*rounds {
		t.Errorf("%d cleared and %d told, want %d in all", cleared.Load(), dues.Load(), workers*rounds)
	}
	if cleared.Load() == 0 || dues.Load() == 0 {
		t.Errorf("%d cleared and %d told: one of them was not tried", cleared.Load(), dues.Load())
	}
	if q.Len() != 0 {
		t.Errorf("%d are still in", q.Len())
	}
}

type once struct {
	dues *atomic.Int64
	done chan struct{}
}

func (o *once) Due() {
	o.dues.Add(1)
	o.done <- struct{}{}
}

func TestAnEntryIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size > 24 {
		t.Errorf("an Entry has %d bytes, want at most 24", size)
	}
	if size := unsafe.Sizeof(cell{}); size > 16 {
		t.Errorf("a cell has %d bytes, want at most 16", size)
	}
}

func TestMovingAllocatesNothing(t *testing.T) {
	var q Queue
	entries := make([]Entry, 1000)
	owner := told(func() {})
	for i := range entries {
		q.Set(&entries[i], owner, time.Hour)
	}
	i := 0
	if got := testing.AllocsPerRun(1000, func() {
		i = (i + 7) % len(entries)
		q.Set(&entries[i], owner, time.Hour)
	}); got != 0 {
		t.Errorf("moving an entry allocates %v times", got)
	}
	for i := range entries {
		q.Clear(&entries[i])
	}
}

// The last cell fills the hole, and may come from a branch that is sooner than
// the one with the hole in it.
func TestTheHoleIsFilledFromAnotherBranch(t *testing.T) {
	var q Queue
	entries := make([]Entry, 10)
	for i, hours := range []time.Duration{0, 10, 1, 1, 1, 11, 12, 13, 14, 2} { // as the heap has them
		q.Set(&entries[i], told(func() {}), (hours+1)*time.Hour)
	}
	q.Clear(&entries[5])
	check(t, &q)
	for i := range entries {
		q.Clear(&entries[i])
		check(t, &q)
	}
}

// The timer can fire again while owners are being told. There is still only one
// who tells them.
func TestOnlyOneTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		entries := make([]Entry, 10)
		within, calls := false, 0
		owner := told(func() {
			if within {
				t.Error("told within another's call")
			}
			within = true
			q.fire()
			within = false
			calls++
		})
		for i := range entries {
			q.Set(&entries[i], owner, time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if calls != len(entries) {
			t.Errorf("%d were told, want %d", calls, len(entries))
		}
	})
}
