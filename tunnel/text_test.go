package tunnel

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const handle = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345" // 32 of them, as a ticket's

func TestSafeText(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 10, ""},
		{"mail.example.com", 255, "mail.example.com"},
		{"Jürgen Müßig €", 255, "Jürgen Müßig €"},
		{`EXAMPLE\jürgen`, 255, `EXAMPLE\jürgen`},
		{"a\x00b\r\n\x1b[31m", 255, `a\u{0000}b\u{000d}\u{000a}\u{001b}[31m`},
		{"a\u0085\u2028b", 255, `a\u{0085}\u{2028}b`},
		{"evil\u202etxt\u2066\u200b\ufeff", 255, `evil\u{202e}txt\u{2066}\u{200b}\u{feff}`},
		{"bad\xff\xc3utf8", 255, `bad\x{ff}\x{c3}utf8`},
		{"a real \ufffd stays", 255, "a real \ufffd stays"},
		{handle, 255, "[secret]"},
		{handle[:31], 255, handle[:31]},
		{"x" + handle + "9y", 255, "x[secret]y"},
		{"user " + handle + "\x00" + handle, 255, `user [secret]\u{0000}[secret]`},
		{strings.Repeat("ä", 10), 5, "ää"},
		{"abcdef", 3, "abc"},
		{"ab\x00", 5, "ab"},
		{"ab" + handle, 9, "ab"}, // a cut must not show a part of it
		{handle, 31, "[secret]"},
		{handle, 7, ""},
		{"ABCDEF", 3, "ABC"},
		{";40;STA01;short", 255, "[credential]"},
		{" \u200b;40;STA01;short", 255, "[credential]"},
		{"anything", 0, ""},
		{"anything", -1, ""},
	} {
		if got := SafeText(tt.in, tt.limit); got != tt.want {
			t.Errorf("%q, %d: %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzSafeText(f *testing.F) {
	f.Add("mail.example.com", 255)
	f.Add("Jürgen €\u202e\x00\xff", 12)
	f.Add("\x01"+handle[:31]+"\x02"+handle+"x", 40)
	f.Add(";40;STA01;"+handle, 5)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		got := SafeText(in, limit)
		if len(got) > max(limit, 0) {
			t.Fatalf("%d bytes of at most %d", len(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		run := 0
		for _, r := range got {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Fatalf("%U in %q", r, got)
			}
			if r < 0x80 && (unicode.IsUpper(r) || unicode.IsDigit(r)) {
				run++
			} else {
				run = 0
			}
			if run >= 32 {
				t.Fatalf("a handle's length of letters in %q", got)
			}
		}
		if again := SafeText(got, limit); again != got {
			t.Fatalf("%q became %q", got, again)
		}
	})
}

func TestPrintingShowsNoSecret(t *testing.T) {
	values := []any{
		Credential{User: "user", Secret: "hunter2"},
		&Credential{User: "user", Secret: "hunter2"},
		[]Credential{{Secret: "hunter2"}},
		Destination{Host: ";40;STA01;hunter2"},
		&Destination{Host: ";40;STA01;hunter2"},
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "hunter2") || strings.Contains(strings.ToLower(s), fmt.Sprintf("%x", "hunter2")) {
				t.Errorf("%s of %T: %s", verb, v, s)
			}
		}
	}
	if b, err := json.Marshal(values[:3]); err != nil || strings.Contains(string(b), "hunter2") {
		t.Errorf("JSON: %s, %v", b, err)
	}
	for _, tt := range []struct {
		d    Destination
		want string
	}{
		{Destination{Host: "mail.example.com", Port: 443}, "mail.example.com:443"},
		{Destination{Addr: netip.MustParseAddr("::1"), Port: 80}, "[::1]:80"},
		{Destination{Host: "a\nb", Port: 1}, `a\u{000a}b:1`},
	} {
		if got := tt.d.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
