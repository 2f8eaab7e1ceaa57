package policy

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

// trick is a row of a corpus in testdata.
type trick struct {
	line                int
	kind, value, expect string
}

// readCorpus reads a corpus strictly: a row that is written wrongly would test
// nothing.
func readCorpus(t testing.TB, file string, atLeast int) []trick {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tricks []trick
	seen := make(map[[2]string]bool)
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 4 || !strings.HasPrefix(columns[3], "# ") {
			t.Fatalf("%s:%d: not four columns", file, i+1)
		}
		value, err := strconv.Unquote(columns[1])
		if err != nil {
			t.Fatalf("%s:%d: %v", file, i+1, err)
		}
		if key := [2]string{columns[0], value}; seen[key] {
			t.Errorf("%s:%d: repeated", file, i+1)
		} else {
			seen[key] = true
		}
		tricks = append(tricks, trick{i + 1, columns[0], value, columns[2]})
	}
	if len(tricks) < atLeast {
		t.Fatalf("%s has %d rows", file, len(tricks))
	}
	return tricks
}

// judged says what becomes of a destination, in the words of the corpus.
func judged(t testing.TB, p *Policy, k trick) string {
	t.Helper()
	var host Host
	var err error
	switch k.kind {
	case "name":
		host, err = ParseHost(k.value)
	case "ip4", "ip6":
		addr := netip.MustParseAddr(k.value)
		if addr.Is4() != (k.kind == "ip4") {
			t.Errorf("line %d: %s is no %s", k.line, k.value, k.kind)
		}
		host, err = AddrHost(addr)
	default:
		t.Fatalf("line %d: unknown kind %q", k.line, k.kind)
	}
	var refused *HostError
	if errors.As(err, &refused) {
		return "host_" + string(refused.Reason)
	}
	if err != nil {
		t.Fatalf("line %d: not a *HostError: %v", k.line, err)
	}
	d := p.Decide(Query{Host: host, Port: 443})
	if d.Allow {
		return "same:" + d.Service.Name
	}
	return string(d.Reason)
}

func TestTricks(t *testing.T) {
	p := compile(t, "mail.example.com:443")
	for _, k := range readCorpus(t, "testdata/tricks.txt", 120) {
		if k.kind == "name" && len(k.value) > 255 {
			t.Errorf("line %d: no carrier could send it", k.line)
		}
		if got := judged(t, p, k); got != k.expect {
			t.Errorf("line %d: %s %q: %s, want %s", k.line, k.kind, k.value, got, k.expect)
		}
	}
}

// TestTricksWithWildcard lists much more, and expects every refusal of form to
// stay: what is no host must not become one by a wide list.
func TestTricksWithWildcard(t *testing.T) {
	p := compile(t, "*.example.com:443,mail.example.com:443,*.evil.example:443")
	for _, k := range readCorpus(t, "testdata/tricks.txt", 120) {
		if got := judged(t, p, k); got != k.expect && k.expect != string(NotListed) {
			t.Errorf("line %d: %s %q: %s, want %s", k.line, k.kind, k.value, got, k.expect)
		}
	}
}

func TestLyingAnswers(t *testing.T) {
	rules := NewAddressRules(AddressConfig{
		Pinned: map[string][]netip.Addr{"pinned.example.com": {netip.MustParseAddr("127.0.0.1")}},
		Zones:  []Zone{{"zone.example.com", []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}},
	})
	for _, k := range readCorpus(t, "testdata/answers.txt", 60) {
		addr := netip.MustParseAddr(k.value)
		if addr.Is4() != (k.kind == "ip4") {
			t.Errorf("line %d: %s is no %s", k.line, k.value, k.kind)
		}
		got := "ok"
		var refused *AddressError
		if err := rules.Check("mail.example.com", netip.AddrPortFrom(addr, 443)); errors.As(err, &refused) {
			got = "address_" + refused.Class.String()
		} else if err != nil {
			t.Fatalf("line %d: not an *AddressError: %v", k.line, err)
		}
		if got != k.expect {
			t.Errorf("line %d: %s: %s, want %s", k.line, k.value, got, k.expect)
		}
	}
}
