package storetest

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// newRecord makes a record that expires an hour from epoch, changed by change.
func newRecord(change ...func(*sta.Record)) *sta.Record {
	r := &sta.Record{
		ID: strings.ToLower(rand.Text()), Hash: ticket.NewHandle().Hash(), Family: strings.ToLower(rand.Text()),
		User: "jürgen", Device: "d€1", App: "Secure Mail", Platform: "iOS",
		Groups: []string{"sales", "all"}, Policy: "field", Services: []string{"mail.example.com:443"},
		Issued: epoch, Expires: epoch.Add(time.Hour), Refreshable: true,
		Client: "enrolment", Statement: "e30.e30.c2ln",
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func put(t *testing.T, s sta.Store, r *sta.Record) *sta.Record {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return r
}

// listed gives the ids of one page.
func listed(t *testing.T, s sta.Store, f sta.Filter) []string {
	t.Helper()
	records, _, err := s.List(t.Context(), f, epoch)
	if err != nil {
		t.Fatalf("List(%+v): %v", f, err)
	}
	return idsOf(records)
}

func idsOf(records []*sta.Record) []string {
	ids := make([]string, 0, len(records))
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

func putAndFind(t *testing.T, s sta.Store) {
	bare := newRecord(func(r *sta.Record) {
		r.User, r.Device, r.Groups, r.Services, r.Refreshable = "", "", nil, nil, false
	})
	for _, r := range []*sta.Record{newRecord(), bare} {
		put(t, s, r)
		byHash, err := s.ByHash(t.Context(), r.Hash)
		want(t, err, nil)
		same(t, "by hash", byHash, r)
		byID, err := s.ByID(t.Context(), r.ID)
		want(t, err, nil)
		same(t, "by id", byID, r)
	}
	_, err := s.ByHash(t.Context(), ticket.NewHandle().Hash())
	want(t, err, sta.ErrNotFound)
	for _, id := range []string{"nobody", ""} {
		_, err = s.ByID(t.Context(), id)
		want(t, err, sta.ErrNotFound)
	}
}

func putRefusesDuplicates(t *testing.T, s sta.Store) {
	first := put(t, s, newRecord())
	want(t, s.Put(t.Context(), newRecord(func(r *sta.Record) { r.ID = first.ID })), sta.ErrExists)
	second := newRecord(func(r *sta.Record) { r.Hash = first.Hash })
	want(t, s.Put(t.Context(), second), sta.ErrExists)
	_, err := s.ByID(t.Context(), second.ID)
	want(t, err, sta.ErrNotFound)
	kept, err := s.ByHash(t.Context(), first.Hash)
	want(t, err, nil)
	same(t, "the first", kept, first)
	same(t, "listed", listed(t, s, sta.Filter{Limit: 9}), []string{first.ID})
}

func recordsAreCopies(t *testing.T, s sta.Store) {
	r := put(t, s, newRecord())
	pristine := r.Clone()
	r.User, r.Groups[0], r.Services[0] = "mallory", "admins", "*:1"
	got, err := s.ByID(t.Context(), r.ID)
	want(t, err, nil)
	got.Groups[0] = "admins"
	again, err := s.ByID(t.Context(), r.ID)
	want(t, err, nil)
	same(t, "after meddling", again, pristine)
}

func putsAtOnce(t *testing.T, s sta.Store) {
	const writers, each = 8, 8
	records := make([]*sta.Record, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w * each; i < (w+1)*each; i++ {
				records[i] = newRecord()
				want(t, s.Put(t.Context(), records[i]), nil)
				got, err := s.ByHash(t.Context(), records[i].Hash)
				want(t, err, nil)
				same(t, "what was just put", got, records[i])
			}
		})
	}
	wg.Wait()
	all := idsOf(records)
	slices.Sort(all)
	for _, f := range []sta.Filter{{}, {User: "jürgen"}, {Device: "d€1"}} {
		f.Limit = len(all) + 1
		there := listed(t, s, f)
		slices.Sort(there)
		same(t, "listed", there, all)
	}
}

func deletes(t *testing.T, s sta.Store) {
	r, other := put(t, s, newRecord()), put(t, s, newRecord())
	want(t, s.Delete(t.Context(), r.ID), nil)
	want(t, s.Delete(t.Context(), r.ID), nil)
	_, err := s.ByID(t.Context(), r.ID)
	want(t, err, sta.ErrNotFound)
	_, err = s.ByHash(t.Context(), r.Hash)
	want(t, err, sta.ErrNotFound)
	for _, f := range []sta.Filter{{Limit: 9}, {User: r.User, Limit: 9}, {Device: r.Device, Limit: 9}} {
		same(t, "left", listed(t, s, f), []string{other.ID})
	}
	want(t, s.Put(t.Context(), r), nil) // nothing of it is left in the way
}

func sweeps(t *testing.T, s sta.Store) {
	due := put(t, s, newRecord(func(r *sta.Record) { r.Expires = epoch }))
	kept := put(t, s, newRecord(func(r *sta.Record) { r.Expires = epoch.Add(time.Second) }))
	swept, err := s.Sweep(t.Context(), epoch, 100)
	want(t, err, nil)
	same(t, "swept", swept, 1)
	_, err = s.ByHash(t.Context(), due.Hash)
	want(t, err, sta.ErrNotFound)
	_, err = s.ByID(t.Context(), due.ID)
	want(t, err, sta.ErrNotFound)
	got, err := s.ByHash(t.Context(), kept.Hash)
	want(t, err, nil)
	same(t, "the other", got, kept)
	for _, f := range []sta.Filter{{Limit: 9}, {User: kept.User, Limit: 9}, {Device: kept.Device, Limit: 9}} {
		same(t, "left", listed(t, s, f), []string{kept.ID})
	}
	again, err := s.Sweep(t.Context(), epoch, 100)
	want(t, err, nil)
	same(t, "swept again", again, 0)
	want(t, s.Put(t.Context(), due), nil) // nothing of it is left in the way
}

func sweepLimit(t *testing.T, s sta.Store) {
	for range 5 {
		put(t, s, newRecord())
	}
	for _, expected := range []int{2, 2, 1, 0} {
		swept, err := s.Sweep(t.Context(), epoch.Add(time.Hour), 2)
		want(t, err, nil)
		same(t, "swept", swept, expected)
	}
}
