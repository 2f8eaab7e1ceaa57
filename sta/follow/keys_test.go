package follow_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

func revokeTicket(i sta.Issued) sta.RevokeRequest { return sta.RevokeRequest{Ticket: i.ID} }

func asUnsaved(err error, u **revlog.UnsavedError) bool { return errors.As(err, u) }

// noting notes the key sets that were put in force and cut by.
func noting(inForce, cut *atomic.Uint64) func(*follow.Config) {
	return func(c *follow.Config) {
		c.Hooks.Keys = func(s *ticket.KeySet) { inForce.Store(s.Version) }
		c.CutKeys = func(s *ticket.KeySet) int { cut.Store(s.Version); return 0 }
	}
}

// putKeys puts a key set where the nodes find it.
func (w *world) putKeys(set *ticket.KeySet) {
	w.t.Helper()
	must(w.t, w.store.PutKeySet(w.t.Context(), sta.SignedKeySet{Version: set.Version, Signed: set.String()}))
}

// A new key set is fetched when a head goes by it. Nothing changes for tickets
// whose key is still in it.
func TestNewKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inForce, cut atomic.Uint64
		w := started(t, 1, noting(&inForce, &cut))
		_, p := w.issue()
		_, err := w.redeem(p)
		must(t, err)
		if inForce.Load() != 1 {
			t.Errorf("version %d in force", inForce.Load())
		}
		w.putKeys(w.signKeys(2, w.key, newKey(t)))
		time.Sleep(7 * time.Second)
		if inForce.Load() != 2 || cut.Load() != 2 {
			t.Errorf("version %d in force, cut by %d", inForce.Load(), cut.Load())
		}
		w.wantKnown(p, "")
		_, fresh := w.issue()
		_, err = w.redeem(fresh)
		must(t, err)
	})
}

// When a key is taken out, what it signed is not good any more, known or not, and
// live tunnels are cut; what it revoked is still revoked, also after a restart.
func TestKeyTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inForce, cut atomic.Uint64
		w := started(t, 1, noting(&inForce, &cut))
		ended, _ := w.issue()
		issued, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		_, err = w.nodes[0].Revoke(t.Context(), w.client, revokeTicket(ended))
		must(t, err)
		synctest.Wait()
		revoked := w.log.Entries(nil)
		if len(revoked) != 1 || w.KeyGone(claims.KeyID) {
			t.Errorf("revoked %v, key gone %v", revoked, w.KeyGone(claims.KeyID))
		}
		key := newKey(t)
		set := w.signKeys(2, key)
		w.putKeys(set)
		w.signer, err = ticket.NewSigner(authorityID, key)
		must(t, err)
		second := w.startNode("sta-2", set, sta.NewMemoryStore())
		must(t, w.Use([]follow.Node{{Name: "second", Source: second}}))
		time.Sleep(time.Second)
		if inForce.Load() != 2 || cut.Load() != 2 || !w.KeyGone(claims.KeyID) {
			t.Errorf("version %d in force, cut by %d, key gone %v", inForce.Load(), cut.Load(), w.KeyGone(claims.KeyID))
		}
		w.wantKnown(p, ticket.BadSignature)
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.BadSignature)
		w.restart()
		if w.log.Find(&ticket.Subject{Family: revoked[0].Family}, time.Now()) == nil {
			t.Error("what the key revoked is not revoked any more")
		}
		if !w.KeyGone(claims.KeyID) {
			t.Error("the key is back after a restart")
		}
	})
}

// An older key set than one that was seen is refused, also by the next process, and
// somebody is told. So is one that another root signed, and a second one of a
// version.
func TestKeySetsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*world) string
		want func(error) bool
	}{
		"older": {func(w *world) string { return w.signKeys(1, w.key).String() }, is(follow.ErrOldKeys)},
		"another of the version": {func(w *world) string {
			return w.signKeys(2, w.key, newKey(w.t)).String()
		}, is(follow.ErrTwoKeySets)},
		"another root's": {func(w *world) string {
			w.root = newKey(w.t)
			w.pin = ticket.Pin(public(w.root))
			return w.signKeys(3, w.key).String()
		}, badSignature},
	} {
		for _, anew := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					w.putKeys(w.signKeys(2, w.key))
					w.run()
					time.Sleep(7 * time.Second)
					pin := w.pin
					signed := c.set(w)
					w.nodes[0].with(func(n *plug) { n.keys = signed })
					if anew {
						w.restart(func(k *follow.Config) { k.Pin = pin })
						w.run()
					} else {
						must(t, w.Use([]follow.Node{{Name: "again", Source: w.nodes[0]}}))
					}
					time.Sleep(8 * time.Second)
					w.wantUp(false)
					if why := w.Status()[0].Why; !c.want(why) || len(w.told(&w.alarms)) != 1 {
						t.Errorf("because %v; alarms %v", why, w.told(&w.alarms))
					}
				})
			})
		}
	}
}

// An authority that was set up anew has another root. With its pin configured,
// the keys that were kept count for nothing.
func TestAnotherPin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t, 1)
		w.restart()
		w.pull(true)
		w.run()
		w.stopRun()
		other := ticket.Pin(public(newKey(t)))
		w.restart(func(c *follow.Config) { c.Pin = other })
		issued, _ := w.issue()
		w.run()
		_, err := w.redeem(token(issued))
		wantReason(t, err, ticket.Unavailable)
		if !w.KeyGone(w.signer.KeyID()) {
			t.Error("the old root's keys are trusted")
		}
	})
}

// The keys of an authority in the same process are asked for each time: one that is
// taken out is gone at once.
func TestKeysInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inForce, cut atomic.Uint64
		var keys atomic.Pointer[ticket.KeySet]
		w := newWorld(t, 1)
		keys.Store(w.nodes[0].Keys())
		w.restartInProcess(&keys, noting(&inForce, &cut))
		time.Sleep(time.Second)
		issued, p := w.issue()
		claims, err := w.redeem(p)
		must(t, err)
		w.wantKnown(p, "")
		keys.Store(w.signKeys(2, newKey(t)))
		w.wantKnown(p, ticket.BadSignature)
		if !w.KeyGone(claims.KeyID) {
			t.Error("the key is still one of the authority's")
		}
		_, err = w.redeem(token(issued))
		wantReason(t, err, ticket.BadSignature)
		synctest.Wait()
		if inForce.Load() != 2 || cut.Load() != 2 {
			t.Errorf("version %d in force, cut by %d", inForce.Load(), cut.Load())
		}
		// Back to the first: refused, and told.
		keys.Store(w.nodes[0].Keys())
		w.wantKnown(p, ticket.BadSignature)
		time.Sleep(2 * time.Second)
		if !w.alarmed(follow.ErrOldKeys) {
			t.Errorf("alarms: %v", w.told(&w.alarms))
		}
	})
}

// Nobody looks at the watch, but keys that go are noticed.
func TestKeysInProcessUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inForce, cut atomic.Uint64
		var keys atomic.Pointer[ticket.KeySet]
		w := newWorld(t, 1)
		keys.Store(w.nodes[0].Keys())
		w.restartInProcess(&keys, noting(&inForce, &cut))
		time.Sleep(time.Second)
		keys.Store(w.signKeys(2, newKey(t)))
		time.Sleep(1100 * time.Millisecond)
		if cut.Load() != 2 {
			t.Errorf("cut by %d", cut.Load())
		}
	})
}

// restartInProcess follows an authority in the same process.
func (w *world) restartInProcess(keys *atomic.Pointer[ticket.KeySet], change func(*follow.Config)) {
	w.t.Helper()
	w.run()
	w.restart(change, func(c *follow.Config) { c.Pin, c.Keys = "", keys.Load })
	w.run()
}
