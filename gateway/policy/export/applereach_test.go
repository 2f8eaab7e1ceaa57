package export

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

// TestAppleRelayLists has what is worth knowing of the four lists, a line each.
func TestAppleRelayLists(t *testing.T) {
	for _, c := range []struct {
		tunnel, services string
		domains          bool
		// The lists: MatchDomains, MatchFQDNs, ExcludedDomains, ExcludedFQDNs.
		want string
	}{
		{"", "mail.test:443", false, "[] [] [] [gw.e.test]"},
		{"off", "mail.test:443", false, "[] [] [] [gw.e.test]"},
		{"off", "mail.test:443", true, "[] [] [gw.e.test] []"},
		{"off", "mail.gw.e.test:443", true, "[] [] [] []"},
		{"off", "*.gw.e.test:443", true, "[] [] [] []"},
		{"off", "*.e.test:443", true, "[] [] [] []"},

		{"on", "mail.test:443,mail.test:80", false, "[] [mail.test] [] []"},
		{"on", "mail.test:443,*.mail.test:443", false, "[mail.test] [mail.test] [] []"},
		{"on", "mail.test:443,*.corp.test:443", false, "[corp.test] [mail.test] [] [corp.test]"},
		{"on", "*.corp.test:443,*.a.corp.test:443", false, "[corp.test a.corp.test] [] [] [corp.test]"},
		{"on", "gw.e.test:25,mail.test:443", false, "[] [mail.test] [] []"},
		{"on", "*.e.test:443", false, "[e.test] [] [] [e.test gw.e.test]"},
		{"on", "*.gw.e.test:443", false, "[gw.e.test] [] [] [gw.e.test]"},
		{"on", "mail.test:443,192.0.2.7:443", false, "[] [mail.test] [] []"},
		{"on", "mail.test:443,*.mail.test:443", true, "[mail.test] [] [] []"},
		{"on", "e.test:443", true, "[e.test] [] [gw.e.test] []"},
		{"on", "*.e.test:443", true, "[e.test] [] [] []"},

		{"reverse", "mail.test:443,*.corp.test:443", false, "[] [] [corp.test] [mail.test gw.e.test]"},
		{"reverse", "mail.test:443,*.corp.test:443", true, "[] [] [mail.test corp.test gw.e.test] []"},
		{"reverse", "", false, "[] [] [] [gw.e.test]"},
	} {
		s := least()
		s.Gateway, s.Spec.SplitTunnel, s.Spec.Services = "gw.e.test:443", c.tunnel, c.services
		file, _ := appleFile(t, s, Relay{Domains: c.domains})
		p := readProfile(t, file)
		if got := fmt.Sprint(p.matchDomains, p.matchFQDNs, p.excludedDomains, p.excludedFQDNs); got != c.want {
			t.Errorf("split tunnel %q, list %q, domains %t: %s, want %s", c.tunnel, c.services, c.domains, got, c.want)
		}
	}
}

// TestAppleRelaySends compares, for settings of every kind, what a device sends
// by the profile with what the policy lists.
func TestAppleRelaySends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := random(t)
		if rapid.Bool().Draw(t, "crowded") {
			crowd(t, &s)
		}
		relay := Relay{HTTP3: rapid.Bool().Draw(t, "http3"), Domains: rapid.Bool().Draw(t, "domains"), Ticket: "ABC"}
		file, _, err := AppleRelay(s, relay)
		n, normalErr := s.Normal()
		if normalErr != nil {
			t.Fatal(normalErr)
		}
		l, listErr := listedOf(&n)
		if listErr != nil {
			t.Fatal(listErr)
		}
		own, _, _ := strings.Cut(n.Gateway, ":")
		if told := n.Spec.Console.ServicesGateway; told != "" {
			own, _, _ = strings.Cut(told, ":")
		}
		if err != nil {
			empty := n.Spec.SplitTunnel == "on" && len(l.below) == 0 && strings.Trim(strings.Join(l.exact, ""), own) == ""
			if n.Spec.NetworkAccess != "unrestricted" && !empty {
				t.Fatal(err)
			}
			return
		}
		p := readProfile(t, file)
		if _, there := p.relay["HTTP3RelayURL"]; there != relay.HTTP3 {
			t.Fatalf("HTTP3RelayURL there: %t", there)
		}
		for _, name := range names(l, own) {
			wantSent(t, &n, l, p, name, own, relay.Domains)
		}
	})
}

// crowd lists names that lie below one another and around the gateway's own.
func crowd(t *rapid.T, s *Settings) {
	pool := []string{"a.test", "b.a.test", "c.b.a.test", "gw.a.test", "x.gw.a.test", "other.test"}
	entry := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "*."}).Draw(t, "star") + rapid.SampledFrom(pool).Draw(t, "name") + ":443"
	})
	list := rapid.SliceOfNDistinct(entry, 0, 5, rapid.ID[string]).Draw(t, "crowd")
	s.Spec.Services, s.Spec.WebDomains, s.Spec.Console.ServicesGateway = strings.Join(list, ","), nil, ""
	s.Gateway = rapid.SampledFrom(pool).Draw(t, "own") + ":443"
}

// names are those of a policy, and their neighbours.
func names(l *listed, own string) []string {
	all := []string{own, "below." + own, "stranger.example.org", "invalid"}
	for _, name := range append(append([]string{}, l.exact...), l.below...) {
		all = append(all, name, "x."+name, "y.x."+name, "x"+name)
		if _, above, nested := strings.Cut(name, "."); nested {
			all = append(all, above)
		}
	}
	return all
}

// wantSent judges one name. The policy's own matcher says what is listed.
func wantSent(t rapid.TB, s *Settings, l *listed, p appleProfile, name, own string, domains bool) {
	t.Helper()
	compiled, err := policy.Compile(s.Name, s.Spec)
	if err != nil {
		t.Fatal(err)
	}
	isListed := len(compiled.PortsOf(policy.Host{Name: name})) > 0
	neighbour := underAny(name, l.below) || domains && underAny(name, l.exact)
	sent := p.sends(name)
	switch s.Spec.SplitTunnel {
	case "on":
		switch {
		case name == own && domains && neighbour: // may be lost to what is listed below it
		case name == own && sent:
			t.Fatalf("the gateway's own name is sent")
		case name != own && isListed && !sent:
			t.Fatalf("%s is listed, and not sent", name)
		case !isListed && sent && !(domains && neighbour):
			t.Fatalf("%s is not listed, and sent", name)
		}
	case "reverse":
		switch {
		case (isListed || name == own) && sent:
			t.Fatalf("%s is sent", name)
		case !isListed && name != own && !sent && !neighbour && !(domains && isUnder(name, own)):
			t.Fatalf("%s is not sent", name)
		}
	default:
		switch {
		case name != own && isListed && !sent:
			t.Fatalf("%s is listed, and not sent", name)
		case name == own && sent && !domains:
			t.Fatalf("the gateway's own name is sent")
		case !isUnder(name, own) && !sent:
			t.Fatalf("%s is not sent", name)
		}
	}
}
