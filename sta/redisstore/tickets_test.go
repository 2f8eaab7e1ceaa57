package redisstore_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
)

func idsOf(t *testing.T, s sta.Store, f sta.Filter) (ids []string) {
	t.Helper()
	records, _, err := s.List(t.Context(), f, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

// TestNothingStays: what is deleted or swept leaves nothing behind, and what
// nobody sweeps goes by itself, but not before its time.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	key := func(name string) string { return "sallyport:{" + c.Authority + "}:" + name }

	long, short := newRecord(), newRecord()
	long.Expires = long.Expires.Add(1000 * time.Hour)
	for _, r := range []*sta.Record{long, short} {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(r *sta.Record) int64 { return r.Expires.Add(48 * time.Hour).Unix() }
	for name, at := range map[string]int64{
		"t:" + long.Hash.String(): ends(long), "i:" + long.ID: ends(long),
		"t:" + short.Hash.String(): ends(short), "i:" + short.ID: ends(short),
		"tickets": ends(long), "expiry": ends(long), "u:user2": ends(long), "d:d1": ends(long), "sequence": -1,
	} {
		if got := server.Do("expiretime", key(name)).(int64); got != at {
			t.Errorf("%s ends at %d, want %d", name, got, at)
		}
	}

	// Also when it has gone by itself, or cannot be read.
	gone, broken := put(t, s), put(t, s)
	server.Do("del", key("t:"+gone.Hash.String()), key("i:"+gone.ID))
	server.Do("set", key("t:"+broken.Hash.String()), "{")
	server.Do("zadd", key("expiry"), 1, "no card")
	want(t, "Delete", s.Delete(t.Context(), short.ID), nil)
	removed, err := s.Sweep(t.Context(), long.Expires, 1000)
	if removed != 4 || err != nil {
		t.Errorf("%d removed, %v; want 4", removed, err)
	}
	if left := keysOf(server, c.Authority); !slices.Equal(left, []string{"sequence"}) {
		t.Errorf("left: %v", left)
	}
}

// TestSweepMany: more than one transaction's worth.
func TestSweepMany(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	const tickets = 450
	var last *sta.Record
	for range tickets {
		last = put(t, s)
	}
	for _, expected := range []int{tickets - 1, 1, 0} {
		if removed, err := s.Sweep(t.Context(), last.Expires, tickets-1); removed != expected || err != nil {
			t.Errorf("%d removed, %v; want %d", removed, err, expected)
		}
	}
}

// TestDamagedRecords: nobody gets in by one, and it can still be found and
// revoked.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	key := func(r *sta.Record) string { return "sallyport:{" + c.Authority + "}:t:" + r.Hash.String() }
	good, broken, swapped := put(t, s), put(t, s), put(t, s)
	server.Do("set", key(broken), `{"id":`)
	data, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	server.Do("set", key(swapped), data)
	for _, r := range []*sta.Record{broken, swapped} {
		_, err := s.ByHash(t.Context(), r.Hash)
		want(t, "ByHash", err, redisstore.ErrDamaged)
		got, err := s.ByID(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != r.ID || got.Family != r.Family || got.User != r.User || got.Device != r.Device ||
			!got.Expires.Equal(r.Expires) || got.Statement != "" || got.Hash != [32]byte{} {
			t.Errorf("what is known of it is %+v", got)
		}
	}
	for _, f := range []sta.Filter{{}, {User: "user2"}, {Device: "d1"}} {
		if ids := idsOf(t, s, f); !slices.Equal(ids, []string{swapped.ID, broken.ID, good.ID}) {
			t.Errorf("listed: %v", ids)
		}
	}
	want(t, "Delete", s.Delete(t.Context(), broken.ID), nil)
	if ids := idsOf(t, s, sta.Filter{User: "user2"}); !slices.Equal(ids, []string{swapped.ID, good.ID}) {
		t.Errorf("left: %v", ids)
	}
}

// TestListLeavesOutWhatIsGone, and does not meet it again.
func TestListLeavesOutWhatIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	prefix := "sallyport:{" + c.Authority + "}:"
	gone, here := put(t, s), put(t, s)
	server.Do("del", prefix+"t:"+gone.Hash.String())
	server.Do("zadd", prefix+"u:user2", 0, "no reference")
	for index, f := range map[string]sta.Filter{"tickets": {}, "u:user2": {User: "user2"}, "d:d1": {Device: "d1"}} {
		if ids := idsOf(t, s, f); !slices.Equal(ids, []string{here.ID}) {
			t.Errorf("listed: %v", ids)
		}
		if n := server.Do("zcard", prefix+index).(int64); n != 1 {
			t.Errorf("%s has %d references, want 1", index, n)
		}
	}
}

// TestUnreadableEntries are left out, wherever they are, and give way.
func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	log, other := newEntries(t, "gw", 4), newEntries(t, "other", 9)
	key := "sallyport:{" + c.Authority + "}:e:gw"
	want(t, "PutEntries", s.PutEntries(t.Context(), log[:2]), nil)
	server.Do("zadd", key, 3, "a.b.c", 3, "d.e.f", 4, other[3].Signed, "1.5", "between", "inf", "above")
	for i := range 250 {
		server.Do("zadd", key, 1000+i, newRecord().ID)
	}
	server.Do("sadd", "sallyport:{"+c.Authority+"}:writers", "no writer's name", "nobody")
	check := func(expected int) {
		t.Helper()
		for _, limit := range []int{1, 3, 1000} {
			var read []string
			for at := 0; at < expected; at = len(read) {
				logs, last, err := s.Entries(t.Context(), map[string]uint64{"gw": uint64(at)}, limit)
				if err != nil || len(last) != 1 || last["gw"] != uint64(expected) || len(logs["gw"]) == 0 {
					t.Fatalf("past %d: %d entries, last %v, %v", at, len(logs["gw"]), last, err)
				}
				read = append(read, logs["gw"]...)
			}
			for i, signed := range read {
				if signed != log[i].Signed {
					t.Errorf("entry %d is another", i+1)
				}
			}
		}
	}
	check(2)
	want(t, "PutEntries", s.PutEntries(t.Context(), log), nil)
	check(4)
	// Of two in one place, everybody sees the same.
	server.Do("zadd", key, 4, newEntries(t, "gw", 4)[3].Signed)
	logs, _, err := s.Entries(t.Context(), nil, 10)
	if err != nil || len(logs["gw"]) != 4 {
		t.Fatalf("%d entries, %v", len(logs["gw"]), err)
	}
	err = s.PutEntries(t.Context(), log[3:])
	if there := logs["gw"][3] == log[3].Signed; there != (err == nil) {
		t.Errorf("it is there is %v, and putting it gives %v", there, err)
	}
}

// TestDamagedKeySet is not taken for none.
func TestDamagedKeySet(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	server.Do("set", "sallyport:{"+c.Authority+"}:keyset", "{}")
	_, err := s.KeySet(t.Context())
	want(t, "KeySet", err, redisstore.ErrDamaged)
	want(t, "PutKeySet", s.PutKeySet(t.Context(), sta.SignedKeySet{Version: 1, Signed: "a.b.c"}), redisstore.ErrDamaged)
}

// TestNamesOfNoticesAreForgotten some time after the notices.
func TestNamesOfNoticesAreForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	names := "sallyport:{" + c.Authority + "}:notices"
	server.Do("zadd", names, time.Now().Add(-2*time.Minute).UnixMilli(), "old", time.Now().UnixMilli(), "recent")
	want(t, "PostNotice", s.PostNotice(t.Context(), "new", []byte("word"), time.Minute), nil)
	if n := server.Do("zcard", names).(int64); n != 2 {
		t.Errorf("%d names, want 2", n)
	}
	notices, err := s.Notices(t.Context())
	if err != nil || len(notices) != 1 || string(notices["new"]) != "word" {
		t.Errorf("notices: %v, %v", notices, err)
	}
}

// TestCloseEndsWatches also of those whose context goes on, and later ones.
func TestCloseEndsWatches(t *testing.T) {
	t.Parallel()
	s := open(t, configOf(redistest.Start(t, redistest.Options{})))
	hints := s.Watch(t.Context())
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	for _, hints := range []<-chan struct{}{hints, s.Watch(t.Context())} {
		for open := true; open; {
			select {
			case _, open = <-hints:
			case <-time.After(patience):
				t.Fatal("the watch does not end")
			}
		}
	}
}
