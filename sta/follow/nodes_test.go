package follow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

// started is a world in a bubble that has come to rest.
func started(t *testing.T, nodes int, change ...func(*follow.Config)) *world {
	t.Helper()
	w := newWorld(t, nodes, change...).run()
	time.Sleep(time.Second)
	synctest.Wait()
	return w
}

// When the node that is followed goes away the next one is, nothing of what was
// revoked meanwhile is missed, nothing is cut twice, and the first is followed
// again when it is back.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		cuts := 0
		w.cut = func(*ticket.Revocation) int { cuts++; return 0 }
		w.wantUp(true, true)
		if s := w.Status(); !s[0].Followed || s[1].Followed {
			t.Errorf("followed: %+v", s)
		}
		for i, from := range []*plug{w.nodes[0], w.nodes[1], w.nodes[1], w.nodes[0]} {
			switch i {
			case 1:
				w.nodes[0].out.Store(true)
				time.Sleep(8 * time.Second)
				w.wantUp(false, true)
			case 3:
				w.nodes[0].out.Store(false)
				time.Sleep(time.Minute)
				w.wantUp(true, true)
			}
			issued, p := w.issue()
			claims, err := w.redeem(p)
			must(t, err)
			_, err = from.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
			must(t, err)
			synctest.Wait()
			if !w.Revoked(claims) || cuts != i+1 {
				t.Errorf("revocation %d: in force %v, cuts %d", i, w.Revoked(claims), cuts)
			}
		}
	})
}

// A node that accepts and never answers is down within 10 s, followed or not.
func TestHangingNode(t *testing.T) {
	for _, which := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := started(t, 2)
			w.nodes[which].hang.Store(true)
			time.Sleep(10 * time.Second)
			w.wantUp(which != 0, which != 1)
			if why := w.Status()[which].Why; !errors.Is(why, context.DeadlineExceeded) {
				t.Errorf("down because %v", why)
			}
		})
	}
}

// A device is let in although the node that is asked first does not answer, and
// the next device does not wait for that node again.
func TestRedeemGoesOnToTheNextNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		w.nodes[0].hang.Store(true)
		_, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		_, p = w.issue()
		began := time.Now()
		_, err = w.redeem(p)
		must(t, err)
		if took := time.Since(began); took != 0 {
			t.Errorf("the second took %s", took)
		}
		w.nodes[0].hang.Store(false)
		w.nodes[0].with(func(n *plug) { n.refuse = ticket.Refuse(ticket.Unavailable, "no disk") })
		time.Sleep(time.Minute)
		_, p = w.issue()
		_, err = w.redeem(p)
		must(t, err)
	})
}

// What a node says of a ticket is final.
func TestRefusalIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		for _, reason := range []ticket.Reason{ticket.Unknown, ticket.Revoked, ticket.Expired, ticket.Mismatch} {
			w.nodes[0].with(func(n *plug) { n.refuse = ticket.Refuse(reason, "no") })
			_, p := w.issue()
			_, err := w.redeem(p)
			wantReason(t, err, reason)
		}
		if n := w.nodes[1].redeems.Load(); n != 0 {
			t.Errorf("%d redeems at the other node", n)
		}
	})
}

func TestSpread(t *testing.T) {
	for _, spread := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := started(t, 2, func(c *follow.Config) { c.Spread = spread })
			for range 10 {
				_, p := w.issue()
				_, err := w.redeem(p)
				must(t, err)
			}
			first, second := w.nodes[0].redeems.Load(), w.nodes[1].redeems.Load()
			if spread && (first != 5 || second != 5) || !spread && (first != 10 || second != 0) {
				t.Errorf("spread %v: %d and %d", spread, first, second)
			}
		})
	}
}

// A node that is down is left alone for the bypass, and then tried beside the one
// that is followed.
func TestBypass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2, func(c *follow.Config) { c.Bypass = time.Minute })
		w.nodes[0].out.Store(true)
		time.Sleep(10 * time.Second)
		w.wantUp(false, true)
		before := w.nodes[0].asked.Load()
		time.Sleep(45 * time.Second)
		if n := w.nodes[0].asked.Load(); n != before {
			t.Errorf("asked %d times during the bypass", n-before)
		}
		w.nodes[0].out.Store(false)
		time.Sleep(20 * time.Second)
		w.wantUp(true, true)
	})
}

// With all nodes down, within the grace: known tickets and tokens are admitted, an
// unknown handle is not, at once; somebody is told, and told again when it is over.
func TestAllNodesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 2)
		_, known := w.issue()
		_, err := w.redeem(known)
		must(t, err)
		carried, unknown := w.issue()
		w.pull(true)
		time.Sleep(10 * time.Second)
		w.wantUp(false, false)
		w.wantKnown(known, "")
		_, err = w.redeem(token(carried))
		must(t, err)
		other, bare := w.issue()
		began := time.Now()
		_, err = w.redeem(bare)
		wantReason(t, err, ticket.Unavailable)
		if time.Since(began) != 0 {
			t.Error("it took its time")
		}
		_ = other
		if len(w.told(&w.lost)) != 1 || !errors.Is(w.told(&w.lost)[0], errOut) {
			t.Errorf("told %v", w.told(&w.lost))
		}
		w.pull(false)
		time.Sleep(10 * time.Second)
		_, err = w.redeem(unknown)
		must(t, err)
		time.Sleep(30 * time.Second) // whichever was not first is left alone for so long
		w.wantUp(true, true)
		if len(w.told(&w.lost)) != 2 || w.told(&w.lost)[1] != nil {
			t.Errorf("told %v", w.told(&w.lost))
		}
	})
}

// Nodes can be replaced while everything runs: what is known stays known, an
// unknown ticket is redeemed at once, what is revoked at the new ones counts, and
// the old ones are left alone.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		issued, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		second := w.startNode("sta-2", w.nodes[0].Keys(), w.store)
		slow := make(chan error, 1)
		w.nodes[0].hold = make(chan struct{})
		_, held := w.issue()
		go func() { _, err := w.Redeem(context.Background(), held); slow <- err }()
		synctest.Wait()
		must(t, w.Use([]follow.Node{{Name: "second", Source: second}}))
		_, fresh := w.issue()
		_, err = w.redeem(fresh)
		must(t, err)
		if second.redeems.Load() != 1 {
			t.Error("not redeemed at the new node")
		}
		close(w.nodes[0].hold)
		if err := <-slow; err != nil {
			t.Errorf("a redeem that was under way: %v", err)
		}
		time.Sleep(time.Second)
		before := w.nodes[0].asked.Load()
		w.wantKnown(p, "")
		_, err = second.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
		must(t, err)
		synctest.Wait()
		if !w.Revoked(claims) {
			t.Error("not revoked")
		}
		time.Sleep(time.Minute)
		if n := w.nodes[0].asked.Load(); n != before {
			t.Errorf("the old node was asked %d times", n-before)
		}
		if s := w.Status(); len(s) != 1 || s[0].Name != "second" || !s[0].Up || !s[0].Followed {
			t.Errorf("status %+v", s)
		}
	})
}

// A node that answers at once, and always the same, is not asked all the time.
func TestNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.Use([]follow.Node{{Name: "hasty", Source: hasty{w.nodes[0]}}})
		time.Sleep(time.Second)
		before := w.nodes[0].asked.Load()
		time.Sleep(10 * time.Second)
		if n := w.nodes[0].asked.Load() - before; n > 41 {
			t.Errorf("asked %d times in 10 s", n)
		}
	})
}

// hasty does not wait.
type hasty struct{ *plug }

func (h hasty) Updates(ctx context.Context, gateway string, after ticket.Positions, _ time.Duration) (ticket.Updates, error) {
	return h.plug.Updates(ctx, gateway, after, 0)
}
