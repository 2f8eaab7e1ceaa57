package policy

import (
	"fmt"
	"testing"
)

// Finding out whether a policy can be chosen tries words with one another, but of
// words that mean the same only one: lists of hundreds would take seconds each.
func TestWordsThatMeanTheSame(t *testing.T) {
	c := newChoice()
	var words []string
	for i := range maxMatchWords {
		words = append(words, fmt.Sprintf("a%d", i))
	}
	c.add(0, Match{Apps: words[:100]})
	c.add(1, Match{Apps: words[50:]})
	front := before(2)
	for n, list := range map[int][]string{0: nil, 100: words[:100], 156: words[100:], 256: words} {
		want := map[int]int{0: 1, 100: 2, 156: 1, 256: 3}[n]
		if got := c.apps.ofEach(list, front); len(got) != want {
			t.Errorf("%d words: %d to try, want %d", n, len(got), want)
		}
	}
}
