package sta_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Whoever enrols again at once, and is revoked again at once, is out.
func TestRevokeAgainWithinTheSecond(t *testing.T) {
	for name, request := range map[string]sta.RevokeRequest{
		"user": {User: "user2"}, "device": {Device: "d1"}, "both": {User: "user2", Device: "d1"}, "all": {All: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // issuing waits in between
			w := newWorld(t, func(c *sta.Config) { c.Now = time.Now })
			for turn := range 3 {
				issued := w.issue(t)
				result, err := w.Revoke(t.Context(), desk, request)
				if err != nil || result.Already {
					t.Fatalf("turn %d: %+v, %v", turn, result, err)
				}
				if w.redeems(t, issued) {
					t.Errorf("turn %d: the ticket is still good", turn)
				}
			}
			// No stamp is farther ahead than a gateway takes, by a clock that is behind.
			last := w.issue(t)
			now := time.Now()
			verifier, err := ticket.NewVerifier(w.keys, gateway, func() time.Time { return now.Add(-ticket.CutAhead) })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifier.Verify(last.Statement, last.Handle.Hash()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A ticket that was stamped by a clock far ahead ends with its user's.
func TestRevokeWhatWasStampedAhead(t *testing.T) {
	w := newWorld(t)
	w.advance(time.Hour)
	ahead := w.issue(t)
	w.advance(-time.Hour)
	if _, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{User: "user2"}); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Hour)
	if w.redeems(t, ahead) {
		t.Error("it is good when its time comes")
	}
}

// What ends everything is remembered for as long as the longest ticket lives that
// was ever issued, whatever the bound is by now.
func TestLifetimeLowered(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "log.db")
	authority := func(lifetime time.Duration) (*sta.Authority, *revlog.Log) {
		log, err := revlog.Open(path, revlog.WriterName("a"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := sta.New(sta.Config{
			ID: authorityID, Audience: []string{gateway}, Signer: w.signer, Keys: w.keys, Lifetime: lifetime,
			Store: w.store, Audit: w.audit, Now: w.clock, Log: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a, log
	}
	long, log := authority(720 * time.Hour)
	issued, err := long.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	short, log := authority(time.Hour)
	defer log.Close()
	if _, err := short.Revoke(t.Context(), desk, sta.RevokeRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	log.Each(func(e *ticket.Entry) bool {
		if e.Forget.Before(issued.Expires) {
			t.Errorf("forgotten %s, and the ticket lives until %s", e.Forget, issued.Expires)
		}
		return true
	})
}

// Whoever writes to the store makes a record say another family. Revoking the
// ticket by its id ends the ticket, and nobody else's.
func TestRevokeByIDOfABentRecord(t *testing.T) {
	w := newWorld(t)
	thief, victim := w.issue(t), w.onDevice(t, "victim", "d2")
	record, err := w.store.ByID(t.Context(), thief.ID)
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.store.ByID(t.Context(), victim.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Delete(t.Context(), thief.ID); err != nil {
		t.Fatal(err)
	}
	record.Family = other.Family
	if err := w.store.Put(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	result := w.revoke(t, thief.ID)
	if result.Scope != "ticket" || len(result.Warnings) != 1 {
		t.Errorf("%+v; want the ticket alone, and a warning", result)
	}
	claims, err := w.verifier.Verify(thief.Statement, thief.Handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Judge(claims); ticket.ReasonOf(err) != ticket.Revoked {
		t.Errorf("the thief's: %v", err)
	}
	if !w.redeems(t, victim) {
		t.Error("the victim's ended")
	}
}

// A ticket that the store has lost can be ended by its id all the same.
func TestRevokeByIDOfALostRecord(t *testing.T) {
	w := newWorld(t)
	issued := w.issue(t)
	if err := w.store.Delete(t.Context(), issued.ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: issued.ID})
	wantReason(t, err, ticket.NotFound)
	result, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: issued.ID, AllMatching: true})
	if err != nil || result.Scope != "ticket" || len(result.Warnings) != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	claims, err := w.verifier.Verify(issued.Statement, issued.Handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Judge(claims); ticket.ReasonOf(err) != ticket.Revoked {
		t.Errorf("it is still good: %v", err)
	}
}

// One client's key is no way to crowd the others out.
func TestManyFollowersOfOneClient(t *testing.T) {
	w := newWorld(t)
	refused := 0
	for i := range 100 {
		name := "thief/" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if _, err := w.Updates(t.Context(), name, ticket.Positions{"made.up": 7}, 0); ticket.ReasonOf(err) == ticket.Busy {
			refused++
		}
	}
	if refused != 36 {
		t.Errorf("%d of 100 names were refused", refused)
	}
	if _, err := w.Updates(t.Context(), "gw/gw-1", nil, 0); err != nil {
		t.Error(err)
	}
}
