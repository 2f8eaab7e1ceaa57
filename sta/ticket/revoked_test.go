package ticket

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(1_800_000_000, 0).UTC()

// drawRevocation draws one out of few names and moments, so that they meet.
func drawRevocation(t *rapid.T) *Revocation {
	name := func(kind string) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, kind) }
	second := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Second
	}
	r := &Revocation{Time: epoch.Add(second("time", 20)), By: "ops"}
	switch rapid.IntRange(0, 6).Draw(t, "scope") {
	case 0:
		r.Ticket = name("ticket")
	case 1:
		r.Family = name("family")
	case 2:
		r.User = name("user")
	case 3:
		r.Device = name("device")
	case 4:
		r.User, r.Device = name("user"), name("device")
	case 5:
		r.All = true
	case 6:
		r.All, r.Stage = true, time.Second+second("stage", 20)
	}
	if r.Ticket == "" && r.Family == "" {
		r.Cut = epoch.Add(second("cut", 20))
	}
	if r.Forget = epoch.Add(second("forget", 60)); r.Stage > 0 {
		r.Forget = r.Time.Add(r.Stage)
	}
	return r
}

func drawSubject(t *rapid.T) *Subject {
	name := func(kind string) string { return rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, kind) }
	return &Subject{
		ID: name("id"), Family: name("its family"), User: name("its user"), Device: name("its device"),
		Issued: epoch.Add(time.Duration(rapid.IntRange(-1, 22).Draw(t, "issued")) * time.Second),
	}
}

// The set, which keeps of most scopes only the last cut, must say the same as a
// walk over every revocation that was added and is not past: whatever the order,
// and whenever it was told to forget.
func TestRevokedSetAgreesWithAWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set RevokedSet
		var list []*Revocation
		steps := rapid.IntRange(1, 30).Draw(t, "steps")
		for range steps {
			if rapid.IntRange(0, 5).Draw(t, "forget?") == 0 {
				before := epoch.Add(time.Duration(rapid.IntRange(0, 70).Draw(t, "before")) * time.Second)
				set.Forget(before)
				list = slices.DeleteFunc(list, func(r *Revocation) bool { return r.Forget.Add(Skew).Before(before) })
			} else {
				r := drawRevocation(t)
				if err := r.Check(); err != nil {
					t.Fatalf("drew what is none: %v", err)
				}
				set.Add(r)
				list = append(list, r)
			}
			s := drawSubject(t)
			now := epoch.Add(time.Duration(rapid.IntRange(0, 45).Draw(t, "now")) * time.Second)
			compare(t, &set, list, s, now)
		}
	})
}

func compare(t *rapid.T, set *RevokedSet, list []*Revocation, s *Subject, now time.Time) {
	t.Helper()
	var ended, forGood bool
	var cut time.Time
	for _, r := range list {
		if r.Covers(s, now) {
			ended, forGood = true, forGood || r.Stage == 0
		}
		touches := r.All || (r.User == "" || r.User == s.User) && (r.Device == "" || r.Device == s.Device)
		if touches && r.Cut.After(cut) {
			cut = r.Cut
		}
	}
	found := set.Find(s, now)
	switch {
	case (found != nil) != ended:
		t.Fatalf("found %+v for %+v at %s, a walk says %v", found, s, now, ended)
	case found == nil:
	case !slices.Contains(list, found) || !found.Covers(s, now):
		t.Fatalf("found %+v, which does not end %+v at %s", found, s, now)
	case (found.Stage == 0) != forGood:
		t.Fatalf("found %+v for %+v, though one that ends it for good is %v", found, s, forGood)
	}
	if last := set.LastCut(s.User, s.Device); !last.Equal(cut) {
		t.Fatalf("last cut of %q on %q is %s, a walk says %s", s.User, s.Device, last, cut)
	}
}

// An earlier cut that must be remembered for longer than a later one is there
// when the later one is forgotten.
func TestEarlierCutOutlivesALaterOne(t *testing.T) {
	long := &Revocation{User: "u", Cut: epoch, Forget: epoch.Add(1000 * time.Hour)}
	short := &Revocation{User: "u", Cut: epoch.Add(time.Minute), Forget: epoch.Add(time.Hour)}
	for _, order := range [][]*Revocation{{long, short}, {short, long}} {
		var set RevokedSet
		for _, r := range order {
			set.Add(r)
		}
		old := &Subject{User: "u", Issued: epoch}
		if set.Find(old, epoch) != short {
			t.Error("the later cut does not go first")
		}
		set.Forget(epoch.Add(2 * time.Hour))
		if set.Find(old, epoch) != long {
			t.Error("the earlier one is lost with the later one")
		}
		if set.Find(&Subject{User: "u", Issued: epoch.Add(time.Second)}, epoch) != nil {
			t.Error("what only the forgotten one ended is ended still")
		}
	}
}

// A name that is revoked again and again takes no more room than once.
func TestSetDoesNotGrowWithRepeats(t *testing.T) {
	var set RevokedSet
	for i := range 1000 {
		at := epoch.Add(time.Duration(i) * time.Second)
		set.Add(&Revocation{User: "u", Cut: at, Forget: at.Add(time.Hour)})
		set.Add(&Revocation{Family: "f", Forget: at.Add(time.Hour)})
	}
	if n, m := len(set.users["u"]), len(set.families["f"]); n != 1 || m != 1 {
		t.Errorf("keeps %d of the user and %d of the family, want 1 each", n, m)
	}
}

func filledSet(n int) *RevokedSet {
	var set RevokedSet
	for i := range n {
		name := fmt.Sprint("name-", i)
		at := epoch.Add(time.Duration(i) * time.Second)
		for _, r := range []*Revocation{
			{Ticket: name, Forget: at}, {Family: name, Forget: at}, {User: name, Cut: at, Forget: at},
			{Device: name, Cut: at, Forget: at}, {User: name, Device: name, Cut: at, Forget: at},
		} {
			set.Add(r)
		}
	}
	set.Add(&Revocation{All: true, Cut: epoch, Forget: epoch.Add(time.Hour)})
	staged := stagedOver(time.Hour, epoch)
	set.Add(&staged)
	return &set
}

// Every new tunnel asks the set, and issuing does.
func TestSetAllocatesNothing(t *testing.T) {
	set := filledSet(1000)
	s := &Subject{ID: "x", Family: "x", User: "name-1", Device: "x", Issued: epoch.Add(time.Hour)}
	now, before := epoch.Add(time.Minute), epoch
	for what, f := range map[string]func(){
		"Find":    func() { set.Find(s, now) },
		"LastCut": func() { set.LastCut("name-1", "name-2") },
		"Forget":  func() { before = before.Add(time.Second); set.Forget(before) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	if set.Find(&Subject{ID: "name-1", Issued: epoch.Add(time.Hour)}, now) != nil {
		t.Error("Forget forgot nothing")
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	var set RevokedSet
	var all sync.WaitGroup
	for g := range 3 {
		all.Go(func() {
			for i := range 300 {
				name, at := fmt.Sprint(i%10), epoch.Add(time.Duration(i)*time.Second)
				switch g {
				case 0:
					set.Add(&Revocation{User: name, Cut: at, Forget: at})
					staged := stagedOver(time.Minute, at)
					set.Add(&staged)
				case 1:
					set.Forget(at.Add(-time.Minute))
				default:
					if r := set.Find(&Subject{User: name, Issued: epoch}, at); r != nil && r.User != name && !r.All {
						t.Errorf("found %+v for user %s", r, name)
					}
					set.LastCut(name, "")
				}
			}
		})
	}
	all.Wait()
}

// What a new tunnel pays to know that its ticket was not revoked.
func BenchmarkFind(b *testing.B) {
	set := filledSet(20_000)
	s := &Subject{ID: "x", Family: "x", User: "u", Device: "d", Issued: epoch.Add(time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		if set.Find(s, epoch) != nil {
			b.Fatal("found")
		}
	}
}
