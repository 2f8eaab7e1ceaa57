package lint_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy/lint"
)

func addrs(text ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range text {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestCheckNames(t *testing.T) {
	gone := &net.DNSError{Err: "no such host", Name: "mail.example.com", IsNotFound: true}
	for _, c := range []struct {
		name  string
		look  lint.Looked
		rules []string
		says  []string
	}{
		{"same on both sides", lint.Looked{Inside: addrs("198.41.0.4"), Outside: addrs("198.41.0.4")}, nil, nil},
		{"same, in another order and form", lint.Looked{Inside: addrs("198.41.0.4", "2001:500::1"), Outside: addrs("2001:500::1", "::ffff:198.41.0.4")}, nil, nil},
		{"known inside only", lint.Looked{Inside: addrs("10.0.0.25"), OutsideErr: gone}, nil, nil},
		{"outside is silent", lint.Looked{Inside: addrs("10.0.0.25"), OutsideErr: errors.New("refused")}, nil, nil},
		{
			"no such name", lint.Looked{InsideErr: gone, OutsideErr: gone},
			[]string{"name-not-resolved"},
			[]string{"mail.example.com is not resolved", "there is no such name"},
		}, {
			"no address", lint.Looked{},
			[]string{"name-not-resolved"}, []string{"it has no address"},
		}, {
			"no answer", lint.Looked{InsideErr: &net.DNSError{IsTimeout: true}, Outside: addrs("198.41.0.4")},
			[]string{"name-not-resolved"},
			[]string{"no DNS server answered in time", "public DNS says 198.41.0.4"},
		}, {
			"another failure", lint.Looked{InsideErr: errors.New("bad\x1b[31m answer")},
			[]string{"name-not-resolved"}, []string{`the look-up failed, bad\x1b[31m answer`},
		}, {
			"differs", lint.Looked{Inside: addrs("10.0.0.26", "10.0.0.25"), Outside: addrs("198.41.0.4")},
			[]string{"name-differs-outside"},
			[]string{"10.0.0.25 and 10.0.0.26 inside", "198.41.0.4 outside", "remote", "local", "both"},
		}, {
			"may not be dialled", lint.Looked{Inside: addrs("10.0.0.25"), Refused: addrs("10.0.0.25"), Why: "a private\x07 address", OutsideErr: gone},
			[]string{"name-leads-nowhere"}, []string{"leads to 10.0.0.25", `a private\a address`, "allow the network"},
		}, {
			"one may be dialled", lint.Looked{Inside: addrs("10.0.0.25", "198.41.0.4"), Refused: addrs("10.0.0.25"), Why: "private", OutsideErr: gone},
			nil, nil,
		}, {
			"private outside", lint.Looked{Inside: addrs("10.0.0.25"), Outside: addrs("10.0.0.25")},
			[]string{"name-private-outside"}, []string{"10.0.0.25 in public DNS"},
		}, {
			"loopback outside, and differs", lint.Looked{Inside: addrs("10.0.0.25"), Outside: addrs("127.0.0.1")},
			[]string{"name-differs-outside", "name-private-outside"}, []string{"127.0.0.1 in public DNS"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.look.Name = "mail.example.com"
			found := lint.CheckNames([]lint.Looked{c.look})
			if got := ruleIDs(found); !slices.Equal(got, c.rules) {
				t.Fatalf("found %q: %v", got, found)
			}
			var text strings.Builder
			for _, f := range found {
				text.WriteString(f.String() + "\n")
				i := slices.IndexFunc(lint.Rules(), func(r lint.Rule) bool { return r.ID == f.Rule })
				if i < 0 || !slices.Contains(lint.Rules()[i].Severities, f.Severity) {
					t.Errorf("%s as %s is not among the rules", f.Rule, f.Severity)
				}
			}
			for _, part := range c.says {
				if !strings.Contains(text.String(), part) {
					t.Errorf("%q is not in %s", part, text.String())
				}
			}
		})
	}
	both := []lint.Looked{{Name: "b.example.com"}, {Name: "a.example.com"}}
	found := lint.CheckNames(both)
	slices.Reverse(both)
	if again := lint.CheckNames(both); !slices.Equal(found, again) || len(found) != 2 {
		t.Errorf("the order of names matters: %v and %v", found, again)
	}
}
