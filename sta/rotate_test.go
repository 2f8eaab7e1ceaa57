package sta_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestRotate(t *testing.T) {
	store, files := sta.NewMemoryStore(), keyFiles(t)
	ctx := t.Context()
	if _, err := sta.Rotate(ctx, store, authorityID, sta.RotateRequest{Root: files.Root, New: files.Signing}, time.Now()); err == nil {
		t.Error("keys that were never made were rotated")
	}
	if _, err := sta.Init(ctx, store, authorityID, files, time.Now()); err != nil {
		t.Fatal(err)
	}
	old, err := sta.OpenKeys(ctx, store, authorityID, files.Signing)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new.key")
	for name, req := range map[string]sta.RotateRequest{
		"nothing to do":     {Root: files.Root},
		"by no root":        {Root: files.Signing, New: path},
		"dropping the last": {Root: files.Root, Drop: []string{old.Signer.KeyID()}},
		"dropping none":     {Root: files.Root, Drop: []string{"x"}},
		"over the old one":  {Root: files.Root, New: files.Signing},
	} {
		if _, err := sta.Rotate(ctx, store, authorityID, req, time.Now()); err == nil {
			t.Errorf("%s: done", name)
		}
		if set, _ := store.KeySet(ctx); set.Version != 1 || exists(path) {
			t.Fatalf("%s: version %d, new key %v", name, set.Version, exists(path))
		}
	}
	set, err := sta.Rotate(ctx, store, authorityID, sta.RotateRequest{Root: files.Root, New: path}, time.Now())
	if err != nil || set.Version != 2 || len(set.KeyIDs()) != 2 {
		t.Fatalf("%+v, %v", set, err)
	}
	// Both sign now.
	fresh, err := sta.OpenKeys(ctx, store, authorityID, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sta.OpenKeys(ctx, store, authorityID, files.Signing); err != nil {
		t.Error(err)
	}
	set, err = sta.Rotate(ctx, store, authorityID, sta.RotateRequest{Root: files.Root, Drop: []string{old.Signer.KeyID()}}, time.Now())
	if err != nil || set.Version != 3 || !slices.Equal(set.KeyIDs(), []string{fresh.Signer.KeyID()}) {
		t.Fatalf("%+v, %v", set, err)
	}
	if _, err := sta.OpenKeys(ctx, store, authorityID, files.Signing); err == nil {
		t.Error("a key that was taken out signs on")
	}
}

// A node that runs takes a new set over, and stops issuing when its own key is
// not in it.
func TestKeysChangeWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join(t, "a", "")
		defer a.stop()
		path := filepath.Join(t.TempDir(), "new.key")
		if _, err := sta.Rotate(t.Context(), w.store, authorityID, sta.RotateRequest{
			Root: w.root, New: path, Drop: []string{w.signer.KeyID()},
		}, time.Now()); err != nil {
			t.Fatal(err)
		}
		settle()
		if a.Keys().Version != 2 {
			t.Errorf("version %d is in force", a.Keys().Version)
		}
		_, err := a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
		wantReason(t, err, ticket.Unavailable)
		if err := <-a.lost; err == nil {
			t.Error("nobody is told that the heads would not be believed")
		}
	})
}

// A store that was flushed, or put back from an old copy, gets the key set back
// from a node that runs, and from one that starts.
func TestKeySetIsWrittenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := filepath.Join(t.TempDir(), "log.db")
		a := w.join(t, "a", path)
		empty := sta.NewMemoryStore()
		a.stop()
		w.store = empty
		a = w.join(t, "a", path)
		settle()
		if set, err := empty.KeySet(t.Context()); err != nil || set.Version != 1 {
			t.Errorf("while it runs: %+v, %v", set, err)
		}
		a.stop()
		log, err := revlog.Open(path, "")
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		empty = sta.NewMemoryStore()
		if err := sta.RestoreKeySet(context.Background(), empty, log); err != nil {
			t.Fatal(err)
		}
		if keys, err := sta.OpenKeys(t.Context(), empty, authorityID, w.signing); err != nil || keys.Set.Version != 1 {
			t.Errorf("at the start: %v", err)
		}
		// Without a note there is nothing to restore.
		blank, _ := revlog.Open("", "")
		if err := sta.RestoreKeySet(context.Background(), sta.NewMemoryStore(), blank); err != nil {
			t.Error(err)
		}
		_, err = sta.OpenKeys(t.Context(), sta.NewMemoryStore(), authorityID, w.signing)
		if !errors.Is(err, sta.ErrHalfInitialised) {
			t.Error(err)
		}
		_ = os.Remove(path)
	})
}

// What a key revoked stays revoked when the key is taken out, for those who come
// new as well; and its node goes on revoking until it has another one.
func TestRevokedByADroppedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join(t, "a", "")
		var tickets [2]sta.Issued
		for i := range tickets {
			var err error
			if tickets[i], err = a.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"}); err != nil {
				t.Fatal(err)
			}
		}
		revoke := func(issued sta.Issued) {
			if _, err := a.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: issued.ID}); err != nil {
				t.Fatal(err)
			}
		}
		revoke(tickets[0])
		path := filepath.Join(t.TempDir(), "new.key")
		set, err := sta.Rotate(t.Context(), w.store, authorityID, sta.RotateRequest{
			Root: w.root, New: path, Drop: []string{w.signer.KeyID()},
		}, time.Now())
		if err != nil || len(set.Retired()) != 1 {
			t.Fatalf("%+v, %v", set, err)
		}
		settle()
		revoke(tickets[1])
		a.stop()
		key, err := sta.ReadPrivateKey(path)
		if err != nil {
			t.Fatal(err)
		}
		if w.signer, err = ticket.NewSigner(authorityID, key); err != nil {
			t.Fatal(err)
		}
		w.keys = set
		b := w.join(t, "b", "")
		defer b.stop()
		for name, issued := range map[string]sta.Issued{"before": tickets[0], "after": tickets[1]} {
			_, err = b.Redeem(t.Context(), issued.Handle.Hash())
			if ticket.ReasonOf(err) != ticket.Revoked {
				t.Errorf("%s the key was dropped: %v", name, err)
			}
		}
		if heads, err := b.Heads(t.Context()); err != nil || len(heads) != 1 {
			t.Errorf("%d heads, %v", len(heads), err)
		}
	})
}
