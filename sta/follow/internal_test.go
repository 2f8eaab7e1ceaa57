package follow

import (
	"crypto/ed25519"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Two ways may lead to one node. An answer that was overtaken on the way is no
// regress; one that was asked for afterwards is.
func TestOvertakenHead(t *testing.T) {
	h := heads{seen: make(map[string]seen)}
	before := time.Now()
	if _, err := h.take(&ticket.Head{Node: "a", Serial: 2}, "two", before); err != nil {
		t.Fatal(err)
	}
	if overtaken, err := h.take(&ticket.Head{Node: "a", Serial: 1}, "one", before); err != nil || !overtaken {
		t.Errorf("overtaken %v, %v", overtaken, err)
	}
	if _, err := h.take(&ticket.Head{Node: "a", Serial: 1}, "one", time.Now()); !errors.Is(err, ErrRegress) {
		t.Errorf("asked for afterwards: %v", err)
	}
	if overtaken, err := h.take(&ticket.Head{Node: "a", Serial: 2}, "two", time.Now()); err != nil || overtaken {
		t.Errorf("the same again: %v, %v", overtaken, err)
	}
}

// Nodes are remembered by the life of their process; that is bounded.
func TestSeenHeadsAreBounded(t *testing.T) {
	h := heads{seen: make(map[string]seen)}
	for i := range maxSeen + 10 {
		if _, err := h.take(&ticket.Head{Node: "node." + strconv.Itoa(i), Serial: 1}, "x", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if _, newest := h.seen["node."+strconv.Itoa(maxSeen+9)]; len(h.seen) != maxSeen || !newest {
		t.Errorf("%d remembered, the newest %v", len(h.seen), newest)
	}
}

// What was applied stays so, in whatever order two reports end, and what the log
// no longer knows is not asked past for ever.
func TestAppliedNeverGoesBack(t *testing.T) {
	log, err := revlog.Open("", "node.1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ticket.NewSigner("STA01", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := log.Append(signer, ticket.Revocation{Time: time.Now(), Family: "f", Forget: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	f := &Follower{config: Config{Log: log}}
	f.applied.Store(&ticket.Positions{"gone.1": 9})
	f.apply(ticket.Positions{"node.1": 3})
	f.apply(ticket.Positions{"node.1": 2})
	if got := f.applied.Load().String(); got != "node.1:3" {
		t.Errorf("applied %s", got)
	}
}
