package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// Suite is a kind of store to be tested.
type Suite struct {
	// Open gives a new, empty store. The suite closes it.
	Open func(t *testing.T) sta.Store
	// Reopen closes the store and opens what it left behind, as a new process
	// would. nil for stores that promise to leave nothing behind.
	Reopen func(t *testing.T, s sta.Store) sta.Store
	// Second gives another handle on the data of a store, as another process
	// beside it would have. The suite closes it. nil for stores that one process
	// has to itself.
	Second func(t *testing.T, s sta.Store) sta.Store
}

// Run tests the store.
func (suite Suite) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		body func(*testing.T, sta.Store)
	}{
		{"PutAndFind", putAndFind},
		{"PutRefusesDuplicates", putRefusesDuplicates},
		{"RecordsAreCopies", recordsAreCopies},
		{"PutsAtOnce", putsAtOnce},
		{"Delete", deletes},
		{"Filters", filters},
		{"Pages", pages},
		{"PagesWhileWriting", pagesWhileWriting},
		{"BadCursor", badCursor},
		{"Sweep", sweeps},
		{"SweepLimit", sweepLimit},
		{"Entries", entriesAfter},
		{"EntriesInPieces", entriesInPieces},
		{"EntriesAgain", entriesAgain},
		{"EntriesOutOfOrder", entriesOutOfOrder},
		{"EntriesFarApart", entriesFarApart},
		{"Fork", forks},
		{"DropEntries", dropEntries},
		{"KeySet", keySets},
		{"Notices", notices},
		{"NoticesEnd", noticesEnd},
		{"NoticesAreCopies", noticesAreCopies},
		{"WatchEnds", watchEnds},
		{"Clock", clocks},
		{"CancelledContext", cancelledContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.body(t, suite.open(t)) })
	}
	// What two processes may do at once, and see of one another. Where there is
	// no second one, the first takes its part.
	for _, test := range []struct {
		name string
		body func(t *testing.T, one, other sta.Store)
	}{
		{"Shared", shared},
		{"EntriesAtOnce", entriesAtOnce},
		{"ForksAtOnce", forksAtOnce},
		{"Watch", watches},
	} {
		t.Run(test.name, func(t *testing.T) {
			one := suite.open(t)
			test.body(t, one, suite.second(t, one))
		})
	}
	if suite.Reopen != nil {
		t.Run("SurvivesReopening", suite.survivesReopening)
	}
}

func (suite Suite) open(t *testing.T) sta.Store {
	s := suite.Open(t)
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func (suite Suite) second(t *testing.T, s sta.Store) sta.Store {
	if suite.Second == nil {
		return s
	}
	other := suite.Second(t, s)
	t.Cleanup(func() { closeStore(t, other) })
	return other
}

func closeStore(t *testing.T, s sta.Store) {
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// epoch is the present of all tests. It is the real one, for stores that let
// what is long past go by themselves.
var epoch = time.Now().UTC().Truncate(time.Second)

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
	// As numbers, not as text.
	ten := sta.SignedKeySet{Version: 10, Signed: "g.h.i"}
	want(t, s.PutKeySet(t.Context(), ten), nil)
	got, err = s.KeySet(t.Context())
	want(t, err, nil)
	same(t, "the newer key set", got, ten)
}

// cancelledContext: nothing is done for whoever has gone.
func cancelledContext(t *testing.T, s sta.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRecord()
	want(t, s.Put(ctx, r), context.Canceled)
	_, err := s.ByID(t.Context(), r.ID)
	want(t, err, sta.ErrNotFound)
	_, err = s.ByHash(ctx, r.Hash)
	want(t, err, context.Canceled)

	want(t, s.PutEntries(ctx, newLog(t, "gw", 1)), context.Canceled)
	_, _, err = s.Entries(ctx, nil, 1)
	want(t, err, context.Canceled)
	stored(t, s, nil)

	want(t, s.PutKeySet(ctx, sta.SignedKeySet{Version: 1, Signed: "a.b.c"}), context.Canceled)
	_, err = s.KeySet(t.Context())
	want(t, err, sta.ErrNotFound)

	want(t, s.PostNotice(ctx, "gw", []byte("word"), time.Minute), context.Canceled)
	noticed(t, s, nil)
	_, err = s.Clock(ctx)
	want(t, err, context.Canceled)
}

// shared: what the one writes the other has at once.
func shared(t *testing.T, one, other sta.Store) {
	r := put(t, one, newRecord())
	got, err := other.ByHash(t.Context(), r.Hash)
	want(t, err, nil)
	same(t, "record", got, r)
	newer := put(t, other, newRecord())
	same(t, "order", listed(t, one, sta.Filter{Limit: 9}), []string{newer.ID, r.ID})

	log := newLog(t, "gw", 3)
	want(t, one.PutEntries(t.Context(), log), nil)
	stored(t, other, log)

	want(t, one.PostNotice(t.Context(), "gw", []byte("word"), time.Minute), nil)
	noticed(t, other, map[string][]byte{"gw": []byte("word")})
	want(t, other.PostNotice(t.Context(), "gw", nil, 0), nil)
	noticed(t, one, nil)

	want(t, one.PutKeySet(t.Context(), sta.SignedKeySet{Version: 2, Signed: "a.b.c"}), nil)
	want(t, other.PutKeySet(t.Context(), sta.SignedKeySet{Version: 2, Signed: "d.e.f"}), sta.ErrVersion)
}

func (suite Suite) survivesReopening(t *testing.T) {
	s := suite.Open(t)
	older, newer := put(t, s, newRecord()), put(t, s, newRecord())
	log := newLog(t, "gw", 5)
	want(t, s.PutEntries(t.Context(), log[:3]), nil)
	set := sta.SignedKeySet{Version: 3, Signed: "a.b.c"}
	want(t, s.PutKeySet(t.Context(), set), nil)

	s = suite.Reopen(t, s)
	t.Cleanup(func() { closeStore(t, s) })
	got, err := s.ByHash(t.Context(), older.Hash)
	want(t, err, nil)
	same(t, "record", got, older)
	stored(t, s, log[:3])
	want(t, s.PutEntries(t.Context(), log), nil)
	stored(t, s, log)
	kept, err := s.KeySet(t.Context())
	want(t, err, nil)
	same(t, "key set", kept, set)
	newest := put(t, s, newRecord())
	same(t, "order", listed(t, s, sta.Filter{Limit: 9}), []string{newest.ID, newer.ID, older.ID})
}
