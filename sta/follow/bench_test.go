package follow_test

import (
	"testing"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

// What a gateway pays for a ticket, after the bytes are parsed: known from
// before, by handle and by token, with nothing revoked and with many others; and
// carried as a token that it never saw. The baseline of the last is the signature
// check alone, which nobody who verifies can avoid.
//
//	go test -run '^$' -bench Ticket -count 6 ./sta/follow | benchstat -
func BenchmarkTicket(b *testing.B) {
	b.Run("warm/handle", func(b *testing.B) { benchmarkKnown(b, false, 0) })
	b.Run("warm/token", func(b *testing.B) { benchmarkKnown(b, true, 0) })
	b.Run("warm/handle/1000-revoked", func(b *testing.B) { benchmarkKnown(b, false, 1000) })
	b.Run("cold/token", benchmarkColdToken)
}

func benchmarkKnown(b *testing.B, carried bool, revoked int) {
	w := newWorld(b, 1)
	w.revokeMany(revoked)
	w.run()
	issued, p := w.issue()
	if carried {
		p = token(issued)
	}
	_, err := w.redeem(p)
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, known, err := w.Known(p); !known || err != nil {
			b.Fatal(known, err)
		}
	}
}

// revokeMany puts revocations of others into the authority's log.
func (w *world) revokeMany(n int) (last sta.Issued) {
	w.t.Helper()
	for range n {
		last, _ = w.issueFor(sta.IssueRequest{User: "other", Device: "x"})
		_, err := w.nodes[0].Revoke(w.t.Context(), w.client, sta.RevokeRequest{Ticket: last.ID})
		must(w.t, err)
	}
	return last
}

func benchmarkColdToken(b *testing.B) {
	// One that is forgotten as soon as the next comes, so that each is cold.
	w := newWorld(b, 1, func(c *follow.Config) { c.MaxTickets = 1 }).run()
	const many = 512
	tokens := make([]*ticket.Presentation, many)
	for i := range tokens {
		issued, _ := w.issue()
		tokens[i] = token(issued)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := w.redeem(tokens[i%many]); err != nil {
			b.Fatal(err)
		}
	}
	if n := w.nodes[0].redeems.Load(); n != 0 {
		b.Errorf("%d redeems at the authority: a token is verified here", n)
	}
}
