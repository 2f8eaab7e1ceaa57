package ticket

import (
	"testing"
)

// What a ticket costs where it is not cached. Run, and compare two commits with
//
//	go test -run '^$' -bench . -count 10 ./sta/ticket > new.txt && benchstat old.txt new.txt
//
// Verify is paid once a ticket and node; afterwards its claims come from a
// cache by Hash.
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
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.verifier.Verify(statement, h.Hash()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
