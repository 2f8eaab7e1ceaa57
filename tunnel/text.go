package tunnel

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// secretRun is how long a run of upper-case letters and digits may be
	// before it is taken for a ticket's handle: those have 32.
	secretRun = 32
	// redacted stands for a run that may be a handle.
	redacted = "[secret]"
	// redactedCredential stands for a text in credential form, ;40;STA01;….
	redactedCredential = "[credential]"
)

// SafeText makes client text fit to be logged: at most limit bytes of valid
// UTF-8, in which control, formatting and bidi characters, separators of lines
// and invalid bytes are escaped as \u{202e} and \x{9f}, and every run of 32 or
// more of A–Z and 0–9 reads "[secret]". A text that begins with a semicolon is
// a credential in the form of a name, and reads "[credential]" as a whole.
// Everything else, ä and € among it, is left as it is. The text is cut before
// an escape or a redaction that would not fit, never within one.
//
// SafeText of its own result changes nothing.
func SafeText(s string, limit int) string {
	if strings.HasPrefix(strings.TrimLeftFunc(s, invisible), ";") {
		return cut(redactedCredential, limit)
	}
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 && b.Len() < limit {
		if n := runLength(s); n >= secretRun {
			if b.Len()+len(redacted) > limit {
				break
			}
			b.WriteString(redacted)
			s = s[n:]
		} else if n > 0 {
			b.WriteString(cut(s[:n], limit-b.Len()))
			s = s[n:]
		} else {
			r, size := utf8.DecodeRuneInString(s)
			shown := show(r, s[:size])
			if b.Len()+len(shown) > limit {
				break
			}
			b.WriteString(shown)
			s = s[size:]
		}
	}
	return b.String()
}

// plain reports whether s can be passed on as it is; nearly everything can.
func plain(s string) bool {
	for i := 0; i < len(s); {
		if n := runLength(s[i:]); n > 0 {
			if n >= secretRun {
				return false
			}
			i += n
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if escaped(r, size) {
			return false
		}
		i += size
	}
	return true
}

// runLength counts the upper-case letters and digits that s begins with.
func runLength(s string) int {
	n := 0
	for n < len(s) && ('A' <= s[n] && s[n] <= 'Z' || '0' <= s[n] && s[n] <= '9') {
		n++
	}
	return n
}

// escaped reports whether the rune, decoded from size bytes, must not be
// written as it is. Cf holds the bidi controls and the zero-width characters,
// Zl and Zp the separators that some viewers break lines at.
func escaped(r rune, size int) bool {
	return r == utf8.RuneError && size == 1 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// show writes a rune so that it cannot do harm. The braces keep the digits of
// an escape from joining a run of letters behind it.
func show(r rune, raw string) string {
	switch {
	case !escaped(r, len(raw)):
		return raw
	case r == utf8.RuneError:
		return fmt.Sprintf(`\x{%02x}`, raw[0])
	default:
		return fmt.Sprintf(`\u{%04x}`, r)
	}
}

func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
}

func cut(s string, limit int) string {
	return s[:max(0, min(len(s), limit))]
}
