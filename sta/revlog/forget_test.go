package revlog

import (
	"maps"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

func TestForget(t *testing.T) {
	a := newAuthority(t)
	own := open(t, file(t), "own")
	fill(t, a, own, 1, 6)
	peer := open(t, file(t), "peer")
	give(t, a, own, peer)
	at := func(hours int) time.Time { return epoch.Add(time.Duration(hours)*time.Hour + time.Minute) }

	if dropped, err := peer.Forget(at(0)); err != nil || len(dropped) != 0 {
		t.Errorf("forgot %v, %v before the time", dropped, err)
	}
	dropped, err := peer.Forget(at(4))
	if err != nil || !maps.Equal(dropped, ticket.Positions{"own": 4}) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	peer = reopen(t, peer)
	if tip := peer.Tips()["own"]; tip.From != 4 || tip.Position != 6 || peer.ends("user 4") {
		t.Errorf("after forgetting: %+v", tip)
	}
	checkEnds(t, peer, 5, 6)

	// All is forgotten at the peer, and its writer, who has not yet, goes on.
	if dropped, err = peer.Forget(at(6)); err != nil || dropped["own"] != 6 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	if dropped, err = peer.Forget(at(7)); err != nil || len(dropped) != 0 {
		t.Errorf("dropped %v, %v once more", dropped, err)
	}
	peer = reopen(t, peer)
	if got := own.After(peer.Positions(), 100); got != nil {
		t.Errorf("given once more what was forgotten: %d", len(got["own"]))
	}
	if behind := own.Behind(head(peer)); behind != nil {
		t.Errorf("the peer seems behind: %v", behind)
	}
	fill(t, a, own, 7, 7)
	if _, err := peer.Take(a.keys, map[string][]string{"own": own.After(ticket.Positions{"own": 6}, 1)["own"]}); err != nil {
		t.Errorf("the next entry of a log that was forgotten to its end: %v", err)
	}
	checkEnds(t, reopen(t, peer), 7, 7)
}

// What is known of a log without entries goes too, but the own one's end never.
func TestEmptyLogsAreForgotten(t *testing.T) {
	a := newAuthority(t)
	own := open(t, file(t), "own")
	fill(t, a, own, 1, 2)
	peer := open(t, file(t), "peer")
	give(t, a, own, peer)
	for _, l := range []*Log{own, peer} {
		if _, err := l.Forget(epoch.Add(3 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		if tip := l.Tips()["own"]; tip.From != 2 || tip.Position != 2 {
			t.Errorf("tip %+v", tip)
		}
	}
	own, peer = reopen(t, own), reopen(t, peer)
	for _, l := range []*Log{own, peer} {
		if dropped, err := l.Forget(epoch.Add(keepEmpty + 3*time.Hour)); err != nil || len(dropped) != 0 {
			t.Errorf("dropped %v, %v", dropped, err)
		}
	}
	own, peer = reopen(t, own), reopen(t, peer)
	if got := own.Positions().String() + " " + peer.Positions().String(); got != "own:2 " {
		t.Errorf("positions %q", got)
	}
	// In another life it is nobody's own any longer.
	path := own.disk.db.Path()
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	next := open(t, path, "next")
	if _, err := next.Forget(epoch.Add(keepEmpty + 3*time.Hour)); err != nil || len(next.Positions()) != 0 {
		t.Errorf("kept %v, %v", next.Positions(), err)
	}
	if l := reopen(t, next); len(l.Positions()) != 0 {
		t.Errorf("kept on the disk: %v", l.Positions())
	}
}
