package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest bounds one text that came from elsewhere, in runes.
const longest = 600

// plain makes a text fit to be shown: one line of bounded length whose control,
// bidirectional and invisible characters are escapes that can be seen.
func plain(s string) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > longest {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\u00a0':
			b.WriteByte(' ')
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ':
			// Cf, which has the bidirectional controls, is not printable either.
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainAll is plain of each.
func plainAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = plain(s)
	}
	return out
}

// shell quotes a word so that it can be pasted into a shell, if it has to be.
func shell(word string) string {
	safe := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-+=./:,@%", r))
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !safe(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shell(w)
	}
	return plain(strings.Join(quoted, " "))
}
