package sta_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// plugged is a store that can be cut off from one node.
type plugged struct {
	sta.Store
	out atomic.Bool
}

var errOut = errors.New("the plug is pulled")

func (p *plugged) Put(ctx context.Context, r *sta.Record) error {
	if p.out.Load() {
		return errOut
	}
	return p.Store.Put(ctx, r)
}

func (p *plugged) ByID(ctx context.Context, id string) (*sta.Record, error) {
	if p.out.Load() {
		return nil, errOut
	}
	return p.Store.ByID(ctx, id)
}

func (p *plugged) ByHash(ctx context.Context, h ticket.Hash) (*sta.Record, error) {
	if p.out.Load() {
		return nil, errOut
	}
	return p.Store.ByHash(ctx, h)
}

func (p *plugged) PutEntries(ctx context.Context, e []ticket.Entry) error {
	if p.out.Load() {
		return errOut
	}
	return p.Store.PutEntries(ctx, e)
}

func (p *plugged) Notices(ctx context.Context) (map[string][]byte, error) {
	if p.out.Load() {
		return nil, errOut
	}
	return p.Store.Notices(ctx)
}

func (p *plugged) Entries(ctx context.Context, after ticket.Positions, limit int) (map[string][]string, ticket.Positions, error) {
	if p.out.Load() {
		return nil, nil, errOut
	}
	return p.Store.Entries(ctx, after, limit)
}

// node is one of several of an authority.
type node struct {
	*sta.Authority
	store  *plugged
	log    *revlog.Log
	lost   chan error
	apart  chan time.Duration
	back   chan int
	alarms chan error
	behind atomic.Int64 // its clock, in nanoseconds
	stop   func()
}

// join starts another node of w's authority, in a bubble.
func (w *world) join(t *testing.T, name, path string) *node {
	t.Helper()
	n := &node{store: &plugged{Store: w.store}, lost: make(chan error, 9), apart: make(chan time.Duration, 9), back: make(chan int, 9), alarms: make(chan error, 9)}
	var err error
	if n.log, err = revlog.Open(path, revlog.WriterName(name)); err != nil {
		t.Fatal(err)
	}
	n.Authority, err = sta.New(sta.Config{
		ID: authorityID, Audience: []string{gateway}, Signer: w.signer, Keys: w.keys, Pin: w.pin,
		Store: n.store, Audit: w.audit, Node: name, Log: n.log,
		Now: func() time.Time { return time.Now().Add(-time.Duration(n.behind.Load())) },
		Hooks: sta.Hooks{
			LookFailed:  func(err error) { n.lost <- err },
			ClocksApart: func(_ string, by time.Duration) { n.apart <- by },
			WroteBack:   func(entries int) { n.back <- entries },
			Alarm:       func(err error) { n.alarms <- err },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := errors.Join(<-done, n.log.Close()); err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return n
}

// settle lets every node look at least once.
func settle() { time.Sleep(3 * time.Second); synctest.Wait() }

func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(t, "a", ""), w.join(t, "b", "")
		defer a.stop()
		defer b.stop()
		settle()
		issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		// A gateway follows the other node than the one that revokes.
		go func() {
			updates, err := b.Updates(t.Context(), "gw", nil, longWait)
			entries := w.entries(t, updates)
			if err != nil || len(entries) != 1 {
				t.Errorf("the gateway got %v, %v", updates, err)
				return
			}
			_ = b.ReportCuts(t.Context(), "gw", ticket.CutReport{
				Applied: ticket.Positions{entries[0].Writer: 1}, Cuts: map[ticket.Ref]int{entries[0].Ref(): 5},
			})
		}()
		synctest.Wait()
		result, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{User: "u"})
		if err != nil {
			t.Fatal(err)
		}
		if result.Copies != 1 || result.SingleCopy || result.Cut() != 5 || len(result.Gateways) != 1 || !result.Gateways[0].Answered {
			t.Errorf("result %+v; want a copy at b, and 5 cut at the gateway", result)
		}
		_, err = b.Redeem(t.Context(), issued.Handle.Hash())
		wantReason(t, err, ticket.Revoked)
		// b has the cut, too: what it issues is good.
		again, err := b.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Redeem(t.Context(), again.Handle.Hash()); err != nil {
			t.Errorf("issued after the revocation: %v", err)
		}
	})
}

// Whatever the store loses is put back by whoever knows it, and what a node
// revokes while it is away reaches the others when it is back.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(t, "a", ""), w.join(t, "b", "")
		defer a.stop()
		defer b.stop()
		issue := func(user string) sta.Issued {
			issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: user, Device: "d"})
			if err != nil {
				t.Fatal(err)
			}
			return issued
		}
		first, second := issue("first"), issue("second")
		settle()
		a.store.out.Store(true)
		settle()
		if err := <-a.lost; !errors.Is(err, errOut) {
			t.Errorf("told %v", err)
		}
		before, _ := a.Heads(t.Context())
		_, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		wantReason(t, err, ticket.Unavailable)
		result, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: first.ID})
		if err != nil || !result.SingleCopy || result.Scope != "ticket" || len(result.Warnings) != 2 {
			t.Errorf("revoked without the store: %+v, %v", result, err)
		}
		updates, err := a.Updates(t.Context(), "gw", nil, 0)
		if err != nil || len(w.entries(t, updates)) != 1 {
			t.Errorf("who follows is told %v, %v", updates, err)
		}
		time.Sleep(20 * time.Second)
		if after, _ := a.Heads(t.Context()); after[a.log.Writer()] != before[a.log.Writer()] {
			t.Error("a head was signed without a look into the store")
		}
		if _, err := b.Redeem(t.Context(), first.Handle.Hash()); err != nil {
			t.Errorf("b does not know yet: %v", err)
		}
		a.store.out.Store(false)
		settle()
		if err := <-a.lost; err != nil {
			t.Errorf("told %v", err)
		}
		_, err = b.Redeem(t.Context(), first.Handle.Hash())
		wantReason(t, err, ticket.Revoked)
		if _, err := b.Redeem(t.Context(), second.Handle.Hash()); err != nil {
			t.Errorf("a bystander: %v", err)
		}
		// Flushed: the logs come back, from whoever is first.
		if err := w.store.DropEntries(t.Context(), a.log.Positions()); err != nil {
			t.Fatal(err)
		}
		settle()
		logs, _, err := w.store.Entries(t.Context(), nil, 9)
		if err != nil || len(logs[a.log.Writer()]) != 1 {
			t.Errorf("the store has %v, %v", logs, err)
		}
		if len(a.back)+len(b.back) == 0 {
			t.Error("nobody was told that the store had lost something")
		}
	})
}

// A node that dies right after it answered leaves its revocation behind: on its
// own disk, too.
func TestLogOutlivesTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := filepath.Join(t.TempDir(), "log.db")
		a := w.join(t, "a", path)
		issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		a.store.out.Store(true)
		if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{User: "u", AllMatching: true}); err != nil {
			t.Fatal(err)
		}
		a.stop()
		a = w.join(t, "a", path)
		defer a.stop()
		b := w.join(t, "b", "")
		defer b.stop()
		settle()
		for name, n := range map[string]*node{"a": a, "b": b} {
			if _, err := n.Redeem(t.Context(), issued.Handle.Hash()); ticket.ReasonOf(err) != ticket.Revoked {
				t.Errorf("at %s: %v", name, err)
			}
		}
	})
}

// Nodes whose clocks differ by more than the cut allows for stop issuing, and
// begin again when they agree. Revoking goes on.
func TestClocksApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(t, "a", ""), w.join(t, "b", "")
		defer a.stop()
		defer b.stop()
		issue := func(n *node) error {
			_, err := n.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
			return err
		}
		settle()
		if err := errors.Join(issue(a), issue(b)); err != nil {
			t.Fatal(err)
		}
		b.behind.Store(int64(2100 * time.Millisecond))
		settle()
		wantReason(t, issue(a), ticket.Unavailable)
		wantReason(t, issue(b), ticket.Unavailable)
		if by := <-a.apart; by < 2*time.Second || by > 3*time.Second {
			t.Errorf("told %v", by)
		}
		if _, err := b.Revoke(t.Context(), desk, sta.RevokeRequest{User: "u"}); err != nil {
			t.Errorf("revoking: %v", err)
		}
		b.behind.Store(0)
		settle()
		if err := errors.Join(issue(a), issue(b)); err != nil {
			t.Error(err)
		}
	})
}

// The store may hold what it wants: nobody believes it.
func TestForgedEntriesInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stranger, err := ticket.NewSigner(authorityID, strangeKey(t))
		if err != nil {
			t.Fatal(err)
		}
		forged, err := stranger.SignEntry("evil.12345678", 1, ticket.Hash{}, ticket.Revocation{
			Time: time.Now(), By: "desk", All: true, Cut: time.Now().Add(time.Hour).Truncate(time.Second), Forget: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		a := w.join(t, "a", "")
		defer a.stop()
		issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.PutEntries(t.Context(), []ticket.Entry{forged}); err != nil {
			t.Fatal(err)
		}
		settle()
		if len(a.alarms) != 1 || len(a.lost) != 0 {
			t.Fatalf("%d alarms, %d failures; want one alarm", len(a.alarms), len(a.lost))
		}
		if err := <-a.alarms; ticket.ReasonOf(err) != ticket.BadSignature {
			t.Errorf("told %v", err)
		}
		// Nor does a key set of a stranger, however new it calls itself.
		if err := w.store.PutKeySet(t.Context(), sta.SignedKeySet{Version: 99, Signed: "junk"}); err != nil {
			t.Fatal(err)
		}
		settle()
		if len(a.alarms) != 1 || len(a.lost) != 0 || a.Keys().Version != 1 {
			t.Errorf("%d alarms, %d failures, keys of version %d", len(a.alarms), len(a.lost), a.Keys().Version)
		}
		if _, err := a.Redeem(t.Context(), issued.Handle.Hash()); err != nil {
			t.Errorf("a forged revocation counts: %v", err)
		}
	})
}

// gappy leaves an entry in the midst out, until it is put again.
type gappy struct {
	sta.Store
	lost atomic.Bool
}

func (g *gappy) Entries(ctx context.Context, after ticket.Positions, limit int) (map[string][]string, ticket.Positions, error) {
	logs, last, err := g.Store.Entries(ctx, after, limit)
	for writer, signed := range logs {
		if g.lost.Load() && len(signed) == 3 {
			logs[writer] = append(signed[:1:1], signed[2])
		}
	}
	return logs, last, err
}

func (g *gappy) PutEntries(ctx context.Context, entries []ticket.Entry) error {
	if len(entries) > 2 {
		g.lost.Store(false)
	}
	return g.Store.PutEntries(ctx, entries)
}

// What is missing in the midst of a log, whoever has it puts there again.
func TestGapIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &gappy{Store: w.store}
		w.store = store
		a := w.join(t, "a", "")
		defer a.stop()
		var last sta.Issued
		for range 3 {
			var err error
			if last, err = a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"}); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: last.ID}); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		store.lost.Store(true)
		b := w.join(t, "b", "")
		defer b.stop()
		if err := <-b.lost; !errors.Is(err, revlog.ErrGap) {
			t.Errorf("b was told %v", err)
		}
		settle()
		if err := <-b.lost; err != nil {
			t.Errorf("b was told %v", err)
		}
		_, err := b.Redeem(t.Context(), last.Handle.Hash())
		wantReason(t, err, ticket.Revoked)
	})
}

// A gateway hands back what every node has lost.
func TestTakenBackFromAGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join(t, "a", "")
		issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		a.store.out.Store(true)
		if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{User: "u", AllMatching: true}); err != nil {
			t.Fatal(err)
		}
		updates, err := a.Updates(t.Context(), "gw", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		a.stop() // in memory only: nobody but the gateway knows now
		b := w.join(t, "b", "")
		defer b.stop()
		if _, err := b.Redeem(t.Context(), issued.Handle.Hash()); err != nil {
			t.Fatal(err)
		}
		if err := b.ReportCuts(t.Context(), "gw", ticket.CutReport{Logs: updates.Logs}); err != nil {
			t.Fatal(err)
		}
		settle()
		_, err = b.Redeem(t.Context(), issued.Handle.Hash())
		wantReason(t, err, ticket.Revoked)
		if logs, _, err := w.store.Entries(t.Context(), nil, 9); err != nil || len(logs) != 1 {
			t.Errorf("the store has %v, %v", logs, err)
		}
		wantReason(t, b.ReportCuts(t.Context(), "gw", ticket.CutReport{Logs: map[string][]string{"x": {"y"}}}), ticket.Invalid)
	})
}

// What a store lost in the midst of a log while it failed is put there again,
// although the next revocation is there already.
func TestStoreLosesTheMidst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join(t, "a", "")
		defer a.stop()
		settle()
		for i, out := range []bool{false, true, false} {
			a.store.out.Store(out)
			user := string(rune('a' + i))
			if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{User: user, AllMatching: true}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		settle()
		logs, _, err := w.store.Entries(t.Context(), nil, 9)
		if err != nil || len(logs[a.log.Writer()]) != 3 {
			t.Errorf("the store has %d entries, %v", len(logs[a.log.Writer()]), err)
		}
	})
}

// Several who revoke at once each count what the same gateway told several nodes.
func TestRevokeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var nodes []*node
		for _, name := range []string{"a", "b", "c"} {
			n := w.join(t, name, "")
			defer n.stop()
			nodes = append(nodes, n)
		}
		for i, n := range nodes[1:] {
			applied := ticket.Positions{n.log.Writer(): uint64(i) + 1}
			if _, err := n.Updates(t.Context(), "gw", applied, 0); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		done := make(chan error)
		for _, user := range []string{"u", "v"} {
			go func() {
				r, err := nodes[0].Revoke(t.Context(), desk, sta.RevokeRequest{User: user, AllMatching: true})
				if err == nil && (len(r.Gateways) != 1 || r.Copies != 2) {
					err = errors.New("not everyone is named")
				}
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A gateway changes nodes between applying an entry and counting what it cut:
// that it has applied it is known where somebody waits before the count is, and
// the answer is worth nothing without.
func TestCountComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(t, "a", ""), w.join(t, "b", "")
		defer a.stop()
		defer b.stop()
		if _, err := b.Updates(t.Context(), "gw", nil, 0); err != nil {
			t.Fatal(err)
		}
		settle()
		var revoked sta.RevokeResult
		done := make(chan error, 1)
		go func() {
			var err error
			revoked, err = a.Revoke(t.Context(), desk, sta.RevokeRequest{User: "u", AllMatching: true})
			done <- err
		}()
		synctest.Wait()
		ref := ticket.Ref{Writer: a.log.Writer(), Position: 1}
		applied := ticket.Positions{ref.Writer: ref.Position}
		if _, err := a.Updates(t.Context(), "gw", applied, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // b has its copy by now, and a knows
		synctest.Wait()
		select {
		case <-done:
			t.Fatalf("answered without the count: %+v", revoked)
		default:
		}
		if err := b.ReportCuts(t.Context(), "gw", ticket.CutReport{Applied: applied, Cuts: map[ticket.Ref]int{ref: 7}}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(revoked.Gateways) != 1 || revoked.Gateways[0].Cut != 7 || revoked.Copies != 1 {
			t.Errorf("got %+v", revoked)
		}
	})
}
