package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode"
)

// hostTricks are spellings that fooled gateways. An empty reason means that
// the spelling is fine, and want is what it must become.
var hostTricks = []struct {
	sent   string
	want   string
	reason HostReason
}{
	{"mail.example.com", "mail.example.com", ""},
	{"MAIL.Example.COM", "mail.example.com", ""},
	{"mail.example.com.", "mail.example.com", ""},
	{"mail", "mail", ""},
	{"dc_01.corp.example.com", "dc_01.corp.example.com", ""},
	{"r3---sn-apo3.example.com", "r3---sn-apo3.example.com", ""},
	{"4mail.example.com", "4mail.example.com", ""},
	{"1.2.3.4.example", "1.2.3.4.example", ""},
	{"0xcafe.example", "0xcafe.example", ""},
	{"192.0.2.7", "192.0.2.7", ""},

	// Internationalised names, in both forms and all cases.
	{"bücher.example", "xn--bcher-kva.example", ""},
	{"BÜCHER.example", "xn--bcher-kva.example", ""},
	{"bu\u0308cher.example", "xn--bcher-kva.example", ""},
	{"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
	{"XN--BCHER-KVA.example", "xn--bcher-kva.example", ""},
	{"straße.example", "xn--strae-oqa.example", ""},
	{"ｍａｉｌ.example.com", "mail.example.com", ""},
	{"mail。example．com｡", "mail.example.com", ""},
	{"xn--mail-.example", "", HostIDNA},
	{"xn--.example", "", HostLabel},
	{"xn--a.example", "", HostIDNA},
	{"xn--bcher-kva\u00ad.example", "", HostControl},
	{"\u05d0a.example", "", HostIDNA}, // breaks the bidi rule

	// Empty, too long, misplaced hyphens.
	{"", "", HostEmpty},
	{".", "", HostEmpty},
	{"..", "", HostLabel},
	{".example.com", "", HostLabel},
	{"mail..example.com", "", HostLabel},
	{"mail.example.com..", "", HostLabel},
	{"mail.example.com.。", "", HostLabel},
	{"-mail.example.com", "", HostLabel},
	{"mail-.example.com", "", HostLabel},
	{strings.Repeat("a", 64) + ".example", "", HostLabel},
	{strings.Repeat("a", 63) + ".example", strings.Repeat("a", 63) + ".example", ""},
	{strings.Repeat("a.", 127) + "a", "", HostTooLong},
	{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a", ""},
	{strings.Repeat("a.", 126) + "a.", strings.Repeat("a.", 126) + "a", ""},
	{strings.Repeat("a", 256), "", HostTooLong},

	// Credentials.
	{";40;STA01;ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "", HostCredential},
	{";", "", HostCredential},
	{"；40", "", HostCharacter},

	// Bytes that have no business in a name.
	{"mail.example.com\x00.evil.example", "", HostControl},
	{"\x00", "", HostControl},
	{"mail\r\n.example.com", "", HostBlank},
	{"mail\x1b.example.com", "", HostControl},
	{"mail\x7f.example.com", "", HostControl},
	{"mail\u0085.example.com", "", HostBlank},
	{"mail\u202e.example.com", "", HostControl},
	{"mail\u200b.example.com", "", HostControl},
	{"\ufeffmail.example.com", "", HostControl},
	{"mail\u200d.example.com", "", HostIDNA}, // a joiner where no script wants one
	{" mail.example.com", "", HostBlank},
	{"mail.example.com ", "", HostBlank},
	{"mail\u00a0.example.com", "", HostBlank},
	{"mail\u3000.example.com", "", HostBlank},
	{"mail\xff.example.com", "", HostEncoding},
	{"mail\xc0\xae.example.com", "", HostEncoding}, // an overlong dot
	{"mail.example.com/", "", HostCharacter},
	{"mail.example.com／", "", HostCharacter},
	{"user@mail.example.com", "", HostCharacter},
	{"mail.example.com#", "", HostCharacter},
	{"mail.example.com?", "", HostCharacter},
	{"mail.example.com\\", "", HostCharacter},
	{"mail.example.com:443", "", HostCharacter},
	{"*.example.com", "", HostCharacter},
	{"mail%2eexample.com", "", HostZone},
	{"mail％2eexample.com", "", HostZone},

	// IPv4 in disguise.
	{"127.1", "", HostNumeric},
	{"127.0.1", "", HostNumeric},
	{"2130706433", "", HostNumeric},
	{"017700000001", "", HostNumeric},
	{"0177.0.0.1", "", HostNumeric},
	{"0x7f000001", "", HostNumeric},
	{"0x7f.1", "", HostNumeric},
	{"0X7F.0.0.0X1", "", HostNumeric},
	{"0x", "", HostNumeric},
	{"127.0.0.0x", "", HostNumeric},
	{"127.0.0.01", "", HostNumeric},
	{"127.0.0.08", "", HostNumeric},
	{"127.0.0.1.", "", HostNumeric},
	{"127.0.0.256", "", HostNumeric},
	{"1.2.3.4.5", "", HostNumeric},
	{"mail.example.1", "", HostNumeric},
	{"0", "", HostNumeric},
	{"１２７．０．０．１", "", HostNumeric},
	{"127。0。0。1", "", HostNumeric},
	{"①②⑦.⓪.⓪.①", "", HostNumeric},
	{"𝟏𝟐𝟕.𝟎.𝟎.𝟏", "", HostNumeric},
	{"０ｘ７ｆ.1", "", HostNumeric},
	{"⒈2.3.4", "", HostIDNA},
	{"127.0.0.1\x00", "", HostControl},
	{" 127.0.0.1", "", HostBlank},
	{"127.0.0.1%lo", "", HostZone},
	{"+127.0.0.1", "", HostCharacter},

	// IPv6 never comes as a name.
	{"::1", "", HostCharacter},
	{"[::1]", "", HostBracket},
	{"::ffff:127.0.0.1", "", HostCharacter},
	{"[::ffff:7f00:1]", "", HostBracket},
	{"fe80::1%eth0", "", HostZone},
	{"［::1］", "", HostBracket},
}

func TestParseHostTricks(t *testing.T) {
	for _, trick := range hostTricks {
		host, err := ParseHost(trick.sent)
		var refused *HostError
		if errors.As(err, &refused) {
			if refused.Reason != trick.reason {
				t.Errorf("%q: refused as %s, want %q", trick.sent, refused.Reason, trick.reason)
			}
			if host != (Host{}) {
				t.Errorf("%q: refused, and yet a host %v", trick.sent, host)
			}
			continue
		}
		if err != nil || trick.reason != "" || host.String() != trick.want {
			t.Errorf("%q: %q, %v; want %q, %q", trick.sent, host, err, trick.want, trick.reason)
		}
	}
}

func TestParseHostTellsAddressesFromNames(t *testing.T) {
	host, err := ParseHost("192.0.2.7")
	if err != nil || host.Name != "" || host.Addr != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("a dotted quad gives %+v, %v", host, err)
	}
}

func TestAddrHost(t *testing.T) {
	for _, c := range []struct {
		addr netip.Addr
		want string
	}{
		{netip.MustParseAddr("192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("::ffff:192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("2001:db8::7"), "2001:db8::7"},
		{netip.MustParseAddr("fe80::7%eth0"), ""},
		{netip.Addr{}, ""},
	} {
		host, err := AddrHost(c.addr)
		var refused *HostError
		if c.want == "" {
			if !errors.As(err, &refused) || refused.Reason != HostAddress {
				t.Errorf("%v: %v, %v; want a refusal", c.addr, host, err)
			}
		} else if err != nil || host.Name != "" || host.Addr.String() != c.want {
			t.Errorf("%v: %v, %v; want %s", c.addr, host, err, c.want)
		}
	}
}

func TestHostReasonsHaveTexts(t *testing.T) {
	seen := make(map[string]HostReason)
	for _, trick := range hostTricks {
		if trick.reason == "" {
			continue
		}
		text := trick.reason.Text()
		if other, taken := seen[text]; taken && other != trick.reason {
			t.Errorf("%s and %s share the text %q", other, trick.reason, text)
		}
		seen[text] = trick.reason
	}
}

func FuzzParseHost(f *testing.F) {
	for _, trick := range hostTricks {
		f.Add(trick.sent)
	}
	for _, trick := range readCorpus(f, "testdata/tricks.txt", 120) {
		f.Add(trick.value)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		host, err := ParseHost(sent)
		if err != nil {
			var refused *HostError
			if !errors.As(err, &refused) {
				t.Fatalf("%q: not a *HostError: %v", sent, err)
			}
			if err.Error() != "host refused: "+refused.Reason.Text() || refused.Reason.Text() == HostReason("").Text() {
				t.Fatalf("%q: unknown reason %q", sent, refused.Reason)
			}
			return
		}
		if (host.Name != "") == host.Addr.IsValid() {
			t.Fatalf("%q: not exactly one of name and address: %+v", sent, host)
		}
		if again, err := ParseHost(host.String()); err != nil || again != host {
			t.Fatalf("%q gives %q, which gives %q, %v", sent, host, again, err)
		}
		if host.Addr.IsValid() {
			if host.Addr.String() != sent {
				t.Fatalf("%q became the address %v", sent, host.Addr)
			}
			return
		}
		if strings.ContainsFunc(sent, func(r rune) bool { return unicode.In(r, invisible...) && r != '\u200c' && r != '\u200d' }) {
			t.Fatalf("%+q became %q, and shows less than it holds", sent, host)
		}
		if len(host.Name) > 253 || strings.Trim(host.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Fatalf("%q became the name %q", sent, host.Name)
		}
		if looksLikeAton(host.Name) {
			t.Fatalf("%q became %q, which inet_aton takes", sent, host.Name)
		}
	})
}

// looksLikeAton is inet_aton's grammar, read off its manual: one to four
// numbers in C notation, separated by dots. Ranges are ignored, which only
// makes it catch more.
func looksLikeAton(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return false
	}
	for _, part := range parts {
		digits := "0123456789"
		if strings.HasPrefix(part, "0x") {
			part, digits = part[2:], "0123456789abcdef"
		} else if part == "" {
			return false
		}
		if strings.Trim(part, digits) != "" {
			return false
		}
	}
	return true
}
