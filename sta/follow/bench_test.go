package follow_test

import (
	"testing"

	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

// What a gateway pays for a ticket, after the bytes are parsed: known from
// before, by handle and by token; and carried as a token that it never saw. The
// baseline is the signature check alone, which nobody who verifies can avoid.
func BenchmarkTicket(b *testing.B) {
	b.Run("warm/handle", func(b *testing.B) { benchmarkKnown(b, false) })
	b.Run("warm/token", func(b *testing.B) { benchmarkKnown(b, true) })
	b.Run("cold/token", benchmarkColdToken)
}

func benchmarkKnown(b *testing.B, token bool) {
	w := newWorld(b, nil)
	w.run()
	issued, p := w.issue(0)
	if token {
		p = &ticket.Presentation{Form: ticket.FormToken, Handle: issued.Handle, Statement: issued.Statement}
	}
	_, err := w.Redeem(b.Context(), p)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, known, err := w.Known(p); !known || err != nil {
			b.Fatal(known, err)
		}
	}
}

func benchmarkColdToken(b *testing.B) {
	// One that is forgotten as soon as the next comes, so that each is cold.
	w := newWorld(b, func(_ *world, c *follow.Config) { c.MaxTickets = 1 })
	w.run()
	const many = 512
	tokens := make([]*ticket.Presentation, many)
	for i := range tokens {
		issued, _ := w.issue(0)
		tokens[i] = &ticket.Presentation{Form: ticket.FormToken, Handle: issued.Handle, Statement: issued.Statement}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.Redeem(b.Context(), tokens[i%many]); err != nil {
			b.Fatal(err)
		}
	}
	if n := w.source.redeems.Load(); n != 0 {
		b.Errorf("%d redeems at the authority: a token is verified here", n)
	}
}
