package boltstore

import (
	"crypto/ed25519"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Somebody who can write the store, and read no key, puts a root and a signing
// key of his own there, beside the authority's public one. The authority must
// not start by them, or his tickets were good.
func TestWriterOfTheStoreMintsNothing(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	if _, err := sta.Init(t.Context(), s, "STA01", files, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := sta.OpenKeys(t.Context(), s, "STA01", files.Signing); err != nil {
		t.Fatal(err)
	}
	signing, err := sta.ReadPrivateKey(files.Signing) // of which he needs the public part
	if err != nil {
		t.Fatal(err)
	}
	root, rootKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	mine, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := ticket.SignKeySet(rootKey, "STA01", 2, time.Now(), []ed25519.PublicKey{
		signing.Public().(ed25519.PublicKey), mine,
	})
	if err != nil {
		t.Fatal(err)
	}
	// With a pin beside it, should anybody believe that.
	planted, err := json.Marshal(map[string]any{"version": 2, "signed": signed, "pin": ticket.Pin(root)})
	if err != nil {
		t.Fatal(err)
	}
	alter(t, s, func(tx *bolt.Tx) error { return tx.Bucket(meta).Put(keySetKey, planted) })
	_, err = sta.OpenKeys(t.Context(), s, "STA01", files.Signing)
	if err == nil {
		t.Fatal("the authority would start with a stranger's key")
	}
	if ticket.ReasonOf(err) != ticket.BadSignature || !strings.Contains(err.Error(), sta.PinPath(files.Signing)) {
		t.Errorf("error is %v; want one that names the pin's file", err)
	}
}
