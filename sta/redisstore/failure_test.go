package redisstore_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
	"github.com/sallyport/sallyport/sta/ticket"
)

// everyCall makes each call once, and hands on its error.
func everyCall(t *testing.T, s sta.Store, check func(what string, err error)) {
	ctx, r := t.Context(), newRecord()
	check("Put", s.Put(ctx, r))
	_, err := s.ByHash(ctx, r.Hash)
	check("ByHash", err)
	_, err = s.ByID(ctx, r.ID)
	check("ByID", err)
	_, _, err = s.List(ctx, sta.Filter{Limit: 1}, time.Now())
	check("List", err)
	_, err = s.Sweep(ctx, time.Now(), 10)
	check("Sweep", err)
	check("Delete", s.Delete(ctx, r.ID))
	check("PutEntries", s.PutEntries(ctx, newEntries(t, "gw", 1)))
	_, _, err = s.Entries(ctx, nil, 10)
	check("Entries", err)
	check("DropEntries", s.DropEntries(ctx, ticket.Positions{"gw": 1}))
	_, err = s.KeySet(ctx)
	check("KeySet", err)
	check("PutKeySet", s.PutKeySet(ctx, sta.SignedKeySet{Version: 1 << 40, Signed: "a.b.c"}))
	check("PostNotice", s.PostNotice(ctx, "gw", []byte("word"), time.Minute))
	_, err = s.Notices(ctx)
	check("Notices", err)
	_, err = s.Clock(ctx)
	check("Clock", err)
}

// TestServerAway: a server that is silent, or gone, is an error in good time, and
// everything goes on when it is back, also for who watches.
func TestServerAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Append: true})
	c := configOf(server)
	c.Timeout = 500 * time.Millisecond
	s := opened(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hints := s.Watch(ctx)
	hint(t, hints) // that it has begun
	r := put(t, s)
	away := func() {
		t.Helper()
		everyCall(t, s, func(what string, err error) { t.Helper(); failing(t, what, err) })
		start := time.Now()
		_, err := s.ByHash(t.Context(), r.Hash)
		failing(t, "ByHash", err)
		if took := time.Since(start); took > 2*c.Timeout {
			t.Errorf("ByHash failed after %s, want %s", took, c.Timeout)
		}
	}
	back := func() {
		t.Helper()
		eventually(t, func() error {
			got, err := s.ByHash(t.Context(), r.Hash)
			if err == nil && got.ID != r.ID {
				t.Errorf("ByHash gives %v", got)
			}
			return errors.Join(err, s.Put(t.Context(), newRecord()))
		})
	}
	server.Pause()
	away()
	server.Resume()
	back()

	server.Kill()
	for len(hints) > 0 {
		<-hints
	}
	away()
	server.Restart()
	back()
	hint(t, hints) // though nobody changed anything that is told
}

// TestBrokenConnections: that the pool's connections are gone is nobody's
// business. With TLS the pool does not see it.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{TLS: redistest.NewCA(t)})
	s := opened(t, configOf(server))
	for range 3 {
		put(t, s)
		server.Do("client", "kill", "type", "normal")
		put(t, s)
		server.Do("client", "kill", "type", "normal")
		everyCall(t, s, func(what string, err error) {
			if err != nil && !errors.Is(err, sta.ErrNotFound) && !errors.Is(err, sta.ErrVersion) && !errors.Is(err, sta.ErrFork) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// TestReplica: a server that has become a replica takes no writes; one that has
// lost its master does not even say that something is not there.
func TestReplica(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	s := opened(t, configOf(server))
	r := put(t, s)
	// Somebody who never answers.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	server.Do("replicaof", "127.0.0.1", port)
	failing(t, "Put", s.Put(t.Context(), newRecord()))
	failing(t, "PutEntries", s.PutEntries(t.Context(), newEntries(t, "gw", 1)))
	failing(t, "PutKeySet", s.PutKeySet(t.Context(), sta.SignedKeySet{Version: 1, Signed: "a.b.c"}))
	failing(t, "PostNotice", s.PostNotice(t.Context(), "gw", nil, time.Minute))
	failing(t, "Delete", s.Delete(t.Context(), r.ID))
	server.Do("config", "set", "replica-serve-stale-data", "no")
	_, err = s.ByHash(t.Context(), newRecord().Hash)
	failing(t, "ByHash", err)
	server.Do("replicaof", "no", "one")
	put(t, s)
}

// TestNoCopy: what no second server has confirmed is told as such.
func TestNoCopy(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, redistest.Options{Password: password})
	replica := redistest.StartReplica(t, master)
	c := configOf(master)
	c.Replicas, c.ReplicaWait = 1, 1500*time.Millisecond
	s := opened(t, c)
	log := newEntries(t, "gw", 500)
	put(t, s)
	want(t, "PutEntries", s.PutEntries(t.Context(), log[:1]), nil)

	replica.Pause()
	r := newRecord()
	want(t, "Put", s.Put(t.Context(), r), sta.ErrNoCopy)
	_, err := s.ByHash(t.Context(), r.Hash)
	want(t, "ByHash", err, nil)
	start := time.Now()
	want(t, "PutEntries", s.PutEntries(t.Context(), log), sta.ErrNoCopy)
	if took := time.Since(start); took >= 2*c.ReplicaWait {
		t.Errorf("waited for %s, more than once", took)
	}
	// Entries that are there may be without a copy as well.
	want(t, "PutEntries", s.PutEntries(t.Context(), log[:1]), sta.ErrNoCopy)
	want(t, "PutEntries", s.PutEntries(t.Context(), newEntries(t, "gw", 1)), sta.ErrFork)

	replica.Resume()
	eventually(t, func() error { return s.PutEntries(t.Context(), log) })
	put(t, s)
}

// TestFailover: Sentinels choose another master, and everything goes on there
// with what was confirmed.
func TestFailover(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, redistest.Options{Password: password})
	redistest.StartReplica(t, master)
	sentinels := redistest.StartSentinels(t, master)
	c := configOf(master)
	c.Addrs, c.MasterName, c.Timeout = sentinels.Addrs, sentinels.MasterName, time.Second
	hasty := opened(t, c)
	c.Replicas, c.ReplicaWait = 1, 800*time.Millisecond
	careful := opened(t, c)
	hints := hasty.Watch(t.Context())
	r := put(t, careful)
	want(t, "PutEntries", careful.PutEntries(t.Context(), newEntries(t, "gw", 3)), nil)
	hint(t, hints)

	master.Kill()
	failing(t, "Put", hasty.Put(t.Context(), newRecord()))
	sentinels.AwaitFailover(t)
	eventually(t, func() error { return hasty.Put(t.Context(), newRecord()) })
	if got, err := careful.ByHash(t.Context(), r.Hash); err != nil || got.ID != r.ID {
		t.Errorf("the ticket that was confirmed: %v, %v", got, err)
	}
	_, last, err := careful.Entries(t.Context(), nil, 10)
	if err != nil || last["gw"] != 3 {
		t.Errorf("the revocations that were confirmed: %v, %v", last, err)
	}
	want(t, "Put", careful.Put(t.Context(), newRecord()), sta.ErrNoCopy)
	hint(t, hints)
}

// followsTheSlot gives all of an authority's keys to another node of the Cluster.
func followsTheSlot(t *testing.T, cluster *redistest.Cluster, c redisstore.Config) {
	s := opened(t, c)
	slot := cluster.Nodes[0].Do("cluster", "keyslot", "sallyport:{"+c.Authority+"}:sequence").(int64)
	owner := int(slot * 3 / 16384)
	next := cluster.Nodes[(owner+1)%3]
	id := next.Do("cluster", "myid")
	next.Do("cluster", "setslot", slot, "node", id)
	for _, node := range cluster.Nodes {
		node.Do("cluster", "setslot", slot, "node", id)
	}
	r := put(t, s)
	if _, err := s.ByHash(t.Context(), r.Hash); err != nil {
		t.Error(err)
	}
	if n := next.Do("cluster", "countkeysinslot", slot).(int64); n == 0 {
		t.Error("nothing is where it belongs")
	}
}

// TestConnectionsWatchNothing: one that a call gives back, whatever came of it,
// must not make the next transaction fail for what the call had watched.
func TestConnectionsWatchNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	c := configOf(server)
	s := opened(t, c)
	key := func(name string) string { return "sallyport:{" + c.Authority + "}:" + name }
	r := put(t, s)
	for name, call := range map[string]func() error{
		"i:" + r.ID: func() error { // is answered no
			err := s.Put(t.Context(), r)
			want(t, "Put", err, sta.ErrExists)
			return err
		},
		"i:nobody": func() error { return s.Delete(t.Context(), "nobody") }, // has nothing to do
		"e:gw": func() error { // fails half-way
			server.Do("set", key("e:gw"), "no log")
			err := s.PutEntries(t.Context(), newEntries(t, "gw", 1))
			failing(t, "PutEntries", err)
			return err
		},
	} {
		_ = call() // judged there, where it has something to say
		server.Do("set", key(name), "changed")
		want(t, "PostNotice behind "+name, s.PostNotice(t.Context(), "gw", nil, time.Minute), nil)
		server.Do("del", key(name))
	}
}
