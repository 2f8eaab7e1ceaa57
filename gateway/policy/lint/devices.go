package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Devices are those whose tickets say something. The zero Devices are all whose
// tickets name no policy.
type Devices struct {
	// Policy is the one that the ticket names; with it the rest is zero.
	Policy    string `json:"policy,omitempty"`
	Apps      Words  `json:"apps,omitzero"`
	Platforms Words  `json:"platforms,omitzero"`
	Groups    Words  `json:"groups,omitzero"`
}

// Words say which ones. At most one of the lists is set; none means any word.
type Words struct {
	Only []string `json:"only,omitempty"`
	But  []string `json:"but,omitempty"`
}

// String says which devices, as the subject of a sentence.
func (d Devices) String() string {
	if d.Policy != "" {
		return "devices whose tickets name policy " + strconv.Quote(d.Policy)
	}
	about := d.Apps.text(" with app ", " with any app but ", strconv.Quote) +
		d.Platforms.text(" on ", " on any platform but ", printable) +
		d.Groups.text(" in group ", " not in group ", strconv.Quote)
	if about == "" {
		return "all devices"
	}
	return "devices" + about
}

func (w Words) text(only, but string, show func(string) string) string {
	lead, words := only, w.Only
	if len(w.But) > 0 {
		lead, words = but, w.But
	}
	if len(words) == 0 {
		return ""
	}
	shown := make([]string, len(words))
	for i, word := range words {
		shown[i] = show(word)
	}
	if n := len(shown); n > 1 {
		shown = []string{strings.Join(shown[:n-1], ", ") + " or " + shown[n-1]}
	}
	return lead + shown[0]
}

// String says the change in a sentence without its full stop:
//
//	devices with app "Secure Mail" on ios gain ews.example.com:443
func (c Change) String() string {
	var subjects []string
	for _, d := range c.Devices {
		// Who names a policy shares the fate of those whom it matches: there is no
		// need to say so.
		same := d.Policy != "" && d.Policy == c.Before.Policy && d.Policy == c.After.Policy
		if !same || len(c.Devices) == 1 {
			subjects = append(subjects, d.String())
		}
	}
	var verbs []string
	if c.After.Policy == "" {
		verbs = append(verbs, "are refused")
	}
	if c.Before.Policy == "" {
		verbs = append(verbs, "are no longer refused")
	}
	if a, b := c.Before.NetworkAccess, c.After.NetworkAccess; a != b && a != "" && b != "" {
		verbs = append(verbs, "change from network access "+a+" to "+b)
	}
	for _, list := range []struct {
		verb     string
		services []string
	}{{"gain ", c.Gains}, {"lose ", c.Loses}} {
		if len(list.services) > 0 {
			verbs = append(verbs, list.verb+someOf(list.services))
		}
	}
	if len(verbs) == 0 {
		verbs = []string{"reach the same"}
	}
	text := strings.Join(subjects, ", and ") + " " + strings.Join(verbs, ", and ")
	if a, b := c.Before.Policy, c.After.Policy; a != b && a != "" && b != "" {
		text += fmt.Sprintf(" (policy %q in place of %q)", b, a)
	}
	return text
}

// someOf bounds a sentence; the whole list is in the JSON.
func someOf(services []string) string {
	const most = 20
	if len(services) > most {
		return strings.Join(services[:most], ", ") + " and " + strconv.Itoa(len(services)-most) + " more"
	}
	return strings.Join(services, ", ")
}

// dimension is one of the things that policies are chosen by, its words put in
// classes: words of one class occur in the same matches, so no policy tells them
// apart. The last class is every word that occurs nowhere.
type dimension struct {
	classes [][]string
	other   string // a word of the last class
}

func newDimension(matches []policy.Match, words func(policy.Match) []string) dimension {
	spelling := make(map[string]string)
	where := make(map[string][]byte) // which matches have the word
	for i, m := range matches {
		for _, word := range words(m) {
			folded := foldASCII(word)
			if _, seen := spelling[folded]; !seen {
				spelling[folded] = word
			}
			where[folded] = strconv.AppendInt(append(where[folded], ' '), int64(i), 10)
		}
	}
	classOf := make(map[string][]string)
	for folded, matches := range where {
		classOf[string(matches)] = append(classOf[string(matches)], spelling[folded])
	}
	var d dimension
	for _, class := range classOf {
		slices.Sort(class)
		d.classes = append(d.classes, class)
	}
	slices.SortFunc(d.classes, slices.Compare)
	d.classes = append(d.classes, nil)
	for d.other = "other"; spelling[d.other] != ""; {
		d.other += "x"
	}
	return d
}

// foldASCII folds case as the choice of policies does.
func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// word is one of the class, to ask with.
func (d dimension) word(class int) string {
	if len(d.classes[class]) == 0 {
		return d.other
	}
	return d.classes[class][0]
}

// words says which words the classes hold.
func (d dimension) words(classes []int) Words {
	if len(classes) == len(d.classes) {
		return Words{}
	}
	rest := slices.Contains(classes, len(d.classes)-1)
	var list []string
	for i, class := range d.classes {
		if slices.Contains(classes, i) != rest {
			list = append(list, class...)
		}
	}
	slices.Sort(list)
	if rest {
		return Words{But: list}
	}
	return Words{Only: list}
}

// box is a set of devices: for each dimension the classes, ascending.
type box [][]int

func (b box) devices(of [3]dimension) Devices {
	return Devices{Apps: of[0].words(b[0]), Platforms: of[1].words(b[1]), Groups: of[2].words(b[2])}
}

// merged joins boxes that differ in one dimension only, the groups first. The
// boxes are disjoint, and stay so.
func merged(boxes []box, of [3]dimension) []box {
	for along := len(of) - 1; along >= 0; along-- {
		at := make(map[string]int)
		var joined []box
		for _, b := range boxes {
			rest := slices.Clone(b)
			rest[along] = nil
			key := fmt.Sprint(rest)
			i, seen := at[key]
			if !seen {
				at[key] = len(joined)
				joined = append(joined, b)
				continue
			}
			joined[i][along] = append(joined[i][along], b[along]...)
			slices.Sort(joined[i][along])
		}
		boxes = joined
	}
	return boxes
}
