package ticket

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
)

// What a ticket costs where it is not cached. Run, and compare two commits with
//
//	go test -run '^$' -bench . -count 10 ./sta/ticket > new.txt && benchstat old.txt new.txt
//
// Verify is paid once a ticket and node; afterwards its claims come from a
// cache by Hash. Beside it stands what of it is the signature alone, by which
// machines are compared: the rest is reading two pieces of JSON.
func BenchmarkTicket(b *testing.B) {
	w, h := newWorld(b), NewHandle()
	claims := w.claims(h)
	statement := w.sign(b, claims)
	b.Run("hash", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = h.Hash()
		}
	})
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.signer.Sign(claims); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519", func(b *testing.B) {
		at := strings.LastIndexByte(statement, '.')
		signature, err := base64.RawURLEncoding.DecodeString(statement[at+1:])
		if err != nil {
			b.Fatal(err)
		}
		key, message := public(w.key), []byte(statement[:at])
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(key, message, signature) {
				b.Fatal("bad signature")
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.verifier.Verify(statement, h.Hash()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
