package policy

import (
	"errors"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxMatchWords bounds the words of a Match, its lists together: finding out
	// whether a policy can be chosen tries them with one another.
	maxMatchWords = 256
	// maxMatchWord is the length of a word in bytes.
	maxMatchWord = 256
)

// places is a set of policies, each by its place in the order of matching.
type places [MaxPolicies / 64]uint64

func (p *places) add(i int) { p[i/64] |= 1 << (i % 64) }

func (p places) and(q places) places {
	for i := range p {
		p[i] &= q[i]
	}
	return p
}

func (p places) or(q places) places {
	for i := range p {
		p[i] |= q[i]
	}
	return p
}

func (p places) first() (int, bool) {
	for i, word := range p {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word), true
		}
	}
	return 0, false
}

// before returns the places in front of i.
func before(i int) (p places) {
	for j := range p {
		switch low := j * 64; {
		case i >= low+64:
			p[j] = ^uint64(0)
		case i > low:
			p[j] = 1<<(i-low) - 1
		}
	}
	return p
}

func (p places) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range MaxPolicies {
			if p[i/64]&(1<<(i%64)) != 0 && !yield(i) {
				return
			}
		}
	}
}

// choice finds the first policy that matches a ticket, at the cost of one
// look-up for app, platform and each group, however many policies there are. For
// each of the three it knows the policies that a word speaks for; the choice is
// the first that all three have.
type choice struct {
	apps, platforms, groups axis
}

type axis struct {
	any   places // those that do not ask
	words map[string]places
}

func newChoice() choice {
	return choice{axis{words: map[string]places{}}, axis{words: map[string]places{}}, axis{words: map[string]places{}}}
}

// add plants a match at place i; one without words nowhere.
func (c *choice) add(i int, m Match) {
	if m.empty() {
		return
	}
	c.apps.add(i, m.Apps)
	c.platforms.add(i, m.Platforms)
	c.groups.add(i, m.Groups)
}

func (a *axis) add(i int, words []string) {
	if len(words) == 0 {
		a.any.add(i)
	}
	for _, word := range words {
		p := a.words[word]
		p.add(i)
		a.words[word] = p
	}
}

// of returns the policies that a ticket with this word may have.
func (a *axis) of(word string) places {
	var room [maxMatchWord]byte
	if len(word) > len(room) {
		return a.any
	}
	folded := room[:len(word)]
	for i := range len(word) {
		folded[i] = foldByte(word[i])
	}
	return a.any.or(a.words[string(folded)])
}

func (c *choice) first(h Holder) (int, bool) {
	found := c.apps.of(h.App).and(c.platforms.of(h.Platform))
	groups := c.groups.any
	for _, group := range h.Groups {
		groups = groups.or(c.groups.of(group))
	}
	return found.and(groups).first()
}

// takenBefore reports whether policies in front of place i take every ticket
// that m matches, and which. The more a ticket says, the more policies match it;
// so it is enough to try the tickets that say no more than m asks: one word of
// each of its lists.
func (c *choice) takenBefore(i int, m Match) (by places, all bool) {
	if m.empty() {
		return places{}, false
	}
	front := before(i)
	platforms, groups := c.platforms.ofEach(m.Platforms, front), c.groups.ofEach(m.Groups, front)
	for _, app := range c.apps.ofEach(m.Apps, front) {
		for _, platform := range platforms {
			both := app.and(platform)
			for _, group := range groups {
				takes, ok := both.and(group).first()
				if !ok {
					return places{}, false
				}
				by.add(takes)
			}
		}
	}
	return by, true
}

// ofEach gives what of some policies a ticket with each of the words may have, and
// the same only once: that is all that matters of a word. A list that does not ask
// stands for a ticket that says nothing, for no word is empty.
func (a *axis) ofEach(words []string, among places) []places {
	if len(words) == 0 {
		return []places{among.and(a.any)}
	}
	var each []places
	seen := make(map[places]bool)
	for _, word := range words {
		if p := among.and(a.of(word)); !seen[p] {
			seen[p] = true
			each = append(each, p)
		}
	}
	return each
}

func (m Match) empty() bool { return len(m.Apps)+len(m.Platforms)+len(m.Groups) == 0 }

// check returns the match with every word folded, each once, in order of the
// alphabet. Errors are *SpecError.
func (m Match) check() (Match, error) {
	if n := len(m.Apps) + len(m.Platforms) + len(m.Groups); n > maxMatchWords {
		return Match{}, &SpecError{Field: "match", Err: errors.New("has more than " + strconv.Itoa(maxMatchWords) + " words")}
	}
	var folded Match
	for _, list := range []struct {
		field string
		words []string
		to    *[]string
	}{
		{"match.apps", m.Apps, &folded.Apps},
		{"match.platforms", m.Platforms, &folded.Platforms},
		{"match.groups", m.Groups, &folded.Groups},
	} {
		for i, word := range list.words {
			if problem := wordProblem(word); problem != "" {
				return Match{}, &SpecError{Field: list.field, Index: i, Err: errors.New(problem)}
			}
			*list.to = append(*list.to, fold(word))
		}
		slices.Sort(*list.to)
		*list.to = slices.Compact(*list.to)
	}
	return folded, nil
}

func wordProblem(word string) string {
	switch {
	case word == "":
		return "is empty; leave it out"
	case len(word) > maxMatchWord:
		return "is longer than " + strconv.Itoa(maxMatchWord) + " bytes"
	case !utf8.ValidString(word):
		return "is not UTF-8"
	case strings.TrimSpace(word) != word:
		return "begins or ends with a blank, and so would match no ticket; leave the blank out"
	case strings.ContainsFunc(word, unicode.IsControl):
		return "holds a control character"
	}
	return ""
}

func (m Match) putInto(h content) {
	h.putWords(m.Apps)
	h.putWords(m.Platforms)
	h.putWords(m.Groups)
}

// fold takes the case off ASCII letters, and of no others: what else folds to a
// letter of ASCII in Unicode is not meant by it.
func fold(word string) string {
	folded := []byte(word)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
