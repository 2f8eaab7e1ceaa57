package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

func filters(t *testing.T, s sta.Store) {
	with := func(user, device, app string) *sta.Record {
		return put(t, s, newRecord(func(r *sta.Record) { r.User, r.Device, r.App = user, device, app }))
	}
	// Values that begin alike, and one that is the separator's own.
	a1, a2 := with("a", "d1", "mail"), with("a", "d2", "web")
	ab := with("ab", "d1", "mail")
	none := with("", "d", "")
	expired := put(t, s, newRecord(func(r *sta.Record) { r.User, r.Expires = "x", epoch }))
	revoked := put(t, s, newRecord(func(r *sta.Record) { r.User = "x" }))
	gone := put(t, s, newRecord(func(r *sta.Record) { r.User, r.Expires = "y", epoch }))
	// The authority knows what is revoked; it is shown the whole record.
	ended := func(r *sta.Record) bool { return r.Family == revoked.Family || r.Family == gone.Family }
	for _, test := range []struct {
		filter sta.Filter
		want   []*sta.Record
	}{
		{sta.Filter{}, []*sta.Record{gone, revoked, expired, none, ab, a2, a1}},
		{sta.Filter{User: "a"}, []*sta.Record{a2, a1}},
		{sta.Filter{User: "ab"}, []*sta.Record{ab}},
		{sta.Filter{Device: "d1"}, []*sta.Record{ab, a1}},
		{sta.Filter{Device: "d"}, []*sta.Record{none}},
		{sta.Filter{User: "a", Device: "d1"}, []*sta.Record{a1}},
		{sta.Filter{App: "mail"}, []*sta.Record{ab, a1}},
		{sta.Filter{User: "a", App: "web"}, []*sta.Record{a2}},
		{sta.Filter{Status: sta.Valid, Revoked: ended}, []*sta.Record{none, ab, a2, a1}},
		{sta.Filter{Status: sta.Expired, Revoked: ended}, []*sta.Record{expired}},
		{sta.Filter{Status: sta.Revoked, Revoked: ended}, []*sta.Record{gone, revoked}},
		{sta.Filter{User: "x", Revoked: ended}, []*sta.Record{revoked, expired}},
		{sta.Filter{User: "x", Status: sta.Valid, Revoked: ended}, nil},
		{sta.Filter{User: "x", Status: sta.Valid}, []*sta.Record{revoked}},
		{sta.Filter{Status: sta.Expired}, []*sta.Record{gone, expired}},
		{sta.Filter{Status: sta.Revoked}, nil},
		{sta.Filter{User: "\x00"}, nil},
		{sta.Filter{User: "zz"}, nil},
	} {
		test.filter.Limit = 100
		same(t, "filtered", listed(t, s, test.filter), idsOf(test.want))
	}
}

// walk reads all pages and calls between after each.
func walk(t *testing.T, s sta.Store, f sta.Filter, between func()) []string {
	t.Helper()
	var all []string
	for range 1000 {
		records, next, err := s.List(t.Context(), f, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) > f.Limit {
			t.Fatalf("a page of %d, want at most %d", len(records), f.Limit)
		}
		all = append(all, idsOf(records)...)
		if next == "" {
			return all
		}
		f.After = next
		between()
	}
	t.Fatal("the pages never end")
	return nil
}

func pages(t *testing.T, s sta.Store) {
	var newestFirst []string
	for range 6 {
		r := put(t, s, newRecord())
		newestFirst = append([]string{r.ID}, newestFirst...)
	}
	for _, filter := range []sta.Filter{{}, {User: "jürgen"}, {Device: "d€1"}} {
		for _, limit := range []int{1, 2, 3, 4, 6, 7} {
			filter.Limit = limit
			same(t, "walked", walk(t, s, filter, func() {}), newestFirst)
		}
	}
	filter := sta.Filter{Limit: 6}
	if _, next, _ := s.List(t.Context(), filter, epoch); next != "" {
		t.Error("a cursor behind the last page")
	}
}

func pagesWhileWriting(t *testing.T, s sta.Store) {
	var before []string
	for range 10 {
		before = append([]string{put(t, s, newRecord()).ID}, before...)
	}
	victim := before[7]
	turn := 0
	walked := walk(t, s, sta.Filter{Limit: 2}, func() {
		put(t, s, newRecord())
		if turn++; turn == 2 {
			want(t, s.Delete(t.Context(), victim), nil)
			// The very ticket that the cursor names may go, too.
			want(t, s.Delete(t.Context(), before[3]), nil)
		}
	})
	same(t, "walked", walked, slices.DeleteFunc(before, func(id string) bool { return id == victim }))
}

func badCursor(t *testing.T, s sta.Store) {
	put(t, s, newRecord())
	for _, cursor := range []string{"!", "a b", "-1", "%%%%", "\x00"} {
		_, _, err := s.List(t.Context(), sta.Filter{After: cursor, Limit: 1}, epoch)
		want(t, err, sta.ErrCursor)
	}
	_, _, err := s.List(t.Context(), sta.Filter{Limit: 1}, epoch.Add(time.Hour))
	want(t, err, nil)
}
