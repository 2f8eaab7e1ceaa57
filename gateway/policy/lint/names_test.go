package lint_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
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
	list := policy.Spec{Services: "www.example.com:443,mail.example.com:443"}
	gone := &net.DNSError{Err: "no such name", Name: "mail.example.com", IsNotFound: true}
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
			[]string{"mail.example.com is not resolved by the gateway: no such name;"},
		}, {
			"no address", lint.Looked{},
			[]string{"name-not-resolved"}, []string{"it has no address"},
		}, {
			"no answer", lint.Looked{InsideErr: &net.DNSError{Err: "10.0.0.53: no answer", IsTimeout: true}, Outside: addrs("198.41.0.4")},
			[]string{"name-not-resolved"},
			[]string{"no DNS server answered in time (10.0.0.53: no answer)", "public DNS says 198.41.0.4"},
		}, {
			"another failure", lint.Looked{InsideErr: errors.New("bad\x1b[31m answer")},
			[]string{"name-not-resolved"}, []string{`by the gateway: bad\x1b[31m answer;`},
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
			// Beside it stands a name that is as it should be.
			good := lint.Looked{Name: "www.example.com", Inside: addrs("198.41.0.5"), Outside: addrs("198.41.0.5")}
			found := lint.CheckNames(list, []lint.Looked{c.look, good})
			if got := ruleIDs(found); !slices.Equal(got, c.rules) {
				t.Fatalf("found %q: %v", got, found)
			}
			var text strings.Builder
			for _, f := range found {
				text.WriteString(f.String() + "\n")
				if f.Field != "background_services" || f.Entry != 2 || f.Column != 21 {
					t.Errorf("%v stands at entry %d, column %d", f, f.Entry, f.Column)
				}
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
	found := lint.CheckNames(policy.Spec{}, both)
	slices.Reverse(both)
	if again := lint.CheckNames(policy.Spec{}, both); !slices.Equal(found, again) || len(found) != 2 {
		t.Errorf("the order of names matters: %v and %v", found, again)
	}
}

// A finding about a web domain points there.
func TestCheckWebDomains(t *testing.T) {
	s := policy.Spec{
		NetworkAccess: "web_sso", Services: "mail.example.com:443,web.example.com:80,web.example.com:443",
		WebDomains: []string{"*.example.net", "www.example.net", "web.example.com"},
	}
	found := lint.CheckNames(s, []lint.Looked{{Name: "www.example.net"}, {Name: "web.example.com"}})
	if len(found) != 2 || found[0].Entry != 2 || found[1].Field != "web_domains" || found[1].Index != 1 {
		t.Errorf("found %+v", found)
	}
}

// Servers that answer nothing are told once, and not for each name.
func TestMuteServers(t *testing.T) {
	mute := &net.DNSError{Err: "10.0.0.53: no answer", IsTimeout: true}
	lost := &net.DNSError{Err: "10.0.0.53: REFUSED", IsTemporary: true}
	circle := &net.DNSError{Err: "the aliases run in a circle"}
	gone := &net.DNSError{Err: "no such name", IsNotFound: true}
	good := addrs("198.41.0.4")
	for name, c := range map[string]struct {
		looked []lint.Looked
		rules  []string
		says   string
	}{
		"nothing listed":         {nil, nil, ""},
		"none inside":            {[]lint.Looked{{InsideErr: mute, OutsideErr: mute}, {InsideErr: lost, Outside: good}}, []string{"name-not-resolved"}, "no name can be resolved: no DNS server answered in time (10.0.0.53: no answer)"},
		"none refuses otherwise": {[]lint.Looked{{InsideErr: lost}}, []string{"name-not-resolved"}, "no name can be resolved: no DNS server gave an answer (10.0.0.53: REFUSED)"},
		"an answer, nonsense":    {[]lint.Looked{{InsideErr: circle}}, []string{"name-not-resolved"}, "a.example.com is not resolved by the gateway: the aliases run in a circle"},
		"a pinned one beside":    {[]lint.Looked{{Inside: good, Pinned: true}, {InsideErr: mute}}, []string{"name-not-resolved"}, "no name can be resolved"},
		"only pinned ones":       {[]lint.Looked{{Inside: good, Outside: good, Pinned: true}}, nil, ""},
		"one answers":            {[]lint.Looked{{InsideErr: mute}, {InsideErr: gone}}, []string{"name-not-resolved", "name-not-resolved"}, "a.example.com is not resolved"},
		"none outside":           {[]lint.Looked{{Inside: good, OutsideErr: mute}, {Inside: good, OutsideErr: lost}}, []string{"names-not-compared"}, "public DNS gave no answer: no DNS server answered in time"},
		"one of two outside":     {[]lint.Looked{{Inside: good, OutsideErr: mute}, {Inside: good, Outside: good}}, nil, ""},
		"outside knows no name":  {[]lint.Looked{{Inside: good, OutsideErr: gone}}, nil, ""},
	} {
		var spec policy.Spec
		for i := range c.looked {
			c.looked[i].Name = string(rune('a'+i)) + ".example.com"
			spec.Services = strings.TrimPrefix(spec.Services+","+c.looked[i].Name+":443", ",")
		}
		var rules, text []string
		for _, f := range lint.CheckNames(spec, c.looked) {
			rules, text = append(rules, f.Rule), append(text, f.String())
		}
		if !slices.Equal(rules, c.rules) || !strings.Contains(strings.Join(text, "\n"), c.says) {
			t.Errorf("%s: %q", name, text)
		}
	}
}
