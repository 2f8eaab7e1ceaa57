package sta_test

import (
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Somebody who can write to the store tries to make one ticket pass as another.
func TestSwappedRecordsAreRefused(t *testing.T) {
	for name, swap := range map[string]func(mine, theirs *sta.Record){
		"their statement under my hash": func(mine, theirs *sta.Record) { mine.Statement = theirs.Statement },
		"their whole record":            func(mine, theirs *sta.Record) { hash := mine.Hash; *mine = *theirs; mine.Hash = hash },
		"their id":                      func(mine, theirs *sta.Record) { mine.ID = theirs.ID },
		"a family that is not revoked":  func(mine, theirs *sta.Record) { mine.Family = theirs.Family },
		"no statement":                  func(mine, _ *sta.Record) { mine.Statement = "" },
		"no payload":                    func(mine, _ *sta.Record) { mine.Statement = "a.!.c" },
		"no claims":                     func(mine, _ *sta.Record) { mine.Statement = "a.bnVsbA.c" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mine, theirs := w.issue(t), w.issue(t)
			take := func(id string) *sta.Record {
				r, err := w.store.ByID(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.store.Delete(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				return r
			}
			planted, victim := take(mine.ID), take(theirs.ID)
			swap(planted, victim)
			if err := w.store.Put(t.Context(), planted); err != nil {
				t.Fatal(err)
			}
			statement, err := w.Redeem(t.Context(), mine.Handle.Hash())
			wantReason(t, err, ticket.Mismatch)
			if statement != "" {
				t.Error("a statement came with the refusal")
			}
		})
	}
}

// Statements that this authority would never have made may be planted in its
// store. It need not see through all of them; the gateway's verifier must.
func TestPlantedStatementsOpenNothing(t *testing.T) {
	w := newWorld(t)
	now := w.clock()
	for name, forge := range forgeries(t, w.signer) {
		t.Run(name, func(t *testing.T) {
			handle := ticket.NewHandle()
			claims := ticket.Claims{
				ID: name, Family: name, Audience: []string{gateway}, User: "mallory", Handle: handle.Hash(),
				Issued: now, NotBefore: now, AuthTime: now, Expires: now.Add(time.Hour),
			}
			statement, want := forge(t, claims)
			if err := w.store.Put(t.Context(), &sta.Record{
				ID: name, Family: name, Hash: handle.Hash(), Expires: now.Add(time.Hour), Statement: statement,
			}); err != nil {
				t.Fatal(err)
			}
			if redeemed, err := w.Redeem(t.Context(), handle.Hash()); err == nil && redeemed != statement {
				t.Error("redeemed as something else")
			}
			_, err := w.verifier.Verify(statement, handle.Hash())
			wantReason(t, err, want)
		})
	}
	// The same claims, unforged, are good: it is the forgery that fails above.
	handle := ticket.NewHandle()
	statement, err := w.signer.Sign(ticket.Claims{
		ID: "x", Family: "x", Audience: []string{gateway}, Handle: handle.Hash(),
		Issued: now, NotBefore: now, AuthTime: now, Expires: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.verifier.Verify(statement, handle.Hash()); err != nil {
		t.Error(err)
	}
}
