package revlog

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

func TestAppendSurvivesReopening(t *testing.T) {
	a, path := newAuthority(t), file(t)
	l := open(t, path, "gw-1.a")
	if got := l.Positions(); len(got) != 0 {
		t.Errorf("an empty log has positions %v", got)
	}
	news := l.News()
	fill(t, a, l, 1, 1)
	select {
	case <-news:
	default:
		t.Error("no news of an entry")
	}
	fill(t, a, l, 2, 5)
	tips, signed := l.Tips(), l.After(nil, 100)
	if n := len(signed["gw-1.a"]); n != 5 || tips["gw-1.a"].Position != 5 {
		t.Fatalf("%d entries, tips %v", n, tips)
	}
	l = reopen(t, l)
	if !maps.Equal(l.Tips(), tips) || !reflect.DeepEqual(l.After(nil, 100), signed) {
		t.Errorf("after reopening: tips %v, had %v", l.Tips(), tips)
	}
	checkEnds(t, l, 1, 5)
	fill(t, a, l, 6, 6)
	if got := l.Positions().String(); got != "gw-1.a:6" {
		t.Errorf("positions %s", got)
	}
	if cut := l.LastCut("user 6", ""); !cut.Equal(epoch) {
		t.Errorf("last cut %s", cut)
	}
	// The log of another life is kept, and its end left alone.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, "gw-1.b")
	fill(t, a, l, 7, 7)
	if got := l.Positions().String(); got != "gw-1.a:6,gw-1.b:1" {
		t.Errorf("positions %s", got)
	}
	checkEnds(t, l, 1, 7)
}

func TestReadOnlyLog(t *testing.T) {
	a := newAuthority(t)
	l := open(t, file(t), "")
	if _, err := l.Append(a.signer, ofUser("u", 1)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("appended without a name: %v", err)
	}
	if _, err := Open("", "no name"); err == nil {
		t.Error("a name that is none was taken")
	}
	w := open(t, "", "w")
	if _, err := w.Append(a.signer, ticket.Revocation{}); ticket.ReasonOf(err) != ticket.Invalid || len(w.Positions()) != 0 {
		t.Errorf("what is no revocation: %v", err)
	}
}

func TestWriterName(t *testing.T) {
	seen := make(map[string]bool)
	for _, node := range []string{"gw-1", "", "gw 1/ü", strings.Repeat("x", 500), "\x00"} {
		for range 20 {
			name := WriterName(node)
			if err := ticket.CheckWriter(name); err != nil || seen[name] {
				t.Errorf("%q for node %q: %v", name, node, err)
			}
			seen[name] = true
		}
	}
}

func TestTakeInPages(t *testing.T) {
	a := newAuthority(t)
	one, two := open(t, "", "one"), open(t, "", "two")
	fill(t, a, one, 1, 5)
	fill(t, a, two, 6, 9)
	give(t, a, two, one)
	l := open(t, file(t), "")
	var pages int
	for lacks := l.must(t, head(one)); lacks != nil; lacks = l.must(t, head(one)) {
		logs := one.After(l.Positions(), 2)
		added, err := l.Take(a.keys, logs, head(one))
		if err != nil || len(added) == 0 {
			t.Fatalf("page %d: %d, %v", pages, len(added), err)
		}
		pages++
		l = reopen(t, l)
	}
	if pages != 5 || !maps.Equal(l.Tips(), one.Tips()) {
		t.Errorf("after %d pages: %v, want %v", pages, l.Tips(), one.Tips())
	}
	checkEnds(t, l, 1, 9)
	// The same once more, and what overlaps, is nothing new.
	if added, err := l.Take(a.keys, one.After(ticket.Positions{"one": 3}, 100)); err != nil || len(added) != 0 {
		t.Errorf("the same again: %d, %v", len(added), err)
	}
	fill(t, a, one, 10, 11)
	added, err := l.Take(a.keys, one.After(ticket.Positions{"one": 3, "two": 4}, 100))
	if err != nil || len(added) != 2 || added[0].User != "user 10" {
		t.Errorf("overlapping: %d, %v", len(added), err)
	}
	// What somebody's head does not have is told, and given.
	old := &ticket.Head{Tips: map[string]ticket.Tip{"one": {Position: 6, Hash: added[0].Previous}, "two": l.Tips()["two"]}}
	behind := l.Behind(old)
	if !maps.Equal(behind, ticket.Positions{"one": 7}) || l.Behind(head(one)) != nil {
		t.Errorf("behind: %v, and %v", behind, l.Behind(head(one)))
	}
	missing := l.Entries(ticket.Positions{"one": 6, "two": 4})
	if len(missing) != 1 || missing[0].User != "user 11" {
		t.Errorf("entries past it: %+v", missing)
	}
	if logs := one.After(nil, -1); logs != nil {
		t.Errorf("a page of less than none: %v", logs)
	}
	n := 0
	l.Each(func(*ticket.Entry) bool { n++; return n < 4 })
	if n != 4 {
		t.Errorf("called %d times after it said no", n)
	}
}

func (l *Log) must(t testing.TB, h *ticket.Head) ticket.Positions {
	t.Helper()
	lacks, err := l.Lacks(h)
	if err != nil {
		t.Fatal(err)
	}
	return lacks
}

// A refusal of one writer's entries holds up no other's, and what was refused
// leaves no trace.
func TestTakeRefuses(t *testing.T) {
	a := newAuthority(t)
	w := open(t, "", "w")
	fill(t, a, w, 1, 6)
	signed := w.After(nil, 100)["w"]
	stranger := open(t, "", "w")
	if _, err := stranger.Append(newSigner(t, newKey(t)), ofUser("x", 1)); err != nil {
		t.Fatal(err)
	}
	twin := open(t, "", "w") // the same name in two places, by the right key
	for range 6 {
		if _, err := twin.Append(a.signer, ofUser("twin", 1)); err != nil {
			t.Fatal(err)
		}
	}
	twins := twin.After(nil, 100)["w"]
	other := open(t, "", "other")
	fill(t, a, other, 7, 8)

	for name, c := range map[string]struct {
		before int // entries of w that are there
		signed []string
		heads  []*ticket.Head
		want   error // nil: a *ticket.Error
	}{
		"a gap at the beginning":          {0, signed[1:], nil, ErrGap},
		"a gap":                           {2, signed[3:], nil, ErrGap},
		"a gap that a head does not know": {2, signed[3:], []*ticket.Head{head(w)}, ErrGap},
		"a jump further than the head says": {2, signed[4:], []*ticket.Head{
			{Tips: map[string]ticket.Tip{"w": {From: 3, Position: 6}, "other": {From: 6, Position: 6}}}}, ErrGap},
		"another history":             {6, twins, nil, ErrFork},
		"another history's next":      {3, twins[3:], nil, ErrFork},
		"another history overlapping": {3, twins[2:], nil, ErrFork},
		"a stranger's":                {0, stranger.After(nil, 1)["w"], nil, nil},
		"another writer's":            {0, other.After(nil, 9)["other"], nil, nil},
		"rubbish":                     {3, []string{"a.b.c"}, nil, nil},
	} {
		l := open(t, "", "")
		if c.before > 0 {
			if _, err := l.Take(a.keys, map[string][]string{"w": signed[:c.before]}); err != nil {
				t.Fatal(err)
			}
		}
		tip := l.Tips()["w"]
		logs := other.After(nil, 100)
		logs["w"] = c.signed
		added, err := l.Take(a.keys, logs, c.heads...)
		var refusal *ticket.Error
		if c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &refusal) {
			t.Errorf("%s: %v", name, err)
		}
		if len(added) != 2 || !l.ends("user 8") {
			t.Errorf("%s: it holds up another writer's entries", name)
		}
		if l.Tips()["w"] != tip || l.ends("twin") || l.ends("x") {
			t.Errorf("%s: it left something: %+v", name, l.Tips()["w"])
		}
		checkEnds(t, l, 1, c.before)
	}
}

// A jump over what a head says is forgotten, here and through reopening.
func TestTakeJumps(t *testing.T) {
	a := newAuthority(t)
	w := open(t, "", "w")
	fill(t, a, w, 1, 3)
	early := open(t, file(t), "")
	give(t, a, w, early)
	fill(t, a, w, 4, 8)
	if dropped, err := w.Forget(epoch.Add(6*time.Hour + time.Minute)); err != nil || dropped["w"] != 6 {
		t.Fatalf("dropped %v, %v", dropped, err)
	}
	if lacks := early.must(t, head(w)); !maps.Equal(lacks, ticket.Positions{"w": 8}) {
		t.Errorf("lacks %v", lacks)
	}
	for name, l := range map[string]*Log{"one that had the beginning": early, "one that had nothing": open(t, file(t), "")} {
		added := give(t, a, w, l)
		if len(added) != 2 || l.Tips()["w"] != w.Tips()["w"] {
			t.Errorf("%s: took %d, tip %+v", name, len(added), l.Tips()["w"])
		}
		l = reopen(t, l)
		if l.Tips()["w"] != w.Tips()["w"] || l.must(t, head(w)) != nil {
			t.Errorf("%s: reopened with %+v", name, l.Tips()["w"])
		}
		checkEnds(t, l, 7, 8)
		fork := head(w)
		fork.Tips["w"] = ticket.Tip{Position: 6, Hash: ticket.Hash{1}} // where the memory ends
		if _, err := l.Lacks(fork); !errors.Is(err, ErrFork) {
			t.Errorf("%s: another entry at the last forgotten place: %v", name, err)
		}
	}
}

func TestLacks(t *testing.T) {
	a := newAuthority(t)
	w := open(t, "", "w")
	fill(t, a, w, 1, 4)
	l := open(t, "", "")
	if _, err := l.Take(a.keys, map[string][]string{"w": w.After(nil, 2)["w"]}); err != nil {
		t.Fatal(err)
	}
	hash := func(position uint64) ticket.Hash {
		return (&ticket.Entry{Signed: w.After(ticket.Positions{"w": position - 1}, 1)["w"][0]}).Hash()
	}
	for name, c := range map[string]struct {
		tips map[string]ticket.Tip
		want ticket.Positions
		err  error
	}{
		"an empty head":    {nil, nil, nil},
		"as far":           {map[string]ticket.Tip{"w": {Position: 2, Hash: hash(2)}}, nil, nil},
		"less far":         {map[string]ticket.Tip{"w": {Position: 1, Hash: hash(1)}}, nil, nil},
		"further":          {map[string]ticket.Tip{"w": {Position: 4, Hash: hash(4)}}, ticket.Positions{"w": 4}, nil},
		"all forgotten":    {map[string]ticket.Tip{"w": {From: 4, Position: 4, Hash: hash(4)}}, nil, nil},
		"another writer":   {map[string]ticket.Tip{"v": {Position: 1, Hash: hash(1)}}, ticket.Positions{"v": 1}, nil},
		"a fork":           {map[string]ticket.Tip{"w": {Position: 2, Hash: hash(1)}}, nil, ErrFork},
		"a fork less far":  {map[string]ticket.Tip{"w": {Position: 1, Hash: hash(2)}}, nil, ErrFork},
		"forgotten, as us": {map[string]ticket.Tip{"w": {From: 2, Position: 2, Hash: hash(2)}}, nil, nil},
	} {
		lacks, err := l.Lacks(&ticket.Head{Tips: c.tips})
		if !errors.Is(err, c.err) || !maps.Equal(lacks, c.want) {
			t.Errorf("%s: %v, %v", name, lacks, err)
		}
	}
}

// Entries of a key that was taken out pass where the head vouches for the end of
// the page, and only there.
func TestTakeAfterTheKeyIsGone(t *testing.T) {
	a := newAuthority(t)
	w := open(t, "", "w")
	fill(t, a, w, 1, 4)
	a.keys = a.keySet(t, 2, newKey(t))
	l := open(t, file(t), "")
	added, err := l.Take(a.keys, w.After(nil, 3), head(w))
	if ticket.ReasonOf(err) != ticket.BadSignature || len(added) != 0 || l.ends("user 1") {
		t.Errorf("a page that ends in the midst: %d, %v", len(added), err)
	}
	if added := give(t, a, w, l); len(added) != 4 {
		t.Errorf("took %d", len(added))
	}
	checkEnds(t, reopen(t, l), 1, 4)
}

func TestNotes(t *testing.T) {
	l := open(t, file(t), "")
	for _, value := range []string{"one", "", "two"} {
		if err := l.Note("head", []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	l = reopen(t, l)
	if got, err := l.Noted("head"); err != nil || string(got) != "two" {
		t.Errorf("noted %q, %v", got, err)
	}
	if got, err := l.Noted("other"); err != nil || got != nil {
		t.Errorf("never noted: %q, %v", got, err)
	}
	m := open(t, "", "")
	if err := m.Note("head", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	a := newAuthority(t)
	l, w := open(t, file(t), "l"), open(t, "", "w")
	l.disk.db.NoSync = true
	fill(t, a, w, 1, 20)
	pages := w.After(nil, 100)["w"]
	var all sync.WaitGroup
	for g := range 2 {
		for name, f := range map[string]func(i int) error{
			"Append": func(i int) error { _, err := l.Append(a.signer, ofUser(fmt.Sprint("own ", g, i), 1000)); return err },
			"Take": func(i int) error {
				_, err := l.Take(a.keys, map[string][]string{"w": pages[:i+1]}, head(w))
				return err
			},
			"Forget": func(i int) error { _, err := l.Forget(epoch.Add(time.Duration(i) * 30 * time.Minute)); return err },
			"Note": func(i int) error {
				_, err := l.Noted("n")
				return errors.Join(err, l.Note("n", []byte{byte(i)}), l.Save())
			},
			"the rest": func(i int) error {
				<-closed(l.News())
				l.LastCut("user 20", "")
				l.Find(&ticket.Subject{User: "user 20", Issued: epoch}, epoch)
				l.After(l.Positions(), i)
				l.Entries(nil)
				l.Each(func(e *ticket.Entry) bool { return e.User != "" })
				l.Behind(head(w))
				_, err := l.Lacks(head(l))
				return err
			},
		} {
			all.Go(func() {
				for i := range 20 {
					if err := f(i); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
	}
	all.Wait()
	l = reopen(t, l)
	checkEnds(t, l, 20, 20)
	for g := range 2 {
		for i := range 20 {
			if !l.ends(fmt.Sprint("own ", g, i)) {
				t.Errorf("lost entry %d of goroutine %d", i, g)
			}
		}
	}
	if got := l.Positions(); got["l"] != 40 || got["w"] != 20 {
		t.Errorf("positions %v", got)
	}
}

// closed gives a closed channel: what comes first of it and the news.
func closed(news <-chan struct{}) <-chan struct{} {
	select {
	case <-news:
	default:
	}
	done := make(chan struct{})
	close(done)
	return done
}

func TestEntriesAreGivenInOrder(t *testing.T) {
	a := newAuthority(t)
	var logs []*Log
	all := open(t, "", "")
	for _, name := range []string{"c", "a", "b"} {
		w := open(t, "", name)
		fill(t, a, w, 1, 3)
		logs = append(logs, w)
		give(t, a, w, all)
	}
	entries := all.Entries(nil)
	var refs []string
	for i := range entries {
		refs = append(refs, entries[i].Ref().String())
	}
	if want := []string{"a:1", "a:2", "a:3", "b:1", "b:2", "b:3", "c:1", "c:2", "c:3"}; !slices.Equal(refs, want) || len(logs) != 3 {
		t.Errorf("entries %v", refs)
	}
}
