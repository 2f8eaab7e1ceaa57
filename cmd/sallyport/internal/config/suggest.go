package config

import (
	"slices"
	"strings"
)

// maxSuggested is the longest word that is compared with known ones, in bytes;
// no key or value of ours is near it.
const maxSuggested = 40

// nearest returns the known word that was most likely meant by an unknown one,
// or "".
func nearest(word string, known []string) string {
	if len(word) > maxSuggested {
		return ""
	}
	best, least := "", 1+len(word)/3
	for _, candidate := range known {
		d := distance(plain(word), plain(candidate))
		// The first of equals wins, so that the answer is always the same.
		if d < least || d == least && best == "" {
			best, least = candidate, d
		}
	}
	return best
}

// plain makes keyFile, key-file and KEY_FILE the same word.
func plain(word string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(word))
}

// distance counts the letters to insert, remove, change or swap with their
// neighbour to make one word of the other (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, above, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(y)]
}

// didYouMean is the end of a message about an unknown word.
func didYouMean(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// either joins words as a person would: a, b or c.
func either(words []string) string {
	words = slices.Clone(words)
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
