package sta_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// longWait is longer than the authority keeps anybody waiting.
const longWait = time.Minute

func TestRedeemTellsWhy(t *testing.T) {
	w := newWorld(t)
	_, err := w.Redeem(t.Context(), ticket.NewHandle().Hash())
	wantReason(t, err, ticket.Unknown)

	issued := w.issue(t)
	w.advance(168 * time.Hour)
	_, err = w.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Expired)

	issued = w.issue(t)
	w.revoke(t, issued.ID)
	_, err = w.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Revoked)
}

func TestExpiryIsTheFirstMomentThatIsTooLate(t *testing.T) {
	w := newWorld(t)
	issued := w.issue(t)
	w.advance(issued.Expires.Sub(w.clock()) - 1)
	if _, err := w.Redeem(t.Context(), issued.Handle.Hash()); err != nil {
		t.Errorf("a nanosecond early: %v", err)
	}
	w.advance(1)
	_, err := w.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Expired)
}

func TestShowAndList(t *testing.T) {
	w := newWorld(t)
	first, second := w.issue(t), w.issue(t)
	w.revoke(t, first.ID)
	shown, err := w.Show(t.Context(), desk, first.ID)
	if err != nil || shown.Status != sta.Revoked || shown.Revoked == nil || shown.Revoked.By != "desk" ||
		shown.Client != "desk" || shown.User != "user2" {
		t.Errorf("shown as %+v, %v", shown, err)
	}
	page, err := w.List(t.Context(), desk, sta.Filter{Status: sta.Valid})
	if err != nil || len(page.Tickets) != 1 || page.Tickets[0].ID != second.ID {
		t.Errorf("listed %+v, %v", page, err)
	}
	_, err = w.Show(t.Context(), desk, "nobody")
	wantReason(t, err, ticket.NotFound)
	for _, f := range []sta.Filter{{Status: "good"}, {Limit: -1}, {Limit: sta.MaxPage + 1}, {After: "!"}} {
		_, err = w.List(t.Context(), desk, f)
		wantReason(t, err, ticket.Invalid)
	}
}

func TestRevokeTwiceAndWithAFullAuditDisk(t *testing.T) {
	w := newWorld(t)
	issued := w.issue(t)
	w.audit.full = true
	first := w.revoke(t, issued.ID)
	if first.Already || first.Warning == "" || first.Serial != 1 {
		t.Errorf("first answer %+v; want serial 1 and a warning", first)
	}
	_, err := w.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Revoked)
	w.audit.full = false
	again := w.revoke(t, issued.ID)
	if !again.Already || again.Warning != "" || again.Serial != 1 || again.Family != first.Family {
		t.Errorf("second answer %+v", again)
	}
	if e := w.audit.last(t); e.Action != sta.ActionRevoke || e.User != "user2" || e.Ticket != issued.ID {
		t.Errorf("audited as %+v", e)
	}
	_, err = w.Revoke(t.Context(), desk, "no\nbody")
	wantReason(t, err, ticket.NotFound)
	if e := w.audit.last(t); e.Reason != ticket.NotFound || e.Ticket != `"no\nbody"` {
		t.Errorf("audited as %+v", e)
	}
}

// A gateway that follows is named with what it cut; one that is silent is named
// as silent, after CutWait; one whose lease has run out is not named.
func TestRevokeNamesWhoDidNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		issued := w.issue(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, _ = w.Revocations(ctx, "gw-gone", 0, longWait)
		cancel()
		time.Sleep(11 * time.Second) // fake time: its lease runs out
		go func() {
			entries, err := w.Revocations(t.Context(), "gw-busy", 0, longWait)
			if err != nil || len(entries) != 1 {
				t.Errorf("gw-busy got %v, %v", entries, err)
			}
			time.Sleep(30 * time.Millisecond)
			_ = w.ReportCuts(t.Context(), "gw-busy", entries[0].Serial, 3)
		}()
		go func() { _, _ = w.Revocations(t.Context(), "gw-deaf", 0, longWait) }()
		synctest.Wait()
		result := w.revoke(t, issued.ID)
		want := []sta.GatewayCut{
			{Name: "gw-busy", Answered: true, Cut: 3, Took: 30 * time.Millisecond},
			{Name: "gw-deaf"},
		}
		if len(result.Gateways) != 2 || result.Gateways[0] != want[0] || result.Gateways[1] != want[1] {
			t.Errorf("gateways are %+v, want %+v", result.Gateways, want)
		}
		if result.Took != time.Second {
			t.Errorf("took %v, want CutWait", result.Took)
		}
	})
}

func TestRevokeReturnsOnceEverybodyAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.issue(t), w.issue(t)
		for _, name := range []string{"a", "b"} {
			go func() {
				for after := uint64(0); after < 2; {
					entries, err := w.Revocations(t.Context(), name, after, longWait)
					if err != nil {
						t.Error(err)
						return
					}
					for _, r := range entries {
						after = r.Serial
						_ = w.ReportCuts(t.Context(), name, after, int(after))
					}
				}
			}()
		}
		synctest.Wait()
		for i, id := range []string{first.ID, second.ID, second.ID} {
			result := w.revoke(t, id)
			cut := i + 1
			if i == 2 {
				cut = 0 // the second time there is nothing left to cut
			}
			if len(result.Gateways) != 2 || result.Took != 0 {
				t.Fatalf("%d gateways in %v, want 2 at once", len(result.Gateways), result.Took)
			}
			for _, g := range result.Gateways {
				if !g.Answered || g.Cut != cut {
					t.Errorf("revocation %d: %+v, want %d cut", i, g, cut)
				}
			}
			synctest.Wait()
		}
	})
}

// A gateway that restarted has forgotten what it reported: until it caught up,
// it counts as one that has not applied the revocation.
func TestRestartedGatewayIsWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		issued := w.issue(t)
		w.revoke(t, issued.ID)
		for _, restarted := range []bool{false, true} {
			if err := w.ReportCuts(t.Context(), "gw", 1, 4); err != nil {
				t.Fatal(err)
			}
			if restarted {
				if entries, err := w.Revocations(t.Context(), "gw", 0, 0); err != nil || len(entries) != 1 {
					t.Fatalf("%v, %v", entries, err)
				}
			}
			result := w.revoke(t, issued.ID)
			if len(result.Gateways) != 1 || result.Gateways[0].Answered == restarted {
				t.Errorf("restarted %v: %+v", restarted, result.Gateways)
			}
		}
	})
}

func TestRevocationsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		entries, err := w.Revocations(t.Context(), gateway, 0, longWait)
		if err != nil || len(entries) != 0 || time.Since(start) != 5*time.Second {
			t.Errorf("got %v, %v after %v; want none, after 5 s", entries, err, time.Since(start))
		}
		start = time.Now()
		entries, err = w.Revocations(t.Context(), gateway, 0, 0)
		if err != nil || len(entries) != 0 || time.Since(start) != 0 {
			t.Errorf("without a wait: %v, %v after %v", entries, err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = w.Revocations(ctx, gateway, 0, longWait); ctx.Err() == nil || err == nil {
			t.Error("a caller that has gone was served")
		}
		// A serial from the future: the store lost entries, or is another one.
		_, err = w.Revocations(t.Context(), gateway, 1, longWait)
		wantReason(t, err, ticket.Invalid)
		wantReason(t, w.ReportCuts(t.Context(), gateway, 1, -1), ticket.Invalid)
	})
}

func TestRunSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *sta.Config) { c.Now, c.Keep = time.Now, 30*time.Hour })
		w.now = time.Now()
		issued, revoked := w.issue(t), w.issue(t)
		w.revoke(t, revoked.ID)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		for _, step := range []struct {
			wait time.Duration
			left int
		}{{time.Minute, 2}, {168 * time.Hour, 2}, {30*time.Hour + time.Minute, 0}} {
			time.Sleep(step.wait)
			synctest.Wait()
			page, err := w.List(t.Context(), desk, sta.Filter{})
			if err != nil || len(page.Tickets) != step.left {
				t.Errorf("%d tickets left (%v), want %d", len(page.Tickets), err, step.left)
			}
		}
		_, err := w.Redeem(t.Context(), issued.Handle.Hash())
		wantReason(t, err, ticket.Unknown)
		entries, last, err := w.store.Revocations(t.Context(), 0, 9)
		if err != nil || len(entries) != 0 || last != 1 {
			t.Errorf("revocations: %v, last %d, %v", entries, last, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A tunnel of a ticket that is not refreshable may live on past the expiry. To
// its end it must be possible to revoke it, and a gateway that was away must
// find that out when it is back.
func TestExpiredTicketsCanBeRevokedWhileTheirTunnelsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *sta.Config) { c.Now = time.Now })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		refreshable := false
		issued, err := w.Issue(t.Context(), desk, sta.IssueRequest{
			User: "u", Device: "d", Lifetime: time.Hour, Refreshable: &refreshable,
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(issued.Expires.Add(ticket.MaxLinger - time.Minute)))
		w.revoke(t, issued.ID)
		time.Sleep(59 * time.Minute)
		entries, err := w.Revocations(t.Context(), gateway, 0, 0)
		if err != nil || len(entries) != 1 {
			t.Fatalf("the gateway finds %d revocations (%v), want one", len(entries), err)
		}
		if shown, err := w.Show(t.Context(), desk, issued.ID); err != nil || shown.Status != sta.Revoked {
			t.Errorf("shown as %+v, %v", shown, err)
		}
		if kept := entries[0].Forget.Sub(issued.Expires); kept < 25*time.Hour {
			t.Errorf("a gateway may forget it %v past the expiry", kept)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// lossyStore cannot read the first revocation any more, nor tell whom it ended.
type lossyStore struct{ sta.Store }

func (s lossyStore) Revocations(ctx context.Context, after uint64, limit int) ([]ticket.Revocation, uint64, error) {
	entries, last, err := s.Store.Revocations(ctx, after, limit)
	if err == nil && len(entries) > 0 && entries[0].Serial == 1 {
		return entries[1:], last, &sta.LostError{Serials: []uint64{1}}
	}
	return entries, last, err
}

// A revocation that is lost holds up none behind it, and nobody is told that he
// knows them all.
func TestLostRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *sta.Config) { c.Store = lossyStore{c.Store} })
		lost, good, other := w.issue(t), w.issue(t), w.issue(t)
		w.revoke(t, lost.ID)
		if entries, err := w.Revocations(t.Context(), "gw", 0, 0); err == nil {
			t.Fatalf("with nothing else there: %v and no error", entries)
		}
		w.revoke(t, good.ID)
		entries, err := w.Revocations(t.Context(), "gw", 0, longWait)
		if err != nil || len(entries) != 1 || entries[0].Serial != 2 {
			t.Fatalf("got %v, %v; want the one behind it", entries, err)
		}
		for _, wait := range []time.Duration{0, longWait} {
			_, err = w.Revocations(t.Context(), "gw", 2, wait)
			wantReason(t, err, ticket.Unavailable)
			var missing *sta.LostError
			if !errors.As(err, &missing) || len(missing.Serials) != 1 || missing.Serials[0] != 1 {
				t.Errorf("error is %v; want one that names revocation 1", err)
			}
		}
		_, err = w.Redeem(t.Context(), other.Handle.Hash())
		wantReason(t, err, ticket.Unavailable)
		// Revoking goes on, and reaches who follows.
		arrived := make(chan int)
		go func() {
			entries, _ := w.Revocations(t.Context(), "gw", 2, longWait)
			arrived <- len(entries)
		}()
		synctest.Wait()
		w.revoke(t, other.ID)
		if n := <-arrived; n != 1 {
			t.Errorf("%d revocations reach the gateway, want 1", n)
		}
	})
}

// What a gateway asks of an authority, in the same process or elsewhere.
var _ interface {
	Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error)
	Revocations(ctx context.Context, gateway string, after uint64, wait time.Duration) ([]ticket.Revocation, error)
	ReportCuts(ctx context.Context, gateway string, serial uint64, cut int) error
} = (*sta.Authority)(nil)
