package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// patience is how long something may take that has to happen.
const patience = 10 * time.Second

func post(t *testing.T, s sta.Store, name, notice string, life time.Duration) {
	t.Helper()
	if err := s.PostNotice(t.Context(), name, []byte(notice), life); err != nil {
		t.Fatalf("PostNotice: %v", err)
	}
}

// noticed checks which words are left.
func noticed(t *testing.T, s sta.Store, notices map[string][]byte) {
	t.Helper()
	got, err := s.Notices(t.Context())
	if err != nil {
		t.Errorf("Notices: %v", err)
		return
	}
	if len(got) > 0 || len(notices) > 0 {
		same(t, "notices", got, notices)
	}
}

func notices(t *testing.T, s sta.Store) {
	noticed(t, s, nil)
	odd := "{\"a\":1}\r\n\x00\xff"
	large := string(bytes.Repeat([]byte("head"), 1<<16))
	post(t, s, "gw.1", "first", time.Minute)
	post(t, s, "gw.10", odd, time.Minute)
	post(t, s, "gw", large, time.Minute)
	noticed(t, s, map[string][]byte{"gw.1": []byte("first"), "gw.10": []byte(odd), "gw": []byte(large)})
	post(t, s, "gw.1", "second", time.Minute)
	noticed(t, s, map[string][]byte{"gw.1": []byte("second"), "gw.10": []byte(odd), "gw": []byte(large)})
	post(t, s, "gw", "", 0)
	post(t, s, "nobody", "word", 0)
	noticed(t, s, map[string][]byte{"gw.1": []byte("second"), "gw.10": []byte(odd)})
	post(t, s, "gw.1", "", 0)
	post(t, s, "gw.10", "", 0)
	noticed(t, s, nil)
}

// noticesEnd: a notice is gone when its life is over, and that is the life of
// the last one under its name.
func noticesEnd(t *testing.T, s sta.Store) {
	const life, early = 100 * time.Millisecond, 10 * time.Millisecond // for a clock of its own
	post(t, s, "prolonged", "first", life)
	post(t, s, "shortened", "first", time.Minute)
	start := time.Now()
	post(t, s, "short", "word", life)
	post(t, s, "prolonged", "second", time.Minute)
	post(t, s, "shortened", "second", life)
	turn := time.NewTicker(5 * time.Millisecond)
	defer turn.Stop()
	for {
		got, err := s.Notices(t.Context())
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		_, there := got["short"]
		if !there && took < life-early {
			t.Fatalf("gone after %s, want %s", took, life)
		}
		if len(got) == 1 {
			break
		}
		if took > patience {
			t.Fatalf("there after %s, want %s: %v", took, life, got)
		}
		<-turn.C
	}
	noticed(t, s, map[string][]byte{"prolonged": []byte("second")})
}

func noticesAreCopies(t *testing.T, s sta.Store) {
	mine := []byte("word")
	want(t, s.PostNotice(t.Context(), "gw", mine, time.Minute), nil)
	mine[0] = 'X'
	got, err := s.Notices(t.Context())
	want(t, err, nil)
	for _, notice := range got {
		notice[0] = 'X'
	}
	noticed(t, s, map[string][]byte{"gw": []byte("word")})
}

// watches: everyone who watches is told of each kind of change, whoever makes
// it.
func watches(t *testing.T, one, other sta.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching := []<-chan struct{}{one.Watch(ctx), one.Watch(ctx), other.Watch(ctx)}
	begin(t, one, watching...)
	for i, s := range []sta.Store{one, other} {
		log := newLog(t, []string{"a", "b"}[i], 1)
		for _, change := range []struct {
			what string
			make func() error
		}{
			{"an entry", func() error { return s.PutEntries(ctx, log) }},
			{"a notice", func() error { return s.PostNotice(ctx, "gw", []byte("word"), time.Minute) }},
			{"a notice that is taken back", func() error { return s.PostNotice(ctx, "gw", nil, 0) }},
			{"a key set", func() error {
				return s.PutKeySet(ctx, sta.SignedKeySet{Version: uint64(i) + 1, Signed: "a.b.c"})
			}},
		} {
			quiet(t, watching...)
			want(t, change.make(), nil)
			for w, hints := range watching {
				if !told(hints) {
					t.Errorf("watcher %d was not told of %s that store %d got", w, change.what, i)
				}
			}
		}
	}
	cancel()
	for _, hints := range watching {
		ends(t, hints)
	}
}

// begin makes changes until whoever watches is told of one: over a network it
// takes a moment until a watch has begun.
func begin(t *testing.T, s sta.Store, watching ...<-chan struct{}) {
	t.Helper()
	deadline := time.After(patience)
	turn := time.NewTicker(50 * time.Millisecond)
	defer turn.Stop()
	for _, hints := range watching {
		for begun := false; !begun; {
			post(t, s, "begin", "word", time.Minute)
			select {
			case _, begun = <-hints:
				if !begun {
					t.Fatal("the watch has ended")
				}
			case <-turn.C:
			case <-deadline:
				t.Fatal("the watch does not begin")
			}
		}
	}
}

// quiet waits until hints of what was before have stopped.
func quiet(t *testing.T, watching ...<-chan struct{}) {
	t.Helper()
	const pause = 50 * time.Millisecond
	deadline := time.After(patience)
	for told := true; told; {
		select {
		case <-time.After(pause):
		case <-deadline:
			t.Fatal("hints without end, and nothing changes")
		}
		told = false
		for _, hints := range watching {
			select {
			case _, open := <-hints:
				if !open {
					t.Fatal("the watch has ended")
				}
				told = true
			default:
			}
		}
	}
}

func told(hints <-chan struct{}) bool {
	select {
	case _, open := <-hints:
		return open
	case <-time.After(patience):
		return false
	}
}

// ends checks that a channel is closed, after what may still be in it.
func ends(t *testing.T, hints <-chan struct{}) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-hints:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the watch does not end")
		}
	}
}

func watchEnds(t *testing.T, s sta.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hints, others := s.Watch(ctx), s.Watch(t.Context())
	begin(t, s, others)
	cancel()
	ends(t, hints)
	ends(t, s.Watch(ctx)) // for whoever comes too late
	// The others go on, and nobody minds the one that has gone.
	quiet(t, others)
	post(t, s, "gw", "word", time.Minute)
	if !told(others) {
		t.Error("a watch ended with another's")
	}
}

func clocks(t *testing.T, s sta.Store) {
	const apart = 5 * time.Second
	before := time.Now()
	got, err := s.Clock(t.Context())
	want(t, err, nil)
	if got.Before(before.Add(-apart)) || got.After(time.Now().Add(apart)) {
		t.Errorf("the store's clock says %s, and it is %s", got, before)
	}
}
