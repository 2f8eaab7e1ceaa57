package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func compileSet(t testing.TB, named ...Named) *Set {
	t.Helper()
	s, err := CompileSet(Spec{Services: "mail.example.com:443"}, named)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetChooses(t *testing.T) {
	s := compileSet(t,
		Named{Name: "ios-mail", Match: Match{Apps: []string{"Secure Mail"}, Platforms: []string{"iOS"}}},
		Named{Name: "by-name"},
		Named{Name: "board", Match: Match{Groups: []string{"Board", "Küche"}}},
		Named{Name: "mail", Match: Match{Apps: []string{"secure mail", "Secure Web"}}},
	)
	for _, c := range []struct {
		holder Holder
		want   string
	}{
		{Holder{}, "default"},
		{Holder{App: "Secure Mail", Platform: "ios"}, "ios-mail"},
		{Holder{App: "SECURE MAIL", Platform: "IOS", Groups: []string{"board"}}, "ios-mail"},
		{Holder{App: "Secure Mail", Platform: "android"}, "mail"},
		{Holder{App: "Secure Mail", Platform: "android", Groups: []string{"staff", "BOARD"}}, "board"},
		{Holder{App: "Secure Mail"}, "mail"},
		{Holder{App: "Secure Mai"}, "default"},
		{Holder{App: "Secure Mail "}, "default"},
		{Holder{App: "\u017fecure mail"}, "default"}, // a long s folds to s in Unicode only
		{Holder{Platform: "ios"}, "default"},
		{Holder{Groups: []string{"KüCHE"}}, "board"},
		{Holder{Groups: []string{"KÜCHE"}}, "default"},
		{Holder{Groups: []string{"staff"}}, "default"},
		{Holder{App: strings.Repeat("a", 1000), Groups: []string{strings.Repeat("b", 1000)}}, "default"},

		// A name that the ticket gives decides, match or not.
		{Holder{Policy: "by-name"}, "by-name"},
		{Holder{Policy: "board", App: "Secure Mail", Platform: "ios"}, "board"},
		{Holder{Policy: "default", App: "Secure Mail", Platform: "ios"}, "default"},
		{Holder{Policy: "BOARD"}, ""},
		{Holder{Policy: "gone", App: "Secure Mail", Platform: "ios"}, ""},
	} {
		p := s.For(c.holder)
		if got := nameOf(p); got != c.want {
			t.Errorf("%+v: %q, want %q", c.holder, got, c.want)
		}
		free(t, c.want, func() { s.For(c.holder) })
	}
	var names []string
	for _, p := range s.All() {
		names = append(names, p.Name())
	}
	if want := []string{"ios-mail", "by-name", "board", "mail", "default"}; !slices.Equal(names, want) {
		t.Errorf("all: %v", names)
	}
	s.All()[0] = nil
	if s.All()[0] == nil || s.Default().Name() != DefaultName {
		t.Error("a caller changed the set")
	}
}

func nameOf(p *Policy) string {
	if p == nil {
		return ""
	}
	return p.Name()
}

func TestSetConflicts(t *testing.T) {
	mail := Match{Apps: []string{"Secure Mail"}}
	for name, c := range map[string]struct {
		named         []Named
		policy, field string
		says          string // a part of the message
	}{
		"default":         {[]Named{{Name: "default"}}, "default", "name", "where no other does"},
		"default, loud":   {[]Named{{Name: "DeFault"}}, "DeFault", "name", "where no other does"},
		"invalid":         {[]Named{{Name: "a b"}}, "a b", "name", "letters"},
		"control":         {[]Named{{Name: "a\x1b\n"}}, "a\x1b\n", "name", `policy "a\x1b\n": name`},
		"empty":           {[]Named{{}}, "", "name", "letters"},
		"twice":           {[]Named{{Name: "a"}, {Name: "b"}, {Name: "a"}}, "a", "name", "two policies"},
		"twice, loud":     {[]Named{{Name: "a"}, {Name: "A"}}, "A", "name", "two policies"},
		"bad spec":        {[]Named{{Name: "a"}, {Name: "b", Spec: Spec{Services: "x"}}}, "b", "background_services", "has no port"},
		"empty word":      {[]Named{{Name: "a", Match: Match{Apps: []string{"x", ""}}}}, "a", "match.apps", "entry 2"},
		"blank word":      {[]Named{{Name: "a", Match: Match{Platforms: []string{"ios "}}}}, "a", "match.platforms", "blank"},
		"control in word": {[]Named{{Name: "a", Match: Match{Groups: []string{"a\nb"}}}}, "a", "match.groups", "control"},
		"no UTF-8":        {[]Named{{Name: "a", Match: Match{Groups: []string{"\xff"}}}}, "a", "match.groups", "UTF-8"},
		"long word":       {[]Named{{Name: "a", Match: Match{Apps: []string{strings.Repeat("x", 257)}}}}, "a", "match.apps", "longer"},
		"many words":      {[]Named{{Name: "a", Match: Match{Groups: slices.Repeat([]string{"g"}, 257)}}}, "a", "match", "256 words"},

		"same match": {[]Named{{Name: "a", Match: mail}, {Name: "b", Match: mail}}, "b", "match", "go to a before"},
		"same match, loud": {[]Named{{Name: "a", Match: Match{Apps: []string{"x", "SECURE MAIL"}}}, {Name: "b", Match: mail}},
			"b", "match", "go to a before"},
		"wider before": {[]Named{{Name: "a", Match: mail},
			{Name: "b", Match: Match{Apps: mail.Apps, Platforms: []string{"ios"}, Groups: []string{"g", "h"}}}}, "b", "match", "go to a before"},
		"two together": {[]Named{
			{Name: "a", Match: Match{Apps: mail.Apps, Platforms: []string{"ios"}}},
			{Name: "n"},
			{Name: "b", Match: Match{Platforms: []string{"android"}}},
			{Name: "c", Match: Match{Apps: mail.Apps, Platforms: []string{"android", "ios"}}},
		}, "c", "match", "go to a, b before"},
	} {
		s, err := CompileSet(Spec{}, c.named)
		var inSet *SetError
		var inSpec *SpecError
		if s != nil || !errors.As(err, &inSet) || !errors.As(err, &inSpec) {
			t.Errorf("%s: %v, want a *SetError about a *SpecError", name, err)
			continue
		}
		if inSet.Policy != c.policy || inSpec.Field != c.field || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q %s: %v", name, inSet.Policy, inSpec.Field, err)
		}
	}
	var inSet *SetError
	if _, err := CompileSet(Spec{PushRegion: "mars"}, nil); !errors.As(err, &inSet) || inSet.Policy != DefaultName {
		t.Errorf("a bad default: %v", err)
	}
}

// What the policies before leave over is enough.
func TestSetTakesWhatIsLeft(t *testing.T) {
	compileSet(t,
		Named{Name: "a", Match: Match{Platforms: []string{"ios"}, Groups: []string{"g"}}},
		Named{Name: "b", Match: Match{Platforms: []string{"ios", "android"}, Groups: []string{"g"}}},
		Named{Name: "c", Match: Match{Groups: []string{"g"}}},
		Named{Name: "d", Match: Match{Groups: []string{"g", "h"}}},
		Named{Name: "e", Match: Match{Apps: []string{"x"}}},
		Named{Name: "f"},
		Named{Name: "g"},
	)
}

func TestSetBounds(t *testing.T) {
	s, holder := bigSet(t)
	if got := nameOf(s.For(holder)); got != "p255" {
		t.Errorf("the last of 256: %q", got)
	}
	if got := nameOf(s.For(Holder{App: "app130"})); got != "p130" {
		t.Errorf("the one in the middle: %q", got)
	}
	free(t, "256 policies", func() { s.For(holder) })

	long := strings.Repeat("x", maxMatchWord)
	s = compileSet(t, Named{Name: "p", Match: Match{Apps: []string{long}}})
	if got := nameOf(s.For(Holder{App: strings.ToUpper(long)})); got != "p" {
		t.Errorf("the longest word: %q", got)
	}

	named := slices.Repeat([]Named{{}}, MaxPolicies+1)
	for i := range named {
		named[i].Name = fmt.Sprint("p", i)
	}
	var inSet *SetError
	if _, err := CompileSet(Spec{}, named); !errors.As(err, &inSet) || inSet.Policy != "p256" {
		t.Errorf("257 policies: %v", err)
	}
}

// bigSet has as many policies as a set may have, and the last is for the holder.
func bigSet(t testing.TB) (*Set, Holder) {
	t.Helper()
	named := make([]Named, MaxPolicies)
	for i := range named {
		named[i] = Named{Name: fmt.Sprint("p", i), Match: Match{Apps: []string{fmt.Sprint("app", i)}}}
	}
	last := &named[len(named)-1]
	last.Match = Match{Groups: []string{"the last"}}
	holder := Holder{App: "Secure Mail", Platform: "android"}
	for i := range 19 {
		holder.Groups = append(holder.Groups, fmt.Sprint("CN=group ", i, ",DC=example,DC=com"))
	}
	holder.Groups = append(holder.Groups, "The Last")
	return compileSet(t, named...), holder
}

func TestSetSnapshotNamesTheContent(t *testing.T) {
	a := Named{Name: "a", Match: Match{Apps: []string{"x", "y"}, Groups: []string{"g"}}, Spec: Spec{Services: "a.example:1"}}
	b := Named{Name: "b", Match: Match{Apps: []string{"z"}}}
	if alone := compileSet(t); alone.Snapshot() != alone.Default().Snapshot() {
		t.Error("a set of one policy has an ID of its own")
	}
	id := func(named ...Named) string { return compileSet(t, named...).Snapshot() }
	same := a
	same.Match = Match{Apps: []string{"Y", "X", "x"}, Groups: []string{"G"}}
	if id(a, b) != id(same, b) {
		t.Error("two spellings of one set have two IDs")
	}
	moved, renamed, listed := a, a, a
	moved.Match = Match{Apps: []string{"x", "y"}, Platforms: []string{"g"}}
	renamed.Name = "c"
	listed.Spec.Services = "a.example:2"
	ids := []string{id(), id(a), id(b), id(a, b), id(b, a), id(moved, b), id(renamed, b), id(listed, b)}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 8 {
		t.Errorf("%d IDs for 8 contents", n)
	}
}

// TestSetAgainstNaive tries every ticket there is, in a small world: the first
// policy that matches is chosen, and a policy is refused if and only if no
// ticket is left to it.
func TestSetAgainstNaive(t *testing.T) {
	words := func(list ...string) *rapid.Generator[[]string] {
		return rapid.SliceOfN(rapid.SampledFrom(list), 0, 2)
	}
	rapid.Check(t, func(t *rapid.T) {
		named := make([]Named, rapid.IntRange(0, 5).Draw(t, "policies"))
		for i := range named {
			named[i] = Named{Name: fmt.Sprint("p", i), Match: Match{
				Apps:      words("Mail", "web").Draw(t, "apps"),
				Platforms: words("ios", "android").Draw(t, "platforms"),
				Groups:    words("g", "h").Draw(t, "groups"),
			}}
		}
		s, err := CompileSet(Spec{}, named)
		chosen := make(map[string]bool)
		for _, app := range []string{"", "mail", "WEB", "other"} {
			for _, platform := range []string{"", "ios", "android"} {
				for _, groups := range [][]string{nil, {"g"}, {"H"}, {"x", "g", "h"}} {
					holder := Holder{App: app, Platform: platform, Groups: groups}
					want := naiveChoice(named, holder)
					chosen[want] = true
					if err == nil && nameOf(s.For(holder)) != want {
						t.Fatalf("%+v: %s, naive says %s", holder, nameOf(s.For(holder)), want)
					}
				}
			}
		}
		left := slices.IndexFunc(named, func(n Named) bool { return !n.Match.empty() && !chosen[n.Name] })
		var inSet *SetError
		switch {
		case left < 0 && err != nil:
			t.Fatalf("every policy can be chosen, and yet: %v", err)
		case left >= 0 && (!errors.As(err, &inSet) || inSet.Policy != named[left].Name):
			t.Fatalf("%s can never be chosen: %v", named[left].Name, err)
		}
	})
}

func naiveChoice(named []Named, h Holder) string {
	has := func(list []string, words ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(word string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
		})
	}
	for _, n := range named {
		if !n.Match.empty() && has(n.Match.Apps, h.App) && has(n.Match.Platforms, h.Platform) && has(n.Match.Groups, h.Groups...) {
			return n.Name
		}
	}
	return DefaultName
}

func FuzzMatch(f *testing.F) {
	f.Add("Secure Mail", "ios", "Board", "secure mail")
	f.Add("", "", "", "")
	f.Add("K", "k", "\u212a", "\xff")
	f.Fuzz(func(t *testing.T, app, platform, group, asked string) {
		m := Match{Apps: []string{app}, Platforms: []string{platform}, Groups: []string{group}}
		s, err := CompileSet(Spec{}, []Named{{Name: "p", Match: m}})
		if err != nil {
			var bad *SpecError
			if !errors.As(err, &bad) || !strings.HasPrefix(bad.Field, "match.") {
				t.Fatalf("%q: %v", m, err)
			}
			return
		}
		if got := nameOf(s.For(Holder{App: app, Platform: platform, Groups: []string{asked, group}})); got != "p" {
			t.Fatalf("%q does not match itself", m)
		}
		if got := nameOf(s.For(Holder{App: asked, Platform: platform, Groups: []string{group}})); got == "p" && !strings.EqualFold(asked, app) {
			t.Fatalf("%q matched %q", app, asked)
		}
	})
}
