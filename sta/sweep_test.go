package sta_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// clumsy fails to drop entries for a while.
type clumsy struct {
	sta.Store
	fails atomic.Int64
}

func (c *clumsy) DropEntries(ctx context.Context, upTo ticket.Positions) error {
	if c.fails.Add(-1) >= 0 {
		return errOut
	}
	return c.Store.DropEntries(ctx, upTo)
}

// What a store could not drop in time holds up nobody: neither those who run, nor
// one that comes new when the logs' beginnings are gone.
func TestSweptLogsHoldUpNobody(t *testing.T) {
	for name, fails := range map[string]int64{"dropped": 0, "dropped late": 3, "never dropped": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				store := &clumsy{Store: w.store}
				store.fails.Store(fails)
				path := filepath.Join(t.TempDir(), "log.db")
				start := func(path string) (*sta.Authority, func()) {
					log, err := revlog.Open(path, revlog.WriterName("a"))
					if err != nil {
						t.Fatal(err)
					}
					a, err := sta.New(sta.Config{
						ID: authorityID, Audience: []string{gateway}, Signer: w.signer, Keys: w.keys,
						Store: store, Audit: w.audit, Log: log,
						LookEvery: 10 * time.Minute, SweepEvery: time.Hour, Lifetime: 24 * time.Hour,
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(context.Background())
					done := make(chan error, 1)
					go func() { done <- a.Run(ctx) }()
					return a, func() {
						cancel()
						if err := <-done; err != nil {
							t.Error(err)
						}
						log.Close()
					}
				}
				revoke := func(a *sta.Authority) sta.Issued {
					issued, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: issued.ID}); err != nil {
						t.Fatal(err)
					}
					return issued
				}
				a, stop := start(path)
				revoke(a)
				time.Sleep(60 * time.Hour)
				last := revoke(a) // the first one's time is over before this one's
				time.Sleep(20 * time.Hour)
				synctest.Wait()
				stop()
				// The log is lost, and what the store has begins in the midst.
				a, stop = start("")
				if _, err := a.Redeem(t.Context(), last.Handle.Hash()); ticket.ReasonOf(err) != ticket.Revoked {
					t.Errorf("one that comes new: %v", err)
				}
				time.Sleep(30 * 24 * time.Hour)
				stop()
				store.fails.Store(0)
				a, stop = start("")
				defer stop()
				if _, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"}); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if logs, _, err := store.Entries(t.Context(), nil, 9); err != nil || len(logs) != 0 {
					t.Errorf("the store still has %d logs, %v", len(logs), err)
				}
			})
		})
	}
}
