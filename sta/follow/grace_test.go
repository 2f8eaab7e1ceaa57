package follow_test

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// When no good head comes, tickets are good for the grace and no longer, known or
// carried, and good again when one comes.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		w.pull(true)
		left := w.GraceLeft()
		if left > 15*time.Minute || left < 15*time.Minute-10*time.Second {
			t.Errorf("left: %s", left)
		}
		time.Sleep(left - time.Second)
		w.wantKnown(p, "")
		time.Sleep(2 * time.Second)
		w.wantKnown(p, ticket.Unavailable)
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		w.pull(false)
		time.Sleep(10 * time.Second)
		w.wantKnown(p, "")
	})
}

// The grace counts from the date of a head, not from its receipt: one that was
// held back brings only what is left of it.
func TestHeadThatWasHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.give(w.head(w.signer, func(*ticket.Head) {}))
		time.Sleep(10 * time.Minute)
		w.run()
		time.Sleep(time.Second)
		if left := w.GraceLeft(); left != 5*time.Minute-time.Second {
			t.Errorf("left: %s", left)
		}
		// And the same once more brings nothing.
		time.Sleep(time.Minute)
		if left := w.GraceLeft(); left != 4*time.Minute-time.Second {
			t.Errorf("left: %s", left)
		}
		// Not even to a clock by which it is younger.
		w.setBack.Store(int64(5 * time.Minute))
		time.Sleep(time.Minute)
		if left := w.GraceLeft(); left != 3*time.Minute-time.Second {
			t.Errorf("left: %s", left)
		}
	})
}

// By a clock that is ahead every head is old. What a good head was good for before
// the clock was set, it still is.
func TestClockSetAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.setBack.Store(int64(-10 * time.Minute))
		time.Sleep(30 * time.Second)
		if left := w.GraceLeft(); left < 14*time.Minute || left > 15*time.Minute-30*time.Second {
			t.Errorf("left: %s", left)
		}
	})
}

// The grace runs while the machine sleeps.
func TestMachineThatSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		_, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		w.pull(true)
		w.boot.slept.Store(int64(15 * time.Minute))
		time.Sleep(20 * time.Millisecond)
		w.wantKnown(p, ticket.Unavailable)
	})
}

// A restart on the same start of the machine renews nothing: a ticket that is
// carried is admitted within what is left, a bare handle is not, and nobody after.
func TestRestartWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		issued, bare := w.issue()
		w.pull(true)
		w.stopRun()
		time.Sleep(5 * time.Minute)
		w.restart()
		if left := w.GraceLeft(); left > 10*time.Minute || left < 10*time.Minute-10*time.Second {
			t.Errorf("left: %s", left)
		}
		w.run()
		_, err := w.redeem(token(issued))
		must(t, err)
		w.wantKnown(token(issued), "")
		_, err = w.redeem(bare)
		wantReason(t, err, ticket.Unavailable)
		time.Sleep(10 * time.Minute)
		w.wantKnown(token(issued), ticket.Unavailable)
		w.restart()
		w.run()
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		w.pull(false)
		_, err = w.redeem(bare)
		must(t, err)
	})
}

// After a restart a token waits for what can be heard now, if anybody answers: what
// was revoked meanwhile counts, although the grace of before would admit it.
func TestRestartAsksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.stopRun()
		last := w.revokeMany(1)
		w.restart(func(c *follow.Config) { c.Nodes[0].Source = slow{w.nodes[0]} })
		w.run()
		_, err := w.redeem(token(last))
		wantReason(t, err, ticket.Revoked)
	})
}

// slow takes a second to answer.
type slow struct{ *plug }

func (s slow) Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error) {
	time.Sleep(time.Second)
	return s.plug.Updates(ctx, gateway, after, wait)
}

// On another start of the machine there is no grace before a fresh head.
func TestRestartOfTheMachine(t *testing.T) {
	for _, id := range []string{"another-start", ""} {
		synctest.Test(t, func(t *testing.T) {
			w := started(t, 1)
			if id == "" { // nobody knows, neither before nor after
				w.stopRun()
				w.boot.id = id
				w.restart()
				w.run()
				time.Sleep(10 * time.Second)
			}
			issued, _ := w.issue()
			w.stopRun()
			w.pull(true)
			w.boot.id = id
			w.restart()
			w.run()
			_, err := w.redeem(token(issued))
			wantReason(t, err, ticket.Unavailable)
			if w.GraceLeft() != 0 {
				t.Errorf("left: %s", w.GraceLeft())
			}
			w.pull(false)
			_, err = w.redeem(token(issued))
			must(t, err)
		})
	}
}

// What is kept of the grace is written every 5 s at most, and not while it stays as
// it is.
func TestGraceIsKeptSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		changes := func() (n int) {
			last := ""
			for i := range 30 {
				// Whatever is revoked makes a new head at once.
				_, err := w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{User: strconv.Itoa(i), AllMatching: true})
				must(t, err)
				time.Sleep(time.Second)
				synctest.Wait()
				now, err := w.log.Noted("follow.grace")
				must(t, err)
				if string(now) != last {
					n++
				}
				last = string(now)
			}
			return n - 1
		}
		if n := changes(); n < 3 || n > 7 {
			t.Errorf("written %d times in half a minute", n)
		}
		w.pull(true)
		time.Sleep(10 * time.Second)
		if n := changes(); n != 0 {
			t.Errorf("written %d times with nothing new", n)
		}
	})
}

// What moved since is written when the process ends.
func TestGraceIsKeptAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		before, err := w.log.Noted("follow.grace")
		must(t, err)
		w.revokeMany(1)
		time.Sleep(time.Second)
		w.stopRun()
		after, err := w.log.Noted("follow.grace")
		must(t, err)
		if len(before) == 0 || string(before) == string(after) {
			t.Errorf("kept %s, then %s", before, after)
		}
	})
}

// A head that is older than the newest good one of the process before is no good
// one: who shows it may go back in time.
func TestHeadOlderThanBeforeTheRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.stopRun()
		newest := strconv.FormatInt(time.Now().Add(3*time.Second).UnixMilli(), 10)
		must(t, w.log.Note("follow.grace", []byte(`{"boot_id":"other","anchor_ns":1,"head_ms":`+newest+`}`)))
		w.restart()
		w.run()
		_, p := w.issue()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := w.Redeem(ctx, p)
		wantReason(t, err, ticket.Unavailable)
		_, err = w.redeem(p)
		must(t, err)
	})
}

// Of a state that cannot be read nothing is believed.
func TestDamagedGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, _ := w.issue()
		w.pull(true)
		w.stopRun()
		must(t, w.log.Note("follow.grace", []byte(`{"anchor_ns":`)))
		w.restart()
		w.run()
		_, err := w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		if len(w.told(&w.alarms)) != 1 {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
	})
}

// A clock that is over a minute behind the newest head lets nobody in, until a
// fresh head agrees with it.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		w.setBack.Store(int64(30 * time.Second))
		w.wantKnown(p, "")
		w.setBack.Store(int64(2 * time.Minute))
		w.wantKnown(p, ticket.Unavailable)
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		// Later it is not behind that head any more. It is still wrong.
		time.Sleep(90 * time.Second)
		w.wantKnown(p, ticket.Unavailable)
		if !w.alarmed(follow.ErrAhead) {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
		w.pull(true)
		time.Sleep(time.Second)
		w.setBack.Store(0)
		time.Sleep(time.Minute)
		w.wantKnown(p, ticket.Unavailable)
		w.pull(false)
		time.Sleep(10 * time.Second)
		w.wantKnown(p, "")
	})
}

// It is noticed although nobody comes meanwhile.
func TestClockSetBackUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		_, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		w.pull(true)
		w.setBack.Store(int64(2 * time.Minute))
		time.Sleep(5 * time.Minute)
		w.wantKnown(p, ticket.Unavailable)
	})
}

// A boot clock that fails, or goes back, is no reason to admit anyone.
func TestBootClockFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		_, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		w.boot.slept.Store(int64(-30 * time.Minute))
		time.Sleep(20 * time.Millisecond)
		w.wantKnown(p, ticket.Unavailable)
		w.boot.slept.Store(0)
		time.Sleep(20 * time.Millisecond)
		w.wantKnown(p, "")
		w.boot.broke.Store(true)
		time.Sleep(20 * time.Millisecond)
		w.wantKnown(p, ticket.Unavailable)
	})
}

// After the blind limit every live tunnel ends, once; and again the next time.
func TestBlindLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1, func(c *follow.Config) { c.Grace, c.BlindLimit = time.Minute, 10*time.Minute })
		_, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		blind := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.cutBlind)
		}
		for round := range 2 {
			w.pull(true)
			time.Sleep(9*time.Minute + 40*time.Second)
			if n := blind(); n != round {
				t.Errorf("cut %d times before the limit", n)
			}
			time.Sleep(2 * time.Minute)
			if n := blind(); n != round+1 {
				t.Errorf("cut %d times after it", n)
			}
			w.pull(false)
			time.Sleep(10 * time.Second)
		}
		subject := claims.Subject()
		if r := w.cutBlind[0]; !r.Covers(&subject, time.Now()) || r.Check() != nil {
			t.Errorf("cut %+v", r)
		}
		if w.Revoked(claims) {
			t.Error("the ticket has ended for good")
		}
	})
}

// Somebody is told when there are answers and no good heads.
func TestLostHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.give("")
		time.Sleep(30 * time.Second)
		if lost := w.told(&w.lost); len(lost) != 1 || lost[0] == nil {
			t.Errorf("told %v", lost)
		}
		w.nodes[0].with(func(n *plug) { n.tamper = nil })
		time.Sleep(10 * time.Second)
		if lost := w.told(&w.lost); len(lost) != 2 || lost[1] != nil {
			t.Errorf("told %v", lost)
		}
	})
}

// What is revoked is in force although the disk is full, and written when it is
// not any more.
func TestLogThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		must(t, w.log.Close())
		w.revokeMany(1)
		_, err = w.nodes[0].Revoke(t.Context(), w.client, revokeTicket(issued))
		must(t, err)
		synctest.Wait()
		w.wantKnown(p, ticket.Revoked)
		w.wantUp(true)
		unsaved := 0
		for _, err := range w.told(&w.alarms) {
			var u *revlog.UnsavedError
			if asUnsaved(err, &u) {
				unsaved++
			}
		}
		if unsaved != 1 {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
	})
}

// The kernel's clock is a clock.
func TestKernel(t *testing.T) {
	var k follow.Kernel
	first := k.Boottime()
	if second := k.Boottime(); first <= 0 || second < first || first == math.MinInt64 {
		t.Errorf("%s, then %s", first, second)
	}
	if id := k.BootID(); len(id) != 36 || strings.TrimSpace(id) != id || id != k.BootID() {
		t.Errorf("boot id %q", id)
	}
}
