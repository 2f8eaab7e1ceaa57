package sta_test

import (
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/storetest"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestMemoryStore(t *testing.T) {
	storetest.Suite{
		Open: func(*testing.T) sta.Store { return sta.NewMemoryStore() },
	}.Run(t)
}

// A search that finds nothing must not hold a store up: it stops, and says where
// to go on.
func TestListLooksAtABoundedNumber(t *testing.T) {
	store := sta.NewMemoryStore()
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for i := range sta.MaxScan + 1 {
		r := &sta.Record{ID: string(rune(i + 1)), Hash: ticket.Hash{byte(i), byte(i >> 8)}, App: "common", Expires: now}
		if i == 0 {
			r.App = "rare"
		}
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	found, next, err := store.List(t.Context(), sta.Filter{App: "rare", Limit: 1}, now)
	if err != nil || len(found) != 0 || next == "" {
		t.Fatalf("first look: %d found, cursor %q, %v; want none, and a cursor", len(found), next, err)
	}
	found, next, err = store.List(t.Context(), sta.Filter{App: "rare", Limit: 1, After: next}, now)
	if err != nil || len(found) != 1 || next != "" {
		t.Fatalf("second look: %d found, cursor %q, %v; want the rare one, and the end", len(found), next, err)
	}
}
