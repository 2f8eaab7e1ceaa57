package follow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestRedeemedOnceThenKnown(t *testing.T) {
	w := newWorld(t, 1).run()
	issued, p := w.issue()
	if _, known, _ := w.Known(p); known {
		t.Error("known before it was redeemed")
	}
	claims, err := w.redeem(p)
	must(t, err)
	again, known, err := w.Known(p)
	if !known || err != nil || again != claims || claims.ID != issued.ID {
		t.Errorf("known %v, %v", known, err)
	}
	if n := w.nodes[0].redeems.Load(); n != 1 {
		t.Errorf("%d redeems", n)
	}
	named := &ticket.Presentation{Form: ticket.FormSTA, Authority: "STA02", Handle: issued.Handle}
	w.wantKnown(named, ticket.WrongAuthority)
	_, err = w.redeem(named)
	wantReason(t, err, ticket.WrongAuthority)
}

// A statement beside a known handle is still judged: only the one that was
// verified is known, and another's is refused, first time or not.
func TestStatementBesideKnownHandle(t *testing.T) {
	w := newWorld(t, 1).run()
	issued, p := w.issue()
	other, _ := w.issue()
	_, err := w.redeem(p)
	must(t, err)
	w.wantKnown(token(issued), "")
	swapped := &ticket.Presentation{Form: ticket.FormToken, Handle: issued.Handle, Statement: other.Statement}
	for range 2 {
		if _, known, _ := w.Known(swapped); known {
			t.Error("known by another's statement")
		}
		_, err = w.redeem(swapped)
		wantReason(t, err, ticket.Mismatch)
	}
}

// A storm of the same unknown ticket is one question to the authority, and
// a caller that gives up does not spoil it for the others.
func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.nodes[0].hold = make(chan struct{})
		w.run()
		_, p := w.issue()
		gone, leave := context.WithCancel(context.Background())
		first := make(chan error, 1)
		go func() { _, err := w.Redeem(gone, p); first <- err }()
		synctest.Wait()
		results := make(chan error, 10)
		for range 10 {
			go func() { _, err := w.Redeem(context.Background(), p); results <- err }()
		}
		synctest.Wait()
		leave()
		wantReason(t, <-first, ticket.Unavailable)
		close(w.nodes[0].hold)
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := w.nodes[0].redeems.Load(); n != 1 {
			t.Errorf("%d redeems", n)
		}
	})
}

func TestColdRedeemsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, asked = 4, 12
		w := newWorld(t, 1, func(c *follow.Config) { c.MaxCold = most })
		w.nodes[0].hold = make(chan struct{})
		w.run()
		results := make(chan error, asked)
		for range asked {
			_, p := w.issue()
			go func() { _, err := w.Redeem(context.Background(), p); results <- err }()
		}
		synctest.Wait()
		if n := w.nodes[0].redeems.Load(); n != most {
			t.Errorf("%d in flight, want %d", n, most)
		}
		close(w.nodes[0].hold)
		for range asked {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// Whoever waits for a turn longer than a redeem may take is told that nothing is
// known of the ticket.
func TestNoTurnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, func(c *follow.Config) { c.MaxCold = 1 })
		w.nodes[0].hold = make(chan struct{})
		w.run()
		_, a := w.issue()
		_, b := w.issue()
		results := make(chan error, 2)
		go func() { _, err := w.Redeem(context.Background(), a); results <- err }()
		go func() { _, err := w.Redeem(context.Background(), b); results <- err }()
		reasons := map[ticket.Reason]int{}
		for range 2 {
			reasons[ticket.ReasonOf(<-results)]++
		}
		if reasons[ticket.Busy] != 1 || reasons[ticket.Unavailable] != 1 {
			t.Errorf("reasons %v", reasons)
		}
	})
}

func TestRefusalsAreRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1).run()
		p := &ticket.Presentation{Form: ticket.FormHandle, Handle: ticket.NewHandle()}
		for range 5 {
			_, err := w.redeem(p)
			wantReason(t, err, ticket.Unknown)
		}
		if n := w.nodes[0].redeems.Load(); n != 1 {
			t.Errorf("%d redeems", n)
		}
		time.Sleep(6 * time.Second)
		_, err := w.redeem(p)
		wantReason(t, err, ticket.Unknown)
		if n := w.nodes[0].redeems.Load(); n != 2 {
			t.Errorf("%d redeems after the refusal was forgotten", n)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1).run()
		_, p := w.issueFor(sta.IssueRequest{User: "u", Device: "d", Lifetime: time.Minute})
		_, err := w.redeem(p)
		must(t, err)
		time.Sleep(59 * time.Second)
		w.wantKnown(p, "")
		time.Sleep(time.Second)
		w.wantKnown(p, ticket.Expired)
	})
}

// A carried statement is judged without the authority, and a forged one neither
// opens nor poisons what is known of the handle.
func TestTokens(t *testing.T) {
	w := newWorld(t, 1).run()
	issued, bare := w.issue()
	other, _ := w.issue()
	forged := &ticket.Presentation{Form: ticket.FormToken, Statement: other.Statement, Handle: issued.Handle}
	_, err := w.redeem(forged)
	wantReason(t, err, ticket.Mismatch)
	if _, known, _ := w.Known(bare); known {
		t.Error("a forgery made the handle known")
	}
	if _, err := w.redeem(token(issued)); err != nil {
		t.Error(err)
	}
	if n := w.nodes[0].redeems.Load(); n != 0 {
		t.Errorf("%d redeems for tokens", n)
	}
}

// What a node says of the gateway itself, such as that its key is wrong, says
// nothing of the ticket, and is not held against the device.
func TestRefusalOfTheGatewayIsNoRefusalOfTheTicket(t *testing.T) {
	w := newWorld(t, 1).run()
	_, p := w.issue()
	for _, reason := range []ticket.Reason{ticket.Unauthenticated, ticket.Forbidden, ticket.NotFound} {
		w.nodes[0].with(func(n *plug) { n.refuse = ticket.Refuse(reason, "no") })
		_, err := w.redeem(p)
		wantReason(t, err, ticket.Unavailable)
	}
	w.nodes[0].with(func(n *plug) { n.refuse = nil })
	_, err := w.redeem(p)
	must(t, err)
}

func TestNewRefuses(t *testing.T) {
	good := newWorld(t, 1).config
	for name, change := range map[string]func(*follow.Config){
		"no gateway":         func(c *follow.Config) { c.Gateway = "" },
		"no audience":        func(c *follow.Config) { c.Audience = "" },
		"no authority":       func(c *follow.Config) { c.Authority = "" },
		"no log":             func(c *follow.Config) { c.Log = nil },
		"no cut":             func(c *follow.Config) { c.Cut = nil },
		"no node":            func(c *follow.Config) { c.Nodes = nil },
		"no source":          func(c *follow.Config) { c.Nodes = []follow.Node{{Name: "x"}} },
		"no pin and no keys": func(c *follow.Config) { c.Pin = "" },
		"pin and keys":       func(c *follow.Config) { c.Keys = func() *ticket.KeySet { return nil } },
		"a pin that is none": func(c *follow.Config) { c.Pin = "sha256:x" },
		"keys that are none": func(c *follow.Config) { c.Pin = ""; c.Keys = func() *ticket.KeySet { return nil } },
		"a blind limit below the grace": func(c *follow.Config) {
			c.Grace, c.BlindLimit = 2*time.Hour, time.Hour
		},
	} {
		c := good
		change(&c)
		if _, err := follow.New(c); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if _, err := follow.New(good); err != nil {
		t.Errorf("refused: %v", err)
	}
	if err := newWorld(t, 1).Use(nil); err == nil {
		t.Error("use of no nodes accepted")
	}
}

// What a warm ticket costs: hash, look-up, grace, expiry and revocation. Pinned at
// no allocation, because every tunnel pays it.
func TestKnownAllocatesNothing(t *testing.T) {
	w := newWorld(t, 1).run()
	other, _ := w.issueFor(sta.IssueRequest{User: "other", Device: "x"})
	_, p := w.issue()
	_, err := w.redeem(p)
	must(t, err)
	_, err = w.nodes[0].Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: other.ID})
	must(t, err)
	if n := testing.AllocsPerRun(1000, func() { _, _, _ = w.Known(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, known, err := w.Known(p); !known || err != nil {
		t.Error(known, err)
	}
}

// Nobody's patience is tried beyond its context.
func TestRedeemEndsWithItsContext(t *testing.T) {
	w := newWorld(t, 1)
	_, p := w.issue()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the device hung up")
	cancel(why)
	_, err := w.Redeem(ctx, p)
	wantReason(t, err, ticket.Unavailable)
	if !errors.Is(err, why) {
		t.Errorf("because %v", err)
	}
}
