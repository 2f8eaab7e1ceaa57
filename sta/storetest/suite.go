package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Suite is a kind of store to be tested.
type Suite struct {
	// Open gives a new, empty store. The suite closes it.
	Open func(t *testing.T) sta.Store
	// Reopen closes the store and opens what it left behind, as a new process
	// would. nil for stores that promise to leave nothing behind.
	Reopen func(t *testing.T, s sta.Store) sta.Store
}

// Run tests the store.
func (s Suite) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		body func(*testing.T, sta.Store)
	}{
		{"PutAndFind", putAndFind},
		{"PutRefusesDuplicates", putRefusesDuplicates},
		{"RecordsAreCopies", recordsAreCopies},
		{"Delete", deletes},
		{"RevokeFamily", revokeFamily},
		{"RevokeTwice", revokeTwice},
		{"RevokedFamilyTakesNoMembers", revokedFamilyTakesNoMembers},
		{"ForgetCoversTheFamily", forgetCoversTheFamily},
		{"RevocationsInPieces", revocationsInPieces},
		{"SerialsHaveNoGaps", serialsHaveNoGaps},
		{"RevokeIsAtomic", revokeIsAtomic},
		{"Filters", filters},
		{"Pages", pages},
		{"PagesWhileWriting", pagesWhileWriting},
		{"BadCursor", badCursor},
		{"Sweep", sweeps},
		{"SweepLimit", sweepLimit},
		{"SerialsOutliveSweeps", serialsOutliveSweeps},
		{"KeySet", keySets},
		{"CancelledContext", cancelledContext},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := s.Open(t)
			defer closeStore(t, store)
			test.body(t, store)
		})
	}
	if s.Reopen != nil {
		t.Run("SurvivesReopening", s.survivesReopening)
	}
}

func closeStore(t *testing.T, s sta.Store) {
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// epoch is the present of all tests.
var epoch = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

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

func revoke(t *testing.T, s sta.Store, family string) ticket.Revocation {
	t.Helper()
	r, _, err := s.Revoke(t.Context(), ticket.Revocation{Family: family, Time: epoch, By: "desk", Forget: epoch.Add(time.Hour)})
	if err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	return r
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want %v", err, target)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
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

func keySets(t *testing.T, s sta.Store) {
	_, err := s.KeySet(t.Context())
	want(t, err, sta.ErrNotFound)
	two := sta.SignedKeySet{Version: 2, Signed: "a.b.c"}
	want(t, s.PutKeySet(t.Context(), sta.SignedKeySet{}), sta.ErrVersion)
	want(t, s.PutKeySet(t.Context(), two), nil)
	for _, version := range []uint64{1, 2} {
		want(t, s.PutKeySet(t.Context(), sta.SignedKeySet{Version: version, Signed: "d.e.f"}), sta.ErrVersion)
	}
	got, err := s.KeySet(t.Context())
	want(t, err, nil)
	same(t, "key set", got, two)
	want(t, s.PutKeySet(t.Context(), sta.SignedKeySet{Version: 7, Signed: "g.h.i"}), nil)
}

func cancelledContext(t *testing.T, s sta.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRecord()
	want(t, s.Put(ctx, r), context.Canceled)
	_, err := s.ByID(t.Context(), r.ID)
	want(t, err, sta.ErrNotFound)
	_, _, err = s.Revoke(ctx, ticket.Revocation{Family: r.Family})
	want(t, err, context.Canceled)
	_, last, err := s.Revocations(t.Context(), 0, 1)
	want(t, err, nil)
	same(t, "last serial", last, uint64(0))
}

func (suite Suite) survivesReopening(t *testing.T) {
	s := suite.Open(t)
	live, ended := put(t, s, newRecord()), put(t, s, newRecord())
	revocation := revoke(t, s, ended.Family)
	set := sta.SignedKeySet{Version: 3, Signed: "a.b.c"}
	want(t, s.PutKeySet(t.Context(), set), nil)

	s = suite.Reopen(t, s)
	defer closeStore(t, s)
	got, err := s.ByHash(t.Context(), live.Hash)
	want(t, err, nil)
	same(t, "the live one", got, live)
	got, err = s.ByHash(t.Context(), ended.Hash)
	want(t, err, nil)
	if got == nil || got.Revoked == nil {
		t.Fatal("the revoked one came back to life")
	}
	same(t, "its revocation", *got.Revoked, revocation)
	kept, err := s.KeySet(t.Context())
	want(t, err, nil)
	same(t, "key set", kept, set)
	same(t, "next serial", revoke(t, s, live.Family).Serial, revocation.Serial+1)
	newer := put(t, s, newRecord())
	same(t, "order", listed(t, s, sta.Filter{Limit: 9}), []string{newer.ID, ended.ID, live.ID})
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

func name(i int) string { return fmt.Sprintf("n%02d", i) }
