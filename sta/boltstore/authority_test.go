package boltstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/auditlog"
	"github.com/sallyport/sallyport/sta/boltstore"
	"github.com/sallyport/sallyport/sta/ticket"
)

const gateway = "gateway3.example.com"

var desk = &sta.Client{Name: "desk", May: sta.MayIssue | sta.MayRevoke | sta.MayList}

// newAuthority makes one that stands on real files, all in dir.
func newAuthority(t testing.TB, dir string) (*sta.Authority, *boltstore.Store, *ticket.Verifier) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	store := open(t, filepath.Join(dir, "sta.db"))
	t.Cleanup(func() { _ = store.Close() })
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	_, err := sta.Init(t.Context(), store, "STA01", files, time.Now())
	must(err)
	keys, err := sta.OpenKeys(t.Context(), store, "STA01", files.Signing)
	must(err)
	audit, err := auditlog.Open(filepath.Join(dir, "audit.log"))
	must(err)
	t.Cleanup(func() { _ = audit.Close() })
	authority, err := sta.New(sta.Config{
		ID: "STA01", Audience: []string{gateway}, Signer: keys.Signer, Keys: keys.Set, Store: store, Audit: audit,
	})
	must(err)
	verifier, err := ticket.NewVerifier(keys.Set, gateway, nil)
	must(err)
	return authority, store, verifier
}

// Whoever steals the file must hold nothing that opens a tunnel. Everything that
// stands in it — each key, each value, each string inside a value, and what
// somebody could make of them — is presented as a ticket.
func TestStolenFileOpensNothing(t *testing.T) {
	dir := t.TempDir()
	authority, store, verifier := newAuthority(t, dir)
	var handles []string
	for range 3 {
		issued, err := authority.Issue(t.Context(), desk, sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"})
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, issued.Handle.Reveal())
	}
	if _, err := authority.Revoke(t.Context(), desk, sta.RevokeRequest{User: "user2"}); err != nil {
		t.Fatal(err)
	}
	if logs, _, err := store.Entries(t.Context(), nil, 1); err != nil || len(logs) != 1 {
		t.Fatalf("%d logs are in the store, %v", len(logs), err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	stolen := valuesIn(t, filepath.Join(dir, "sta.db"))
	reopened := open(t, filepath.Join(dir, "sta.db"))
	defer reopened.Close()

	opens := func(text string) bool {
		p, err := ticket.ParsePresentation(text)
		if err != nil {
			return false
		}
		if p.Form == ticket.FormToken {
			_, err = verifier.Verify(p.Statement, p.Handle.Hash())
			return err == nil
		}
		_, err = reopened.ByHash(t.Context(), p.Handle.Hash())
		return err == nil
	}
	for _, value := range stolen {
		for _, handle := range handles {
			if strings.Contains(value, handle) {
				t.Fatal("a handle stands in the file")
			}
		}
		for _, text := range attempts(value, stolen) {
			if opens(text) {
				t.Errorf("%q opens a tunnel", text)
			}
		}
	}
	// The test can fail: a handle does open.
	if !opens(handles[0]) || !opens(";40;STA01;"+handles[1]) {
		t.Error("a good handle opens nothing")
	}
}

// attempts is what a thief may try with a value.
func attempts(value string, all []string) []string {
	upper := strings.ToUpper(value)
	texts := []string{value, upper, ";40;STA01;" + value, base64.RawURLEncoding.EncodeToString([]byte(value))}
	if len(upper) > ticket.HandleLength {
		texts = append(texts, upper[:ticket.HandleLength], upper[len(upper)-ticket.HandleLength:])
	}
	if strings.Count(value, ".") == 2 { // a statement
		for _, other := range all {
			texts = append(texts, value+"~"+other)
			if len(other) >= ticket.HandleLength {
				texts = append(texts, value+"~"+strings.ToUpper(other[:ticket.HandleLength]))
			}
		}
	}
	return texts
}

// valuesIn gives every key and value of the file, and every string inside them.
func valuesIn(t *testing.T, path string) []string {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seen := make(map[string]bool)
	var values []string
	add := func(b []byte) {
		if s := string(b); s != "" && !seen[s] {
			seen[s] = true
			values = append(values, s)
		}
	}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(key, value []byte) error {
				add(key)
				add(value)
				if at := bytes.IndexByte(value, '{'); at >= 0 {
					var fields map[string]any
					if json.Unmarshal(value[at:], &fields) == nil {
						for _, field := range fields {
							if text, ok := field.(string); ok {
								add([]byte(text))
							}
						}
					}
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(values) < 30 {
		t.Fatalf("only %d values found in the file", len(values))
	}
	return values
}
