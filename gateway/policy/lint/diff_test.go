package lint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// file is the policies of one configuration.
type file struct {
	def   policy.Spec
	named []policy.Named
}

func (f file) compile(t interface {
	Helper()
	Fatal(...any)
}) (*policy.Set, []policy.Named) {
	t.Helper()
	set, err := policy.CompileSet(f.def, f.named)
	if err != nil {
		t.Fatal(err)
	}
	return set, append([]policy.Named{{Name: policy.DefaultName, Spec: f.def}}, f.named...)
}

func diff(t *testing.T, before, after file) []lint.Change {
	t.Helper()
	old, oldNamed := before.compile(t)
	new, newNamed := after.compile(t)
	changes, err := lint.Diff(old, new, oldNamed, newNamed)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// Twenty policies that each share a word with every other one tell millions of
// kinds of devices apart: they are refused before they cost anything.
func TestDiffIsBounded(t *testing.T) {
	var f file
	for i := range 20 {
		var m policy.Match
		for j := range 20 {
			word := fmt.Sprint("w-", min(i, j), "-", max(i, j))
			m.Apps, m.Platforms, m.Groups = append(m.Apps, word), append(m.Platforms, word), append(m.Groups, word)
		}
		f.named = append(f.named, policy.Named{Name: fmt.Sprint("p", i), Match: m})
	}
	set, named := f.compile(t)
	if changes, err := lint.Diff(set, set, named, named); !errors.Is(err, lint.ErrTooManyKinds) || changes != nil {
		t.Errorf("%d changes, %v", len(changes), err)
	}
}

func lists(services string) policy.Spec { return policy.Spec{Services: services} }

func TestDiffSentences(t *testing.T) {
	ios := policy.Match{Apps: []string{"Secure Mail"}, Platforms: []string{"ios"}}
	staff := policy.Match{Groups: []string{"staff", "board"}}
	const mail, ews = "mail.example.com:443", "ews.example.com:443"
	for _, c := range []struct {
		name          string
		before, after file
		says          []string
	}{
		{"nothing", file{def: lists(mail)}, file{def: lists(mail)}, nil},
		{"the order of a list", file{def: lists(mail + "," + ews)}, file{def: lists(ews + "," + mail)}, nil},
		{
			"an entry for all", file{def: lists(mail)}, file{def: lists(mail + "," + ews)},
			[]string{`all devices gain ews.example.com:443`},
		}, {
			"an entry for some", file{lists(mail), []policy.Named{{Name: "a", Match: ios, Spec: lists(mail)}}},
			file{lists(mail), []policy.Named{{Name: "a", Match: ios, Spec: lists(mail + "," + ews)}}},
			[]string{`devices with app "Secure Mail" on ios gain ews.example.com:443`},
		}, {
			"a new policy", file{def: lists(mail)},
			file{lists(mail), []policy.Named{{Name: "a", Match: ios, Spec: lists(ews)}}},
			[]string{
				`devices with app "Secure Mail" on ios gain ews.example.com:443, and lose mail.example.com:443 (policy "a" in place of "default")`,
				`devices whose tickets name policy "a" are no longer refused, and gain ews.example.com:443`,
			},
		}, {
			"a policy that goes", file{lists(mail), []policy.Named{{Name: "a", Match: staff, Spec: lists(mail)}}},
			file{def: lists(mail)},
			[]string{
				`devices in group "board" or "staff" reach the same (policy "default" in place of "a")`,
				`devices whose tickets name policy "a" are refused, and lose mail.example.com:443`,
			},
		}, {
			"all but some", file{lists(mail), []policy.Named{{Name: "a", Match: staff, Spec: lists(mail)}}},
			file{lists(mail + "," + ews), []policy.Named{{Name: "a", Match: staff, Spec: lists(mail)}}},
			[]string{`devices not in group "board" or "staff" gain ews.example.com:443`},
		}, {
			"a wildcard for a name", file{def: lists(mail)}, file{def: lists("*.example.com:443")},
			[]string{`all devices gain *.example.com:443`},
		}, {
			"a narrower wildcard", file{def: lists("*.example.com:443")}, file{def: lists("*.eu.example.com:443")},
			[]string{`all devices lose *.example.com:443`},
		}, {
			"unrestricted", file{def: lists(mail)}, file{def: policy.Spec{NetworkAccess: "unrestricted"}},
			[]string{`all devices change from network access tunneled to unrestricted, and lose mail.example.com:443`},
		}, {
			"web domains", file{def: lists(mail)}, file{def: policy.Spec{NetworkAccess: "web_sso", Services: mail, WebDomains: []string{"*.example.net"}}},
			[]string{`all devices change from network access tunneled to web_sso, and gain *.example.net:443, *.example.net:80`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var says []string
			for _, change := range diff(t, c.before, c.after) {
				says = append(says, change.String())
			}
			if !slices.Equal(says, c.says) {
				t.Errorf("says\n%s\nwant\n%s", strings.Join(says, "\n"), strings.Join(c.says, "\n"))
			}
		})
	}
}

// The transcript of the documentation is what is printed.
func TestDiffIsDocumented(t *testing.T) {
	const mail, ews, files = "mail.example.com:443", "ews.example.com:443", "files.example.com:443"
	phones := policy.Match{Apps: []string{"Secure Mail"}, Platforms: []string{"ios"}}
	board := policy.Named{Name: "directors", Match: policy.Match{Groups: []string{"board"}}, Spec: lists(mail + "," + files)}
	before := file{lists(mail), []policy.Named{{Name: "phones", Match: phones, Spec: lists(mail)}, board}}
	after := file{lists(mail), []policy.Named{{Name: "phones", Match: phones, Spec: lists(mail + "," + ews)}}}
	page, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, change := range diff(t, before, after) {
		text.WriteString(change.String() + "\n")
	}
	if !strings.Contains(string(page), "$ sallyport policy diff sallyport.yaml new.yaml\n"+text.String()+"```") {
		t.Errorf("the page does not have\n%s", text.String())
	}
}

func TestDiffJSON(t *testing.T) {
	ios := policy.Match{Platforms: []string{"ios"}}
	before := file{lists("a.example.com:1"), []policy.Named{{Name: "p", Match: ios, Spec: lists("a.example.com:1")}}}
	after := file{lists("b.example.com:1"), before.named}
	got, err := json.Marshal(diff(t, before, after))
	const want = `[{"devices":[{"platforms":{"but":["ios"]}},{"policy":"default"}],"before":{"policy":"default","network_access":"tunneled"},"after":{"policy":"default","network_access":"tunneled"},"gains":["b.example.com:1"],"loses":["a.example.com:1"]}]`
	if err != nil || string(got) != want {
		t.Errorf("%v: %s", err, got)
	}
}

// drawFile draws policies whose matches conflict often, but not always.
func drawFile(t *rapid.T, label string) file {
	entries := []string{
		"a.example.com:443", "b.example.com:443", "*.example.com:443", "*.eu.example.com:443", "x.eu.example.com:443",
		"*.example.com:80", "192.0.2.1:443", "other.example.com:443", "portal.example.net:443",
	}
	spec := func(label string) policy.Spec {
		s := lists(strings.Join(rapid.SliceOfDistinct(rapid.SampledFrom(entries), rapid.ID[string]).Draw(t, label), ","))
		s.NetworkAccess = rapid.SampledFrom([]string{"", "web_sso", "unrestricted"}).Draw(t, label+" access")
		if s.NetworkAccess == "web_sso" {
			s.WebDomains = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"portal.example.net", "*.example.net", "*.example.com"}), rapid.ID[string]).Draw(t, label+" web")
		}
		return s
	}
	words := func(label string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID[string]).Draw(t, label)
	}
	f := file{def: spec(label)}
	for i := range rapid.IntRange(0, 3).Draw(t, label+" policies") {
		at := fmt.Sprint(label, i)
		n := policy.Named{Name: fmt.Sprint("p", i), Spec: spec(at), Match: policy.Match{
			Apps:      words(at+" apps", "Mail", "web", "other"),
			Platforms: words(at+" platforms", "ios", "android"),
			Groups:    words(at+" groups", "staff", "board", "guests"),
		}}
		if _, err := policy.CompileSet(f.def, append(slices.Clone(f.named), n)); err == nil {
			f.named = append(f.named, n)
		}
	}
	return f
}

// A device gains a service exactly if the one set allows it and the other did
// not, and each device is told of once.
func TestDiffAgreesWithDecide(t *testing.T) {
	probes := map[string]policy.Host{}
	for _, name := range []string{"a.example.com", "b.example.com", "x.eu.example.com", "other.example.com", "portal.example.net", "192.0.2.1"} {
		host, err := policy.ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		probes[name] = host
	}
	for _, domain := range []string{"example.com", "eu.example.com", "example.net"} {
		probes["*."+domain] = policy.Host{Name: "nobody-lists-this." + domain}
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawFile(t, "before"), drawFile(t, "after")
		old, oldNamed := before.compile(t)
		new, newNamed := after.compile(t)
		changes, err := lint.Diff(old, new, oldNamed, newNamed)
		if err != nil {
			t.Fatal(err)
		}
		told := make(map[[2]*policy.Policy]string)
		for _, h := range holders() {
			var own []lint.Change
			for _, c := range changes {
				for _, d := range c.Devices {
					if isOne(d, h) {
						own = append(own, c)
					}
				}
			}
			if len(own) > 1 {
				t.Fatalf("%+v is told of in %v", h, own)
			}
			if len(own) == 0 {
				own = []lint.Change{{}}
			}
			pair := [2]*policy.Policy{old.For(h), new.For(h)}
			got := fmt.Sprint(own[0].Gains, own[0].Loses)
			if before, seen := told[pair]; seen && before != got {
				t.Fatalf("%+v gains and loses %s, others with its policies %s", h, got, before)
			} else if !seen {
				agree(t, probes, pair[0], pair[1], own[0])
				told[pair] = got
			}
		}
	})
}

// agree asks both policies for every entry that drawFile draws.
func agree(t *rapid.T, probes map[string]policy.Host, was, is *policy.Policy, c lint.Change) {
	for text, host := range probes {
		for _, port := range []uint16{80, 443} {
			service := fmt.Sprint(text, ":", port)
			a, b := decide(was, host, port), decide(is, host, port)
			gains, loses := slices.Contains(c.Gains, service), slices.Contains(c.Loses, service)
			// What neither policy has by this name is not reported by it.
			known := has(was, service) || has(is, service)
			if gains && (a || !b) || known && !gains && b && !a {
				t.Fatalf("gains %s: %t, but before %t and after %t", service, gains, a, b)
			}
			if loses && (b || !a) || known && !loses && a && !b {
				t.Fatalf("loses %s: %t, but before %t and after %t", service, loses, a, b)
			}
		}
	}
}

func decide(p *policy.Policy, host policy.Host, port uint16) bool {
	return p != nil && p.Decide(policy.Query{Host: host, Port: port}).Allow
}

// has asks the policy with what stands before a wildcard as a name of its own.
func has(p *policy.Policy, service string) bool {
	if p == nil {
		return false
	}
	host, port, _ := strings.Cut(service, ":")
	probe, wild := strings.CutPrefix(host, "*.")
	if wild {
		probe = "nobody-lists-this." + probe
	}
	parsed, err := policy.ParseHost(probe)
	d := p.Decide(policy.Query{Host: parsed, Port: map[string]uint16{"80": 80, "443": 443}[port]})
	return err == nil && d.Allow && d.Service.String() == service
}

func holders() []policy.Holder {
	all := []policy.Holder{{Policy: "default"}, {Policy: "p0"}, {Policy: "p1"}, {Policy: "p2"}}
	for _, app := range []string{"mail", "WEB", "other", "Notes"} {
		for _, platform := range []string{"ios", "Android", "windows"} {
			for _, groups := range [][]string{{"staff"}, {"Board"}, {"guests"}, {"nobody"}} {
				all = append(all, policy.Holder{App: app, Platform: platform, Groups: groups})
			}
		}
	}
	return all
}

func isOne(d lint.Devices, h policy.Holder) bool {
	if d.Policy != "" || h.Policy != "" {
		return d.Policy == h.Policy
	}
	fits := func(w lint.Words, word string) bool {
		in := func(list []string) bool {
			return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, word) })
		}
		return (len(w.Only) == 0 || in(w.Only)) && !in(w.But)
	}
	return fits(d.Apps, h.App) && fits(d.Platforms, h.Platform) && fits(d.Groups, h.Groups[0])
}

// Ten thousand entries and many policies take no time to speak of.
func BenchmarkDiff(b *testing.B) {
	var list []string
	for i := range 10_000 {
		list = append(list, fmt.Sprintf("host-%d.example.com:443", i))
	}
	before, after := file{def: lists(strings.Join(list, ","))}, file{def: lists(strings.Join(list[1:], ","))}
	for i := range 50 {
		match := policy.Match{Groups: []string{fmt.Sprint("group-", i)}, Apps: []string{fmt.Sprint("app-", i%10)}}
		before.named = append(before.named, policy.Named{Name: fmt.Sprint("p", i), Match: match, Spec: lists(list[i])})
	}
	after.named = before.named
	old, err := policy.CompileSet(before.def, before.named)
	if err != nil {
		b.Fatal(err)
	}
	new, err := policy.CompileSet(after.def, after.named)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if changes, err := lint.Diff(old, new, before.named, after.named); len(changes) != 1 {
			b.Fatal(changes, err)
		}
	}
}
