package follow_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// The cut is called with the revocation already in force, at once, and reported
// with its count; revoking waits for that.
func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		issued, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		subject := claims.Subject()
		w.cut = func(r *ticket.Revocation) int {
			if !r.Covers(&subject, time.Now()) || !w.Revoked(claims) {
				t.Error("cut before the revocation was in force")
			}
			return 7
		}
		if w.Revoked(claims) {
			t.Error("revoked too early")
		}
		began := time.Now()
		result, err := w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
		must(t, err)
		if len(result.Gateways) != 1 || result.Gateways[0].Cut != 7 || !result.Gateways[0].Answered {
			t.Errorf("%+v", result)
		}
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		w.wantKnown(p, ticket.Revoked)
		_, err = w.redeem(p)
		wantReason(t, err, ticket.Revoked)
		reports := w.nodes[0].reported()
		if len(reports) != 1 || reports[0].Cuts[result.Entry] != 7 || !reports[0].Applied.Covers(result.Entry) {
			t.Errorf("reported %+v", reports)
		}
		// The next revocation does not wait for anything that this one left behind.
		other, op := w.issueFor(sta.IssueRequest{User: "v", Device: "e"})
		claims, err = w.redeem(op)
		must(t, err)
		subject = claims.Subject()
		result, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: other.ID})
		must(t, err)
		if result.Cut() != 7 || time.Since(began) > 40*time.Millisecond {
			t.Errorf("the second: %+v after %s", result, time.Since(began))
		}
	})
}

// One answer with several entries: all are in force before the first is cut, in
// the order of the log, and one report tells of all.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.nodes[0].out.Store(true)
		time.Sleep(10 * time.Second)
		var all []*ticket.Claims
		var order []string
		w.cut = func(r *ticket.Revocation) int {
			order = append(order, r.User)
			for _, c := range all {
				if !w.Revoked(c) {
					t.Error("cut before all were in force")
				}
			}
			return len(order)
		}
		users := []string{"a", "b", "c"}
		for _, user := range users {
			issued, _ := w.issueFor(sta.IssueRequest{User: user, Device: "d"})
			claims, err := w.redeem(token(issued))
			must(t, err)
			all = append(all, claims)
		}
		for _, user := range users {
			_, err := w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{User: user})
			must(t, err)
		}
		w.nodes[0].out.Store(false)
		time.Sleep(10 * time.Second)
		reports := w.nodes[0].reported()
		if !slices.Equal(order, users) || len(reports) != 1 || len(reports[0].Cuts) != 3 {
			t.Errorf("cut %v, reported %+v", order, reports)
		}
	})
}

// A report that is lost does not matter: what comes next is heard in time.
func TestLostReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		must(t, w.Use([]follow.Node{{Name: "deaf", Source: deaf{w.nodes[0]}}}))
		time.Sleep(time.Second)
		for range 2 {
			issued, p := w.issue()
			claims, err := w.redeem(p)
			must(t, err)
			_, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
			must(t, err)
			time.Sleep(2 * time.Second)
			if !w.Revoked(claims) {
				t.Error("not revoked")
			}
		}
		w.wantUp(true)
	})
}

// deaf takes no reports.
type deaf struct{ *plug }

func (deaf) ReportCuts(ctx context.Context, _ string, _ ticket.CutReport) error {
	<-ctx.Done()
	return ctx.Err()
}

// Who is cut with everybody is held back, with a reason of its own, and let in
// when it is his turn.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		_, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{All: true, Stage: 10 * time.Minute})
		must(t, err)
		synctest.Wait()
		w.wantKnown(p, ticket.Held)
		if !w.Revoked(claims) {
			t.Error("its tunnel would go on")
		}
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Held)
		time.Sleep(10 * time.Minute)
		w.wantKnown(p, "")
		if w.Revoked(claims) {
			t.Error("still held back")
		}
	})
}

// Everything revoked before the gateway began is known once it admits anyone,
// however many answers that takes.
func TestManyOldRevocations(t *testing.T) {
	w := newWorld(t, 1)
	last := w.revokeMany(300)
	must(t, w.Use([]follow.Node{{Name: "small pages", Source: small{w.nodes[0]}}}))
	w.run()
	_, err := w.redeem(token(last))
	wantReason(t, err, ticket.Revoked)
	if n := w.nodes[0].asked.Load(); n < 3 {
		t.Errorf("%d pages", n)
	}
	if len(w.told(&w.alarms)) > 0 {
		t.Errorf("alarms: %v", w.told(&w.alarms))
	}
	for _, r := range w.nodes[0].reported() {
		if len(r.Cuts) > 64 {
			t.Errorf("%d counts in one report", len(r.Cuts))
		}
	}
}

// small gives few entries at a time.
type small struct{ *plug }

func (s small) Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error) {
	u, err := s.plug.Updates(ctx, gateway, after, wait)
	for writer, entries := range u.Logs {
		u.Logs[writer] = entries[:min(100, len(entries))]
	}
	return u, err
}

// A gateway admits nobody before it knows what was revoked.
func TestNobodyBeforeRevocationsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.pull(true)
		w.run()
		issued, p := w.issue()
		for _, p := range []*ticket.Presentation{p, token(issued)} {
			began := time.Now()
			_, err := w.redeem(p)
			wantReason(t, err, ticket.Unavailable)
			if time.Since(began) != 10*time.Second {
				t.Errorf("waited %s", time.Since(began))
			}
		}
		w.pull(false)
		_, err := w.redeem(p)
		must(t, err)
		if len(w.told(&w.lost)) != 2 || !errors.Is(w.told(&w.lost)[0], errOut) || w.told(&w.lost)[1] != nil {
			t.Errorf("told %v", w.told(&w.lost))
		}
	})
}

// A gap, an entry by a stranger, one that was changed, another history: the node is
// down, with the reason, and nothing of it is trusted.
func TestEntriesAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		entries func(*world) []string
		want    func(error) bool
	}{
		"a stranger's": {func(w *world) []string {
			stranger, err := ticket.NewSigner(authorityID, newKey(w.t))
			must(w.t, err)
			return []string{w.entry(stranger, 1, ticket.Hash{})}
		}, badSignature},
		"another authority's": {func(w *world) []string {
			other, err := ticket.NewSigner("STA02", w.key)
			must(w.t, err)
			return []string{w.entry(other, 1, ticket.Hash{})}
		}, func(err error) bool { return ticket.ReasonOf(err) == ticket.WrongAuthority }},
		"a gap": {func(w *world) []string {
			return []string{w.entry(w.signer, 3, ticket.Hash{1})}
		}, is(revlog.ErrGap)},
		"not in order": {func(w *world) []string {
			return []string{w.entry(w.signer, 1, ticket.Hash{}), w.entry(w.signer, 2, ticket.Hash{9})}
		}, badSignature},
		"changed": {func(w *world) []string {
			e := w.entry(w.signer, 1, ticket.Hash{})
			return []string{e[:len(e)/2] + "A" + e[len(e)/2+1:]}
		}, func(err error) bool { return ticket.ReasonOf(err) != ticket.Unavailable }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := started(t, 1)
				entries := c.entries(w)
				w.nodes[0].with(func(n *plug) {
					n.tamper = func(u *ticket.Updates) { u.Logs = map[string][]string{"writer": entries} }
				})
				time.Sleep(10 * time.Second)
				w.wantUp(false)
				why := w.Status()[0].Why
				var disbelief *follow.DisbeliefError
				if !errors.As(why, &disbelief) || !c.want(why) {
					t.Errorf("down because %v", why)
				}
				if w.log.Find(&ticket.Subject{Issued: time.Unix(1, 0)}, time.Now()) != nil {
					t.Error("it is in force")
				}
				if len(w.told(&w.alarms)) != 1 {
					t.Errorf("alarms: %v", w.told(&w.alarms))
				}
				w.nodes[0].with(func(n *plug) { n.tamper = nil })
				time.Sleep(10 * time.Second)
				w.wantUp(true)
			})
		})
	}
}

// entry signs an entry of a log of its own that ends everything.
func (w *world) entry(s *ticket.Signer, position uint64, previous ticket.Hash) string {
	w.t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	e, err := s.SignEntry("writer", position, previous, ticket.Revocation{
		Time: now, By: "x", All: true, Cut: now, Forget: now.Add(time.Hour),
	})
	must(w.t, err)
	return e.Signed
}

// Two histories of one log: what was there first stays, and somebody is told.
func TestFork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		for i, who := range []string{"first", "second"} {
			now := time.Now().UTC().Truncate(time.Second)
			e, err := w.signer.SignEntry("writer", 1, ticket.Hash{}, ticket.Revocation{
				Time: now, By: "x", User: who, Cut: now, Forget: now.Add(time.Hour),
			})
			must(t, err)
			w.nodes[0].with(func(n *plug) {
				n.tamper = func(u *ticket.Updates) { u.Logs = map[string][]string{"writer": {e.Signed}} }
			})
			time.Sleep(8 * time.Second)
			if w.alarmed(revlog.ErrFork) != (i == 1) {
				t.Errorf("alarms after the %s: %v", who, w.told(&w.alarms))
			}
		}
		w.wantUp(false)
		for who, want := range map[string]bool{"first": true, "second": false} {
			if got := w.log.Find(&ticket.Subject{User: who}, time.Now()) != nil; got != want {
				t.Errorf("%s in force: %v", who, got)
			}
		}
	})
}

func badSignature(err error) bool { return ticket.ReasonOf(err) == ticket.BadSignature }

func is(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
