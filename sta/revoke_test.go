package sta_test

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	if first.Already || len(first.Warnings) != 1 || first.Entry.Position != 1 || first.Matched != 1 || !first.SingleCopy {
		t.Errorf("first answer %+v; want the first entry and a warning", first)
	}
	_, err := w.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Revoked)
	w.audit.full = false
	again := w.revoke(t, issued.ID)
	if !again.Already || len(again.Warnings) != 0 || again.Entry != first.Entry || again.Family != first.Family {
		t.Errorf("second answer %+v", again)
	}
	if e := w.audit.last(t); e.Action != sta.ActionRevoke || e.User != "user2" || e.Ticket != issued.ID || e.Scope != "family" {
		t.Errorf("audited as %+v", e)
	}
	_, err = w.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: "no\nbody"})
	wantReason(t, err, ticket.NotFound)
	if e := w.audit.last(t); e.Reason != ticket.NotFound || e.Ticket != `"no\nbody"` {
		t.Errorf("audited as %+v", e)
	}
}

// onDevice issues a ticket and gives its hash as well.
func (w *world) onDevice(t *testing.T, user, device string) sta.Issued {
	t.Helper()
	issued, err := w.Issue(t.Context(), desk, sta.IssueRequest{User: user, Device: device, App: "Secure Mail"})
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func (w *world) redeems(t *testing.T, i sta.Issued) bool {
	t.Helper()
	_, err := w.Redeem(t.Context(), i.Handle.Hash())
	if err != nil {
		wantReason(t, err, ticket.Revoked)
	}
	return err == nil
}

// Whatever is named ends, nothing else does, and the next ticket is good.
func TestRevokeByScope(t *testing.T) {
	for name, c := range map[string]struct {
		request sta.RevokeRequest
		ended   [4]bool // of ann's phone, ann's tablet, bob's phone, bob's own
		matched int
		scope   string
	}{
		"user":            {sta.RevokeRequest{User: "ann"}, [4]bool{true, true}, 2, "user"},
		"device":          {sta.RevokeRequest{Device: "tablet"}, [4]bool{1: true}, 1, "device"},
		"user and device": {sta.RevokeRequest{User: "bob", Device: "phone"}, [4]bool{2: true}, 1, "user_device"},
		"all matching":    {sta.RevokeRequest{Device: "phone", AllMatching: true}, [4]bool{0: true, 2: true}, 2, "device"},
		"all":             {sta.RevokeRequest{All: true}, [4]bool{true, true, true, true}, -1, "all"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			names := [4][2]string{{"ann", "phone"}, {"ann", "tablet"}, {"bob", "phone"}, {"bob", "own"}}
			var tickets [4]sta.Issued
			for i, n := range names {
				tickets[i] = w.onDevice(t, n[0], n[1])
			}
			c.request.Operator = "Olga"
			result, err := w.Revoke(t.Context(), desk, c.request)
			if err != nil {
				t.Fatal(err)
			}
			if result.Matched != c.matched || result.Scope != c.scope {
				t.Errorf("matched %d by %s, want %d by %s", result.Matched, result.Scope, c.matched, c.scope)
			}
			for i, issued := range tickets {
				if w.redeems(t, issued) == c.ended[i] {
					t.Errorf("%v: ended is not %v", names[i], c.ended[i])
				}
				shown, err := w.Show(t.Context(), desk, issued.ID)
				if err != nil || (shown.Status == sta.Revoked) != c.ended[i] {
					t.Errorf("%v: shown as %s, %v", names[i], shown.Status, err)
				}
			}
			if e := w.audit.last(t); e.Operator != "Olga" || e.Scope != c.scope || e.Client != "desk" {
				t.Errorf("audited as %+v", e)
			}
			// At once, although the cut lies ahead: issuing steps over it.
			for _, n := range names {
				issued := w.onDevice(t, n[0], n[1])
				if !w.redeems(t, issued) {
					t.Errorf("%v: a new ticket is ended too", n)
				}
				if _, err := w.verifier.Verify(issued.Statement, issued.Handle.Hash()); err != nil {
					t.Errorf("%v: %v", n, err)
				}
			}
		})
	}
}

func TestRevokeIssuedBefore(t *testing.T) {
	w := newWorld(t)
	old := w.issue(t)
	w.advance(time.Hour)
	moment := w.clock()
	fresh := w.issue(t)
	for _, request := range []sta.RevokeRequest{
		{Ticket: old.ID, Before: moment}, {All: true, Before: moment.Add(time.Hour)},
	} {
		_, err := w.Revoke(t.Context(), desk, request)
		wantReason(t, err, ticket.Invalid)
	}
	if _, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{All: true, Before: moment}); err != nil {
		t.Fatal(err)
	}
	if w.redeems(t, old) || !w.redeems(t, fresh) {
		t.Error("the old one is good, or the fresh one is not")
	}
}

// That everyone was ended, or one user was, does not make a family ended: it may
// have members yet to come.
func TestFamilyAfterAll(t *testing.T) {
	for name, first := range map[string]sta.RevokeRequest{
		"all": {All: true}, "stage": {All: true, Stage: time.Minute}, "user": {User: "user2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			issued := w.issue(t)
			if _, err := w.Revoke(t.Context(), desk, first); err != nil {
				t.Fatal(err)
			}
			shown, err := w.Show(t.Context(), desk, issued.ID)
			if err != nil {
				t.Fatal(err)
			}
			for i, request := range []sta.RevokeRequest{{Family: shown.Family}, {Ticket: issued.ID}, {Family: "other"}} {
				result, err := w.Revoke(t.Context(), desk, request)
				if err != nil || result.Already != (i == 1) || result.Entry.Position == 0 {
					t.Errorf("%+v: %+v, %v", request, result, err)
				}
			}
		})
	}
}

// Everyone is cut; the authority gives their statements all the same, for
// gateways know when each one's turn is.
func TestRevokeInStages(t *testing.T) {
	w := newWorld(t)
	issued := w.issue(t)
	if _, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{All: true, Stage: 15 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	shown, err := w.Show(t.Context(), desk, issued.ID)
	if err != nil || shown.Status != sta.Revoked || shown.Revoked.Until.IsZero() {
		t.Errorf("shown as %+v, %v", shown, err)
	}
	if !w.redeems(t, issued) {
		t.Error("no statement")
	}
	w.advance(15 * time.Minute)
	if shown, _ := w.Show(t.Context(), desk, issued.ID); shown.Status != sta.Valid {
		t.Errorf("after the stage: %s", shown.Status)
	}
}

func TestRevokeWhatMatchesNothingOrTooMuch(t *testing.T) {
	w := newWorld(t)
	w.onDevice(t, "Jürgen", "iPhone/24.1")
	w.onDevice(t, "ann", "iPhone/24.1")
	w.onDevice(t, "anna", "own")
	blind := &sta.Client{Name: "blind", May: sta.MayRevoke}
	for name, c := range map[string]struct {
		request sta.RevokeRequest
		reason  ticket.Reason
		names   []string
	}{
		"case":       {sta.RevokeRequest{User: "jürgen"}, ticket.NotFound, []string{"Jürgen"}},
		"a letter":   {sta.RevokeRequest{User: "amn"}, ticket.NotFound, []string{"ann"}},
		"a part":     {sta.RevokeRequest{User: "ANNA@EXAMPLE.COM"}, ticket.NotFound, []string{"ann", "anna"}},
		"nothing":    {sta.RevokeRequest{User: "zebra"}, ticket.NotFound, nil},
		"device":     {sta.RevokeRequest{Device: "iphone"}, ticket.NotFound, []string{"iPhone/24.1"}},
		"both":       {sta.RevokeRequest{User: "ann", Device: "own"}, ticket.NotFound, []string{"ann", "anna"}},
		"user agent": {sta.RevokeRequest{Device: "iPhone/24.1"}, ticket.Ambiguous, []string{"Jürgen", "ann"}},
		"no scope":   {sta.RevokeRequest{}, ticket.Invalid, nil},
		"two scopes": {sta.RevokeRequest{All: true, User: "ann"}, ticket.Invalid, nil},
		"stage":      {sta.RevokeRequest{User: "ann", Stage: time.Minute}, ticket.Invalid, nil},
		"bad name":   {sta.RevokeRequest{User: "a\x00b"}, ticket.Invalid, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, client := range []*sta.Client{desk, blind} {
				_, err := w.Revoke(t.Context(), client, c.request)
				wantReason(t, err, c.reason)
				var match *sta.MatchError
				var names []string
				if errors.As(err, &match) {
					names = match.Names
				}
				if want := c.names; client == desk && !slices.Equal(names, want) || client == blind && names != nil {
					t.Errorf("%s is told %q, want %q", client.Name, names, want)
				}
			}
		})
	}
	page, err := w.List(t.Context(), desk, sta.Filter{Status: sta.Revoked})
	if err != nil || len(page.Tickets) != 0 {
		t.Errorf("something was revoked: %+v, %v", page, err)
	}
}

// A gateway that follows is named with what it cut; one that is silent is named
// as silent, after CutWait; one whose lease has run out is not named.
func TestRevokeNamesWhoDidNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		issued := w.issue(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, _ = w.Updates(ctx, "gw-gone", nil, longWait)
		cancel()
		time.Sleep(11 * time.Second) // fake time: its lease runs out
		go func() {
			updates, err := w.Updates(t.Context(), "gw-busy", nil, longWait)
			entries := w.entries(t, updates)
			if err != nil || len(entries) != 1 {
				t.Errorf("gw-busy got %v, %v", entries, err)
				return
			}
			time.Sleep(30 * time.Millisecond)
			_ = w.ReportCuts(t.Context(), "gw-busy", ticket.CutReport{Cuts: map[ticket.Ref]int{entries[0].Ref(): 3}})
		}()
		go func() { _, _ = w.Updates(t.Context(), "gw-deaf", nil, longWait) }()
		synctest.Wait()
		result := w.revoke(t, issued.ID)
		want := []sta.GatewayCut{
			{Name: "gw-busy", Answered: true, Cut: 3, Took: 30 * time.Millisecond},
			{Name: "gw-deaf"},
		}
		if len(result.Gateways) != 2 || result.Gateways[0] != want[0] || result.Gateways[1] != want[1] {
			t.Errorf("gateways are %+v, want %+v", result.Gateways, want)
		}
		if result.Took != time.Second || result.Cut() != 3 {
			t.Errorf("took %v, want CutWait", result.Took)
		}
	})
}

// entries reads what a gateway was told.
func (w *world) entries(t *testing.T, u ticket.Updates) []ticket.Entry {
	t.Helper()
	var all []ticket.Entry
	for _, signed := range u.Logs {
		run, err := w.keys.VerifyRun(signed)
		if err != nil {
			t.Error(err)
		}
		all = append(all, run...)
	}
	return all
}

func TestRevokeReturnsOnceEverybodyAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.issue(t), w.issue(t)
		for _, name := range []string{"a", "b"} {
			go func() {
				for after := (ticket.Positions{}); len(after) == 0 || after[w.entry(t).Writer] < 2; {
					updates, err := w.Updates(t.Context(), name, after, longWait)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range w.entries(t, updates) {
						after[e.Writer] = e.Position
						_ = w.ReportCuts(t.Context(), name, ticket.CutReport{
							Applied: maps.Clone(after), Cuts: map[ticket.Ref]int{e.Ref(): int(e.Position)},
						})
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

// entry gives a place in the log of the authority's own writer.
func (w *world) entry(t *testing.T) ticket.Ref {
	t.Helper()
	heads, err := w.Heads(t.Context())
	if err != nil || len(heads) != 1 {
		t.Errorf("heads %v, %v", heads, err)
	}
	for name := range heads {
		return ticket.Ref{Writer: name, Position: 1}
	}
	return ticket.Ref{}
}

// A gateway that restarted has forgotten what it reported: until it caught up,
// it counts as one that has not applied the revocation.
func TestRestartedGatewayIsWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		issued := w.issue(t)
		entry := w.revoke(t, issued.ID).Entry
		for _, restarted := range []bool{false, true} {
			if err := w.ReportCuts(t.Context(), "gw", ticket.CutReport{Applied: ticket.Positions{entry.Writer: 1}}); err != nil {
				t.Fatal(err)
			}
			if restarted {
				if updates, err := w.Updates(t.Context(), "gw", nil, 0); err != nil || len(w.entries(t, updates)) != 1 {
					t.Fatalf("%v, %v", updates, err)
				}
			}
			result := w.revoke(t, issued.ID)
			if len(result.Gateways) != 1 || result.Gateways[0].Answered == restarted {
				t.Errorf("restarted %v: %+v", restarted, result.Gateways)
			}
		}
	})
}

func TestUpdatesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		updates, err := w.Updates(t.Context(), gateway, nil, longWait)
		if err != nil || len(updates.Logs) != 0 || time.Since(start) != 5*time.Second {
			t.Errorf("got %v, %v after %v; want none, after 5 s", updates, err, time.Since(start))
		}
		if head, err := w.keys.VerifyHead(updates.Head); err != nil || !head.Time.Equal(w.clock().Truncate(time.Millisecond)) {
			t.Errorf("head %+v, %v", head, err)
		}
		start = time.Now()
		updates, err = w.Updates(t.Context(), gateway, nil, 0)
		if err != nil || len(updates.Logs) != 0 || time.Since(start) != 0 {
			t.Errorf("without a wait: %v, %v after %v", updates, err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = w.Updates(ctx, gateway, nil, longWait); err == nil {
			t.Error("a caller that has gone was served")
		}
		wantReason(t, w.ReportCuts(t.Context(), gateway, ticket.CutReport{Cuts: map[ticket.Ref]int{{Writer: "a", Position: 1}: -1}}), ticket.Invalid)
	})
}

func TestRunSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *sta.Config) { c.Now, c.Keep, c.LookEvery = time.Now, 30*time.Hour, time.Hour })
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
		// The revocation is kept for as long again, and then by nobody.
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		updates, err := w.Updates(t.Context(), gateway, nil, 0)
		if err != nil || len(updates.Logs) != 0 {
			t.Errorf("the authority still knows %v, %v", updates.Logs, err)
		}
		logs, last, err := w.store.Entries(t.Context(), nil, 9)
		if err != nil || len(logs) != 0 || len(last) != 0 {
			t.Errorf("the store still knows %v, last %v, %v", logs, last, err)
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
		w := newWorld(t, func(c *sta.Config) { c.Now, c.LookEvery = time.Now, time.Hour })
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
		updates, err := w.Updates(t.Context(), gateway, nil, 0)
		entries := w.entries(t, updates)
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

// What a gateway asks of an authority, in the same process or elsewhere.
var _ interface {
	Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error)
	Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error)
	ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error
	SignedKeys(ctx context.Context) (string, error)
} = (*sta.Authority)(nil)
