package splitdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// held is a before that waits until it is told to go on, and counts.
type held struct {
	release chan struct{}
	calls   atomic.Int64
	ended   atomic.Int64 // look-ups that the context ended
}

func (h *held) before(ctx context.Context, _ upstream.Question) error {
	h.calls.Add(1)
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		h.ended.Add(1)
		return ctx.Err()
	}
}

func heldServer(t testing.TB) (*nameServer, *held) {
	s := newServer(t, "9.9.9.9", "a.example. 60 IN TXT hello", "b.example. 60 IN TXT hello")
	h := &held{release: make(chan struct{})}
	s.before = h.before
	return s, h
}

// look looks in the background.
func look(ctx context.Context, r *Resolver, name string) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := r.Look(ctx, name, 16)
		done <- err
	}()
	return done
}

func TestCallersShareALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := heldServer(t)
		r := newResolver(t, Config{Public: server})
		impatient, giveUp := context.WithCancel(t.Context())
		first := look(impatient, r, "a.example")
		synctest.Wait()
		var rest []chan error
		for range 10 {
			rest = append(rest, look(t.Context(), r, "a.example"))
		}
		synctest.Wait()

		giveUp() // also the one that began it may leave
		if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrFailed) {
			t.Errorf("the one that gave up: %v", err)
		}
		synctest.Wait()
		h.release <- struct{}{}
		for _, done := range rest {
			if err := <-done; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		if h.calls.Load() != 1 || h.ended.Load() != 0 {
			t.Errorf("%d look-ups, %d ended early; want 1 and 0", h.calls.Load(), h.ended.Load())
		}
	})
}

func TestTheLastCallerEndsTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := heldServer(t)
		r := newResolver(t, Config{Public: server})
		began := time.Now()
		ctx, giveUp := context.WithCancel(t.Context())
		one, two := look(ctx, r, "a.example"), look(ctx, r, "a.example")
		synctest.Wait()
		giveUp()
		<-one
		<-two
		synctest.Wait()
		if h.calls.Load() != 1 || h.ended.Load() != 1 || time.Since(began) != 0 {
			t.Errorf("%d look-ups, %d ended, after %v", h.calls.Load(), h.ended.Load(), time.Since(began))
		}
		// Whoever comes now gets a look-up of its own: to be left is no failure
		// that would be remembered.
		again := look(t.Context(), r, "a.example")
		synctest.Wait()
		h.release <- struct{}{}
		if err := <-again; err != nil || h.calls.Load() != 2 {
			t.Errorf("afterwards: %v, %d look-ups", err, h.calls.Load())
		}
	})
}

// TestACallerWithADeadline leaves as one that gave up does: the servers have
// done nothing wrong yet.
func TestACallerWithADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := heldServer(t)
		r := newResolver(t, Config{Public: server})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.Resolve(ctx, "a.example"); !errors.Is(err, ErrTimeout) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		synctest.Wait()
		if h.ended.Load() != 2 {
			t.Errorf("%d of 2 look-ups ended", h.ended.Load())
		}
		gone, cancelGone := context.WithCancel(t.Context())
		cancelGone()
		if _, err := r.Resolve(gone, "a.example"); !errors.Is(err, context.Canceled) || h.calls.Load() != 2 {
			t.Errorf("gone before it asked: %v", err)
		}
	})
}

// TestASlowEndDisturbsNobody has a look-up that everybody left and that takes
// its time to end: it must not take down the one that came after it.
func TestASlowEndDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := []chan struct{}{make(chan struct{}), make(chan struct{})}
		server, _ := heldServer(t)
		server.before = func(context.Context, upstream.Question) error {
			n := calls.Add(1)
			if n > 2 {
				return errors.New("a third look-up")
			}
			<-release[n-1]
			return nil
		}
		r := newResolver(t, Config{Public: server})
		ctx, giveUp := context.WithCancel(t.Context())
		left := look(ctx, r, "a.example")
		synctest.Wait()
		giveUp()
		<-left
		second := look(t.Context(), r, "a.example")
		synctest.Wait()
		close(release[0])
		synctest.Wait()
		joined := look(t.Context(), r, "a.example")
		synctest.Wait()
		close(release[1])
		for _, done := range []chan error{second, joined} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%d look-ups, want 2", calls.Load())
		}
	})
}

func TestLimitsOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := heldServer(t)
		r := newResolver(t, Config{Public: server, Timeout: 3 * time.Second})
		began := time.Now()
		// Names differ, so they share nothing, and none waits for another.
		one, two := look(t.Context(), r, "a.example"), look(t.Context(), r, "b.example")
		for _, done := range []chan error{one, two} {
			if err := <-done; !errors.Is(err, ErrTimeout) {
				t.Error(err)
			}
		}
		if h.calls.Load() != 2 || time.Since(began) != 3*time.Second {
			t.Errorf("%d look-ups in %v", h.calls.Load(), time.Since(began))
		}
		synctest.Wait()
		// That nobody answered is remembered, although all had left.
		if _, err := r.Look(t.Context(), "a.example", 16); !errors.Is(err, ErrTimeout) || time.Since(began) != 3*time.Second {
			t.Errorf("at once afterwards: %v after %v", err, time.Since(began))
		}
	})
}

func TestCloseEndsLookUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, h := heldServer(t)
		r := newResolver(t, Config{Public: server})
		began := time.Now()
		done := look(t.Context(), r, "a.example")
		synctest.Wait()
		r.Close()
		if err := <-done; !errors.Is(err, ErrFailed) || h.ended.Load() != 1 || time.Since(began) != 0 {
			t.Errorf("%v, %d ended, after %v", err, h.ended.Load(), time.Since(began))
		}
	})
}

// TestManyAtOnce is for the race detector: callers that come and go, a cache
// too small, answers that live briefly or not at all, and a Close among it all.
// Whatever is answered is right, and who was neither cancelled nor late is answered.
func TestManyAtOnce(t *testing.T) {
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("n%d.example. %d IN A 192.0.2.%d", i, i%2, i), fmt.Sprintf("a%d.example. 1 IN CNAME n%d.corp.", i, i),
			fmt.Sprintf("n%d.corp. %d IN A 10.0.0.%d", i, i%3, i))
	}
	server := newServer(t, "9.9.9.9", lines...)
	r := newResolver(t, Config{Public: server, Zones: []Zone{{Suffix: "corp", Servers: server}}, Cache: Cache{Entries: 8}})
	var callers sync.WaitGroup
	var closing atomic.Bool
	var answered atomic.Int64
	for c := range 16 {
		callers.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(t.Context())
				goes := (i+c)%3 == 0
				if goes {
					go cancel()
				}
				n := (i * (c + 1)) % 20
				for name, want := range map[string]string{fmt.Sprintf("n%d.example", n): fmt.Sprintf("192.0.2.%d", n), fmt.Sprintf("a%d.example", n): fmt.Sprintf("10.0.0.%d", n)} {
					answer, err := r.Resolve(ctx, name)
					switch {
					case err == nil && slices.Equal(answer.Addrs, addrs(want)):
						answered.Add(1)
					case goes && errors.Is(err, context.Canceled):
					case closing.Load() && (errors.Is(err, context.Canceled) || errors.Is(err, errClosed)):
					default:
						t.Errorf("%s: %v, %v", name, answer.Addrs, err)
					}
				}
				cancel()
				if c == 0 && i == 50 {
					closing.Store(true)
					r.Close()
				}
			}
		})
	}
	callers.Wait()
	// The caller that closes has asked 51 times for two names before, and went
	// away from a third of that.
	if got := answered.Load(); got < 2*51*2/3 {
		t.Errorf("%d answers", got)
	}
}

// TestFlightsAlone: of the flights that are kept though nobody waits, there are
// so many and no more; one that is joined again, and one that has landed, count no
// longer.
func TestFlightsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights[int, int]()
		defer f.close()
		var ended atomic.Int64
		land := make(chan struct{})
		lookUp := func(ctx context.Context, _ int) (int, error) {
			select {
			case <-land:
				return 1, nil
			case <-ctx.Done():
				ended.Add(1)
				return 0, ctx.Err()
			}
		}
		leave := func(key int) *flight[int] {
			flight, err := f.join(key, time.Minute, lookUp)
			if err != nil {
				t.Fatal(err)
			}
			f.leave(key, flight, true)
			synctest.Wait()
			return flight
		}
		want := func(alone int, over int64) {
			t.Helper()
			if f.alone != alone || len(f.byKey) != alone || ended.Load() != over {
				t.Errorf("%d of %d flights are alone and %d ended, want %d and %d", f.alone, len(f.byKey), ended.Load(), alone, over)
			}
		}
		var last *flight[int]
		for key := range maxAlone {
			last = leave(key)
		}
		leave(maxAlone - 1)
		want(maxAlone, 0)
		leave(maxAlone)
		want(maxAlone, 1)
		land <- struct{}{}
		synctest.Wait()
		want(maxAlone-1, 1)
		leave(maxAlone)
		want(maxAlone, 1)
		close(land)
		synctest.Wait()
		f.leave(maxAlone-1, last, true) // too late to count
		want(0, 1)
	})
}
