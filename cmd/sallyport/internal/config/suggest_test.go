package config

import (
	"testing"

	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	known := []string{"listen", "fqdn", "public_port", "idle_timeout", "setup_timeout", "quic", "policy", "policies"}
	for word, want := range map[string]string{
		"listn":        "listen",
		"lisetn":       "listen",
		"publicPort":   "public_port",
		"PUBLIC-PORT":  "public_port",
		"idel_timeout": "idle_timeout",
		"timeout":      "",
		"polices":      "policies",
		"polcy":        "policy",
		"":             "",
		"q":            "",
		"certificate":  "",
		"a_word_far_longer_than_any_of_the_known_ones": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// The distance is what its three rules say: nothing between a word and itself,
// the same both ways, one for each edit.
func TestDistance(t *testing.T) {
	word := rapid.StringMatching(`[a-dä]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := []rune(word.Draw(t, "a")), []rune(word.Draw(t, "b"))
		d := distance(string(a), string(b))
		if (d == 0) != (string(a) == string(b)) || d != distance(string(b), string(a)) {
			t.Fatalf("%q, %q: %d", string(a), string(b), d)
		}
		if most, least := max(len(a), len(b)), max(len(a), len(b))-min(len(a), len(b)); d > most || d < least {
			t.Fatalf("%q, %q: %d is not within %d and %d", string(a), string(b), d, least, most)
		}
		if len(a) == 0 {
			return
		}
		i := rapid.IntRange(0, len(a)-1).Draw(t, "i")
		shorter := string(a[:i]) + string(a[i+1:])
		if d := distance(string(a), shorter); d != 1 {
			t.Fatalf("%q without one letter, %q: %d", string(a), shorter, d)
		}
	})
}
