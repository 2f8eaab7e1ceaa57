package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
	"github.com/sallyport/sallyport/sta/ticket"
)

// TestFailovers kills the Redis master three times while tickets are issued and
// revoked. No revocation that was acknowledged may be lost.
func TestFailovers(t *testing.T) {
	f := startFailovers(t)
	f.traffic(300*time.Millisecond, func() {
		for range 3 {
			f.awaitRevoked(12)
			f.failOver()
		}
		f.awaitRevoked(12)
	})
	f.checkAll()
}

// failovers is a cluster on a Redis master with a replica, which three Sentinels
// watch, and devices' tickets that come and go.
//
//	sta-1 ─┬─► Sentinel ×3 ──► who is the master?
//	sta-2 ─┴─► master ──► replica, which every write waits for
type failovers struct {
	*cluster
	sentinels       *redistest.Sentinels
	masters         []*redis.SentinelClient
	master, replica *redistest.Server

	issued, unissued, unopened, retried, late, failed atomic.Int64

	mu      sync.Mutex // guards below
	revoked []ended
	waiting []sta.Issued // to be revoked
	good    []sta.Issued // that are left alone
}

// settling is how long Sentinels may take to have a master with a replica again,
// also when they give one up that was only slow: then nobody helps them.
const settling = 2 * patience

// ended is a ticket whose revocation was acknowledged.
type ended struct {
	sta.Issued
	entry ticket.Ref
}

func startFailovers(t *testing.T) *failovers {
	t.Helper()
	f := &failovers{master: redistest.Start(t, redistest.Options{})}
	f.replica = redistest.StartReplica(t, f.master)
	f.sentinels = redistest.StartSentinels(t, f.master)
	for _, addr := range f.sentinels.Addrs {
		s := redis.NewSentinelClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { _ = s.Close() })
		// For twice the former they leave a new master alone; and a master that is
		// only slow, on a machine that is busy, is none that is down.
		for name, value := range map[string]string{"failover-timeout": "2000", "down-after-milliseconds": "2000"} {
			if err := s.Set(t.Context(), f.sentinels.MasterName, name, value).Err(); err != nil {
				t.Fatal(err)
			}
		}
		f.masters = append(f.masters, s)
	}
	f.cluster = startCluster(t, plan{nodes: 2, gateways: 2, edit: impatient, redis: func(*cluster, int) string {
		return fmt.Sprintf("{addrs: [%s], master_name: %s, replicas: 1}", strings.Join(f.sentinels.Addrs, ", "), f.sentinels.MasterName)
	}})
	return f
}

// failOver kills the master, waits until the Sentinels have another, and brings
// the old one back, empty, as its replica.
func (f *failovers) failOver() {
	f.t.Helper()
	f.within(settling, "the Sentinels agree", func() bool { return f.agreed() != "" })
	if f.agreed() == f.replica.Addr { // they have changed their minds themselves
		f.master, f.replica = f.replica, f.master
	}
	f.awaitReplica()
	began := time.Now()
	f.master.Kill()
	f.within(settling, "the Sentinels name the replica as master", func() bool { return f.agreed() == f.replica.Addr })
	promoted := time.Since(began)
	f.master, f.replica = f.replica, f.master
	f.replica.Restart()
	host, port, _ := net.SplitHostPort(f.master.Addr)
	f.replica.Do("replicaof", host, port)
	f.awaitReplica()
	for _, n := range f.nodes {
		f.within(settling, "the node issues again", func() bool { return f.canIssue(n) })
	}
	f.failed.Add(1)
	f.t.Logf("failover %d: another master after %.1f s, tickets again after %.1f s",
		f.failed.Load(), promoted.Seconds(), time.Since(began).Seconds())
}

// awaitReplica waits until the master has a replica that has everything.
func (f *failovers) awaitReplica() {
	f.t.Helper()
	f.within(settling, "the master has a replica", func() bool {
		return strings.Contains(f.master.Do("info", "replication").(string), "state=online")
	})
}

// agreed is the master by the word of all Sentinels, "" if they differ.
func (f *failovers) agreed() (master string) {
	for _, s := range f.masters {
		addr, err := s.GetMasterAddrByName(f.t.Context(), f.sentinels.MasterName).Result()
		if err != nil || len(addr) != 2 {
			return ""
		}
		named := net.JoinHostPort(addr[0], addr[1])
		if master != "" && named != master {
			return ""
		}
		master = named
	}
	return master
}

// awaitRevoked waits until so many more tickets have been revoked.
func (f *failovers) awaitRevoked(n int) {
	f.t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.revoked)
	}
	before := count()
	f.within(settling, "tickets are revoked", func() bool { return count() >= before+n })
}

// traffic has devices come and go, each at most once in a while, until meanwhile
// returns.
func (f *failovers) traffic(pause time.Duration, meanwhile func()) {
	const devices = 4
	var coming sync.WaitGroup
	defer coming.Wait()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	for i := range devices {
		coming.Go(func() {
			turn := time.NewTicker(pause)
			defer turn.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				f.device(n*devices+i, ctx.Done())
				select {
				case <-ctx.Done():
				case <-turn.C:
				}
			}
		})
	}
	meanwhile()
}

// device gets a ticket and opens a tunnel with it, and another one loses its own:
// of those that wait for that there are some always, so that tickets are revoked
// also while none can be issued. over is closed when nobody need try again.
func (f *failovers) device(n int, over <-chan struct{}) {
	at, elsewhere, g := f.nodes[n%2], f.nodes[n/2%2], f.gateways[n/4%2]
	issued, err := at.api.Issue(f.t.Context(), sta.IssueRequest{User: fmt.Sprint("user", n), Device: "phone"})
	switch {
	case err == nil:
		f.issued.Add(1)
		if _, err := f.present(g, issued, form(n%2 == 0)); err != nil {
			f.unopened.Add(1) // such as a bare handle when Redis has just gone
		}
	case ticket.ReasonOf(err) == ticket.Unavailable:
		f.unissued.Add(1)
	default:
		f.t.Errorf("issue: %v", err)
	}
	next, some := f.takeTurn(issued, err == nil)
	if !some {
		return
	}
	for _, node := range []*member{elsewhere, at, elsewhere, at} {
		r, err := node.api.Revoke(f.t.Context(), sta.RevokeRequest{Ticket: next.ID})
		if err == nil {
			f.acknowledged(next, &r)
			return
		}
		if ticket.ReasonOf(err) != ticket.Unavailable {
			f.t.Errorf("revoke: %v", err)
			return
		}
		f.retried.Add(1)
		select {
		case <-over:
			return
		case <-time.After(time.Second):
		}
	}
}

// takeTurn puts a new ticket down, every tenth one for good, and gives the one to
// be revoked next.
func (f *failovers) takeTurn(issued sta.Issued, isNew bool) (next sta.Issued, some bool) {
	const most = 16 // that wait
	f.mu.Lock()
	defer f.mu.Unlock()
	if isNew && f.issued.Load()%10 == 0 {
		f.good = append(f.good, issued)
	} else if isNew {
		f.waiting = append(f.waiting, issued)
	}
	if len(f.waiting) == 0 || isNew && len(f.waiting) <= most {
		return sta.Issued{}, false
	}
	next, f.waiting = f.waiting[0], f.waiting[1:]
	return next, true
}

// acknowledged presents a ticket at once where it is said to be ended, and puts it
// down to be looked at again.
func (f *failovers) acknowledged(issued sta.Issued, r *sta.RevokeResult) {
	f.mu.Lock()
	f.revoked = append(f.revoked, ended{issued, r.Entry})
	f.mu.Unlock()
	if len(r.Gateways) != len(f.gateways) {
		f.t.Errorf("the answer to a revocation does not name every gateway: %+v", r)
	}
	answered := 0
	for _, g := range f.gateways {
		for _, said := range r.Gateways {
			if said.Answered && strings.HasSuffix(said.Name, g.name) {
				answered++
				f.staysOut(g, issued, "at once")
			}
		}
	}
	if answered < len(f.gateways) {
		f.late.Add(1) // the answer says so: there is no way to them before Redis is back
	}
}

// staysOut wants a ticket to open nothing, however it is shown.
func (f *failovers) staysOut(g *member, issued sta.Issued, when string) {
	for _, as := range []form{byHandle, byToken} {
		if _, err := f.present(g, issued, as); err == nil {
			f.t.Errorf("%s lets in what was revoked, %s (ticket %s, token: %t)", g.name, when, issued.ID, as)
		}
	}
}

// checkAll looks once more at every ticket that there was: at both gateways, at
// both nodes, and at the revocation's place in Redis.
func (f *failovers) checkAll() {
	f.t.Helper()
	for _, g := range f.gateways {
		f.within(settling, "the gateway has a node to follow", func() bool {
			issued, err := f.issueSomewhere()
			if err == nil {
				_, err = f.present(g, issued, byHandle)
			}
			return err == nil
		})
	}
	f.within(15*time.Second, "every revocation is in Redis", func() bool {
		there := f.inRedis()
		return !slices.ContainsFunc(f.revoked, func(e ended) bool { return !there[e.entry] })
	})
	var checking sync.WaitGroup
	defer checking.Wait()
	slots := make(chan struct{}, 8)
	do := func(check func()) {
		slots <- struct{}{}
		checking.Go(func() { check(); <-slots })
	}
	for _, e := range f.revoked {
		do(func() {
			for _, g := range f.gateways {
				f.staysOut(g, e.Issued, "at the end")
			}
			for _, n := range f.nodes {
				f.knowsRevoked(n, e.Issued)
			}
		})
	}
	for _, issued := range f.good {
		do(func() {
			for _, g := range f.gateways {
				f.admits(g, issued, byHandle)
				f.admits(g, issued, byToken)
			}
		})
	}
	if len(f.revoked) == 0 || len(f.good) == 0 {
		f.t.Error("there was no traffic")
	}
	f.t.Logf("%d issued, %d revoked, %d refused with 503, %d failovers; %d tunnels did not open, %d revocations took another try, %d a gateway heard of later",
		f.issued.Load(), len(f.revoked), f.unissued.Load(), f.failed.Load(), f.unopened.Load(), f.retried.Load(), f.late.Load())
}

// issueSomewhere gives a ticket by whichever node is there.
func (f *failovers) issueSomewhere() (issued sta.Issued, err error) {
	for _, n := range f.nodes {
		if issued, err = n.api.Issue(f.t.Context(), sta.IssueRequest{User: "probe", Device: "probe"}); err == nil {
			break
		}
	}
	return issued, err
}

// inRedis gives the places of all revocations there.
func (f *failovers) inRedis() map[ticket.Ref]bool {
	f.t.Helper()
	store, err := redisstore.Open(f.t.Context(), redisstore.Config{
		Addrs: f.sentinels.Addrs, MasterName: f.sentinels.MasterName, Authority: "STA01",
	})
	f.check(err)
	defer store.Close()
	logs, _, err := store.Entries(f.t.Context(), nil, 1_000_000)
	f.check(err)
	places := make(map[ticket.Ref]bool)
	for _, log := range logs {
		for _, signed := range log {
			entry, err := ticket.ParseEntry(signed)
			f.check(err)
			places[entry.Ref()] = true
		}
	}
	return places
}
