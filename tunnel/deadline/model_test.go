package deadline

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// model is a queue that looks at all of its entries each time.
type model map[int]time.Time

// next is the soonest time, if there is one.
func (m model) next() (soonest time.Time, ok bool) {
	for _, when := range m {
		if !ok || when.Before(soonest) {
			soonest, ok = when, true
		}
	}
	return soonest, ok
}

// sleep lets the time pass and returns who had to be told, in order; several at
// one moment in the order of their names.
func (m model) sleep(until time.Time) (due []int) {
	for {
		soonest, ok := m.next()
		if !ok || soonest.After(until) {
			return due
		}
		var together []int
		for name, when := range m {
			if when.Equal(soonest) {
				together = append(together, name)
				delete(m, name)
			}
		}
		slices.Sort(together)
		due = append(due, together...)
	}
}

func TestAgainstModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Wrapped, to have no Deadline: that is no time of the bubble's.
		rapid.Check(struct{ testing.TB }{t}, againstModel)
	})
}

func againstModel(t *rapid.T) {
	var q Queue
	names := rapid.IntRange(1, 40).Draw(t, "entries")
	entries := make([]Entry, names)
	m := make(model)
	type call struct {
		when time.Time
		name int
	}
	var got []call
	t.Repeat(map[string]func(*rapid.T){
		"set": func(t *rapid.T) {
			name := rapid.IntRange(0, names-1).Draw(t, "name")
			after := time.Duration(rapid.IntRange(1, 30).Draw(t, "after"))
			q.Set(&entries[name], told(func() { got = append(got, call{time.Now(), name}) }), after)
			m[name] = time.Now().Add(after)
		},
		"clear": func(t *rapid.T) {
			name := rapid.IntRange(0, names-1).Draw(t, "name")
			_, in := m[name]
			delete(m, name)
			if q.Clear(&entries[name]) != in {
				t.Fatalf("Clear(%d) = %v, want %v", name, !in, in)
			}
		},
		"sleep": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(0, 20).Draw(t, "nanoseconds")))
			synctest.Wait()
			want := m.sleep(time.Now())
			slices.SortFunc(got, func(a, b call) int { // stays in order of time
				if c := a.when.Compare(b.when); c != 0 {
					return c
				}
				return a.name - b.name
			})
			var told []int
			for _, c := range got {
				told = append(told, c.name)
			}
			if got = nil; !slices.Equal(told, want) {
				t.Fatalf("told %v, want %v", told, want)
			}
		},
		"": func(t *rapid.T) {
			if q.Len() != len(m) {
				t.Fatalf("Len = %d, want %d", q.Len(), len(m))
			}
			check(t, &q)
		},
	})
	for i := range entries {
		q.Clear(&entries[i])
	}
}

// check looks at what must always hold of a queue's insides.
func check(t interface{ Fatalf(string, ...any) }, q *Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, c := range q.heap {
		if c.entry.place != i+1 {
			t.Fatalf("the entry in cell %d believes it is in cell %d", i, c.entry.place-1)
		}
		if parent := (i - 1) / arity; i > 0 && q.heap[parent].when > c.when {
			t.Fatalf("cell %d is sooner than its parent %d", i, parent)
		}
	}
	for i, c := range q.heap[len(q.heap):cap(q.heap)] {
		if c != (cell{}) {
			t.Fatalf("cell %d, behind the end, keeps an entry alive", len(q.heap)+i)
		}
	}
	if c := cap(q.heap); c > 2*smallest && len(q.heap) < c/4-1 {
		t.Fatalf("%d entries hold memory for %d", len(q.heap), c)
	}
	if !q.calling && len(q.heap) > 0 && (q.armed == 0 || q.armed > q.heap[0].when) {
		t.Fatalf("the timer is set to %d, the first deadline is %d", q.armed, q.heap[0].when)
	}
}
