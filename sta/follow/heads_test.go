package follow_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// head signs a head that a test makes up.
func (w *world) head(s *ticket.Signer, change func(*ticket.Head)) string {
	w.t.Helper()
	h := ticket.Head{
		Node: "made-up", Serial: 1, Time: time.Now().UTC().Truncate(time.Millisecond), Keys: 1,
		Tips: w.nodes[0].log.Tips(),
	}
	change(&h)
	signed, err := s.SignHead(&h)
	must(w.t, err)
	return signed
}

// give makes the first node give a head instead of its own.
func (w *world) give(head string) {
	w.nodes[0].with(func(n *plug) { n.tamper = func(u *ticket.Updates) { u.Head = head } })
}

// Heads that a node in order never gives: it is down, and somebody is told.
func TestHeadsThatAreNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		heads []func(*world) string
		want  func(error) bool
	}{
		"regress": {[]func(*world) string{
			func(w *world) string { return w.head(w.signer, func(h *ticket.Head) { h.Serial = 2 }) },
			func(w *world) string { return w.head(w.signer, func(h *ticket.Head) { h.Serial = 1 }) },
		}, is(follow.ErrRegress)},
		"repeat": {[]func(*world) string{
			func(w *world) string { return w.head(w.signer, func(*ticket.Head) {}) },
			func(w *world) string {
				return w.head(w.signer, func(h *ticket.Head) { h.Time = h.Time.Add(time.Second) })
			},
		}, is(follow.ErrRepeat)},
		"a stranger's": {[]func(*world) string{func(w *world) string {
			stranger, err := ticket.NewSigner(authorityID, newKey(w.t))
			must(w.t, err)
			return w.head(stranger, func(*ticket.Head) {})
		}}, badSignature},
		"another authority's": {[]func(*world) string{func(w *world) string {
			other, err := ticket.NewSigner("STA02", w.key)
			must(w.t, err)
			return w.head(other, func(*ticket.Head) {})
		}}, func(err error) bool { return ticket.ReasonOf(err) == ticket.WrongAuthority }},
		"no head at all": {[]func(*world) string{func(*world) string { return "x.y.z" }},
			func(err error) bool { return err != nil }},
		"keys that are not given": {[]func(*world) string{func(w *world) string {
			return w.head(w.signer, func(h *ticket.Head) { h.Keys = 9 })
		}}, func(err error) bool { return err != nil }},
		"another history": {[]func(*world) string{func(w *world) string {
			_, err := w.nodes[0].Revoke(w.t.Context(), w.client, sta.RevokeRequest{User: "x", AllMatching: true})
			must(w.t, err)
			synctest.Wait()
			return w.head(w.signer, func(h *ticket.Head) {
				for writer, tip := range h.Tips {
					tip.Hash[0]++
					h.Tips[writer] = tip
				}
			})
		}}, is(revlog.ErrFork)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := started(t, 1)
				for i, head := range c.heads {
					w.wantUp(true)
					if i == 0 && len(w.told(&w.alarms)) > 0 {
						t.Errorf("alarms: %v", w.told(&w.alarms))
					}
					w.give(head(w))
					time.Sleep(6 * time.Second)
				}
				w.wantUp(false)
				left := w.GraceLeft()
				time.Sleep(20 * time.Second)
				if w.GraceLeft() != left-20*time.Second {
					t.Error("the grace was renewed")
				}
				why := w.Status()[0].Why
				var disbelief *follow.DisbeliefError
				if !errors.As(why, &disbelief) || !c.want(why) || len(w.told(&w.alarms)) != 1 || !c.want(w.told(&w.alarms)[0]) {
					t.Errorf("down because %v; alarms %v", why, w.told(&w.alarms))
				}
			})
		})
	}
}

// Heads that are true and no good: the grace runs on; the node is followed while
// there is no other, and no longer when there is; somebody is told after 10 s.
func TestHeadsThatAreNoGood(t *testing.T) {
	for name, c := range map[string]struct {
		head func(*world) string
		want error
	}{
		"none":     {func(*world) string { return "" }, follow.ErrNoHead},
		"old keys": {func(w *world) string { return w.head(w.signer, func(h *ticket.Head) { h.Keys = 0 }) }, follow.ErrOldKeys},
		"ahead": {func(w *world) string {
			return w.head(w.signer, func(h *ticket.Head) { h.Time = h.Time.Add(2 * time.Minute) })
		}, follow.ErrAhead},
		"more than it gives": {func(w *world) string {
			return w.head(w.signer, func(h *ticket.Head) { h.Tips["other"] = ticket.Tip{Position: 1, Hash: ticket.Hash{1}} })
		}, follow.ErrWithheld},
		"less than is here": {func(w *world) string {
			_, err := w.nodes[0].Revoke(w.t.Context(), w.client, sta.RevokeRequest{User: "x", AllMatching: true})
			must(w.t, err)
			synctest.Wait()
			return w.head(w.signer, func(h *ticket.Head) { h.Tips = nil })
		}, follow.ErrBehind},
	} {
		for _, nodes := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := started(t, nodes)
					w.give(c.head(w)) // while a request is open
					left := w.GraceLeft()
					time.Sleep(9 * time.Second)
					if len(w.told(&w.alarms)) > 0 || !w.Status()[0].Up {
						t.Errorf("too soon: %v", w.told(&w.alarms))
					}
					time.Sleep(8 * time.Second)
					if !w.alarmed(c.want) || len(w.told(&w.alarms)) != 1 {
						t.Errorf("alarms: %v", w.told(&w.alarms))
					}
					if nodes == 1 {
						w.wantUp(true)
						if w.GraceLeft() != left-17*time.Second {
							t.Errorf("the grace was renewed: %s, %s", left, w.GraceLeft())
						}
						return
					}
					w.wantUp(false, true)
					if why := w.Status()[0].Why; !errors.Is(why, c.want) {
						t.Errorf("because %v", why)
					}
					if w.GraceLeft() < 14*time.Minute {
						t.Error("the other node's heads do not count")
					}
				})
			})
		}
	}
}

// A node that is cut off from its store signs nothing new. When another one does,
// that one is followed.
func TestStaleNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		w.give(w.head(w.signer, func(*ticket.Head) {}))
		time.Sleep(40 * time.Second)
		w.wantUp(false, true)
		if why := w.Status()[0].Why; !errors.Is(why, follow.ErrStale) {
			t.Errorf("because %v", why)
		}
	})
}

// A node that withholds an entry which its head names is never a reason to admit
// anyone; another node gives the entry.
func TestWithheldEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for _, n := range w.nodes[:1] {
			n.tamper = func(u *ticket.Updates) { u.Logs = nil }
		}
		w.nodes[1].out.Store(true)
		issued, _ := w.issue()
		_, err := w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
		must(t, err)
		time.Sleep(2 * time.Second) // the other node reads it
		w.run()
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		w.nodes[1].out.Store(false)
		time.Sleep(30 * time.Second)
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.Revoked)
		w.wantUp(true, true) // what it withheld is here now
	})
}

// An authority whose nodes and store have lost what was revoked gets it back from
// the gateway, and no ticket comes to life meanwhile.
func TestHandBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		_, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
		must(t, err)
		w.issue()
		time.Sleep(10 * time.Second)
		lost := w.startNode("sta-new", w.nodes[0].Keys(), sta.NewMemoryStore())
		must(t, w.Use([]follow.Node{{Name: "lost", Source: lost}}))
		time.Sleep(1500 * time.Millisecond)
		if n := len(lost.reported()); n != 0 {
			t.Errorf("handed back after %d reports within 2 s", n)
		}
		w.wantKnown(p, ticket.Revoked)
		time.Sleep(5 * time.Second)
		if lost.log.Find(&ticket.Subject{Family: w.family(p)}, time.Now()) == nil {
			t.Error("not handed back")
		}
		if len(w.told(&w.alarms)) > 0 {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
		reports := len(lost.reported())
		time.Sleep(20 * time.Second)
		if n := len(lost.reported()); n != reports {
			t.Error("handed back again")
		}
		if w.GraceLeft() < 14*time.Minute {
			t.Error("its heads are no good")
		}
	})
}

func (w *world) family(p *ticket.Presentation) string {
	claims, _, _ := w.Known(p)
	return claims.Family
}

// What the authority has forgotten, because every ticket that it ended is long
// gone, is forgotten here too, and a head without it is a good one.
func TestForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		now := time.Now().UTC().Truncate(time.Second)
		e, err := w.signer.SignEntry("gone", 1, ticket.Hash{}, ticket.Revocation{
			Time: now, By: "x", User: "u", Cut: now, Forget: now.Add(time.Minute),
		})
		must(t, err)
		_, err = w.log.Take(w.nodes[0].Keys(), map[string][]string{"gone": {e.Signed}})
		must(t, err)
		time.Sleep(2 * time.Minute)
		w.run()
		time.Sleep(time.Second)
		if w.GraceLeft() == 0 || len(w.log.Positions()) != 1 {
			t.Errorf("grace %s, log %v", w.GraceLeft(), w.log.Positions())
		}
		held, _ := w.issue()
		_, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: held.ID})
		must(t, err)
		time.Sleep(11 * time.Minute)
		if left := w.log.Entries(nil); len(left) != 1 || left[0].Writer == "gone" {
			t.Errorf("log %v", left)
		}
		if len(w.told(&w.alarms)) > 0 {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
	})
}
