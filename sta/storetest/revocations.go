package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func revokeFamily(t *testing.T, s sta.Store) {
	first, bystander := put(t, s, newRecord()), put(t, s, newRecord())
	renewed := put(t, s, newRecord(func(r *sta.Record) { r.Family = first.Family }))
	revocation := revoke(t, s, first.Family)
	same(t, "revocation", revocation, ticket.Revocation{
		Serial: 1, Family: first.Family, Time: epoch, By: "desk", Forget: first.Expires,
	})
	for _, r := range []*sta.Record{first, renewed} {
		r.Revoked = &revocation
		got, err := s.ByHash(t.Context(), r.Hash)
		want(t, err, nil)
		same(t, "revoked", got, r)
	}
	got, err := s.ByID(t.Context(), bystander.ID)
	want(t, err, nil)
	same(t, "bystander", got, bystander)
}

func revokeTwice(t *testing.T, s sta.Store) {
	first := revoke(t, s, "f")
	again, already, err := s.Revoke(t.Context(), ticket.Revocation{Family: "f", Time: epoch.Add(time.Minute), By: "other"})
	want(t, err, nil)
	same(t, "already", already, true)
	same(t, "the first stands", again, first)
	_, last, err := s.Revocations(t.Context(), 0, 9)
	want(t, err, nil)
	same(t, "last serial", last, uint64(1))
}

func revokedFamilyTakesNoMembers(t *testing.T, s sta.Store) {
	r := newRecord()
	revoke(t, s, r.Family)
	want(t, s.Put(t.Context(), r), sta.ErrFamilyRevoked)
	_, err := s.ByHash(t.Context(), r.Hash)
	want(t, err, sta.ErrNotFound)
}

func forgetCoversTheFamily(t *testing.T, s sta.Store) {
	r := put(t, s, newRecord())
	late := put(t, s, newRecord(func(l *sta.Record) { l.Family, l.Expires = r.Family, epoch.Add(48*time.Hour) }))
	same(t, "forget", revoke(t, s, r.Family).Forget, late.Expires)
}

func revocationsInPieces(t *testing.T, s sta.Store) {
	entries, last, err := s.Revocations(t.Context(), 0, 3)
	want(t, err, nil)
	same(t, "of none", len(entries), 0)
	same(t, "last of none", last, uint64(0))
	var all []ticket.Revocation
	for i := range 7 {
		all = append(all, revoke(t, s, name(i)))
	}
	var read []ticket.Revocation
	for after := uint64(0); ; {
		entries, last, err := s.Revocations(t.Context(), after, 3)
		want(t, err, nil)
		same(t, "last", last, uint64(7))
		if len(entries) == 0 {
			break
		}
		if len(entries) > 3 {
			t.Fatalf("%d entries, want at most 3", len(entries))
		}
		read = append(read, entries...)
		after = entries[len(entries)-1].Serial
	}
	same(t, "read in pieces", read, all)
}

func serialsHaveNoGaps(t *testing.T, s sta.Store) {
	const writers, each = 8, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				// Each family is fought over by two.
				_, _, err := s.Revoke(t.Context(), ticket.Revocation{Family: name(w/2) + name(i), Time: epoch, Forget: epoch})
				want(t, err, nil)
			}
		})
	}
	wg.Wait()
	entries, last, err := s.Revocations(t.Context(), 0, 1000)
	want(t, err, nil)
	same(t, "last", last, uint64(writers*each/2))
	same(t, "entries", len(entries), writers*each/2)
	seen := make(map[string]bool)
	for i, r := range entries {
		if r.Serial != uint64(i)+1 || seen[r.Family] {
			t.Fatalf("entry %d has serial %d and family %s (seen before: %v)", i, r.Serial, r.Family, seen[r.Family])
		}
		seen[r.Family] = true
	}
}

// revokeIsAtomic: whoever sees a family's ticket revoked must find the entry
// among the revocations, and the other way round.
func revokeIsAtomic(t *testing.T, s sta.Store) {
	const tickets = 10
	records := make([]*sta.Record, tickets)
	for i := range records {
		records[i] = put(t, s, newRecord())
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(done)
		for _, r := range records {
			revoke(t, s, r.Family)
		}
	})
	for {
		ended := false
		select {
		case <-done:
			ended = true
		default:
		}
		entries, _, err := s.Revocations(t.Context(), 0, tickets)
		want(t, err, nil)
		for i, r := range records {
			got, err := s.ByHash(t.Context(), r.Hash)
			if err != nil {
				t.Fatal(err)
			}
			if i < len(entries) && got.Revoked == nil {
				t.Fatalf("ticket %d is on the list of revocations, but not revoked", i)
			}
			if got.Revoked != nil {
				later, _, err := s.Revocations(t.Context(), got.Revoked.Serial-1, 1)
				if err != nil || len(later) == 0 || later[0] != *got.Revoked {
					t.Fatalf("ticket %d is revoked by %+v, but the list says %+v (%v)", i, got.Revoked, later, err)
				}
			}
		}
		if ended {
			same(t, "entries in the end", len(entries), tickets)
			return
		}
	}
}

func sweeps(t *testing.T, s sta.Store) {
	due := put(t, s, newRecord(func(r *sta.Record) { r.Expires = epoch }))
	kept := put(t, s, newRecord(func(r *sta.Record) { r.Expires = epoch.Add(time.Second) }))
	revoke(t, s, kept.Family)
	if _, _, err := s.Revoke(t.Context(), ticket.Revocation{Family: due.Family, Time: epoch, Forget: epoch}); err != nil {
		t.Fatal(err)
	}
	swept, err := s.Sweep(t.Context(), epoch, 100)
	want(t, err, nil)
	same(t, "swept", swept, sta.Swept{Tickets: 1, Revocations: 1})
	_, err = s.ByHash(t.Context(), due.Hash)
	want(t, err, sta.ErrNotFound)
	got, err := s.ByID(t.Context(), kept.ID)
	if err != nil || got.Revoked == nil {
		t.Errorf("the other one: %+v, %v; want it there, and revoked", got, err)
	}
	same(t, "by user", listed(t, s, sta.Filter{User: kept.User, Limit: 9}), []string{kept.ID})
	again, err := s.Sweep(t.Context(), epoch, 100)
	want(t, err, nil)
	same(t, "swept again", again, sta.Swept{})
}

func sweepLimit(t *testing.T, s sta.Store) {
	for i := range 5 {
		put(t, s, newRecord())
		revoke(t, s, name(i))
	}
	for _, expected := range []int{2, 2, 1, 0} {
		swept, err := s.Sweep(t.Context(), epoch.Add(time.Hour), 2)
		want(t, err, nil)
		same(t, "swept", swept, sta.Swept{Tickets: expected, Revocations: expected})
	}
}

func serialsOutliveSweeps(t *testing.T, s sta.Store) {
	revoke(t, s, "a")
	revoke(t, s, "b")
	_, err := s.Sweep(t.Context(), epoch.Add(time.Hour), 9)
	want(t, err, nil)
	entries, last, err := s.Revocations(t.Context(), 0, 9)
	want(t, err, nil)
	same(t, "left", len(entries), 0)
	same(t, "last", last, uint64(2))
	same(t, "next", revoke(t, s, "c").Serial, uint64(3))
}
