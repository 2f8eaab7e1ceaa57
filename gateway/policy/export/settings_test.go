package export

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

func TestNormal(t *testing.T) {
	s := sample()
	s.Spec.Services = "MAIL.example.com.:443,bücher.example:443"
	s.Spec.ExchangeServers = []string{"Mail.Example.com."}
	s.Spec.Console.TrustedADFS = []string{" ADFS.example.com "}
	s.Gateway, s.DNS, s.TicketHours = "GW.example.com.:443", "DNS.sallyport.internal:53", 0
	s.Suffixes, s.Pushreg = []string{"Example.COM."}, []string{}
	before := snapshot(t, s)
	adfs := slices.Clone(s.Spec.Console.TrustedADFS)
	n, err := s.Normal()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{n.Spec.Services, n.Spec.ExchangeServers[0], n.Spec.Console.TrustedADFS[0], n.Gateway, n.DNS, n.Suffixes[0]}
	want := []string{"mail.example.com:443,xn--bcher-kva.example:443", "mail.example.com", "adfs.example.com", "gw.example.com:443", "dns.sallyport.internal:53", "example.com"}
	if !slices.Equal(got, want) || n.TicketHours != 168 || n.Pushreg != nil {
		t.Errorf("got %q, %d hours, %v; want %q", got, n.TicketHours, n.Pushreg, want)
	}
	if after := snapshot(t, n); after != before {
		t.Errorf("snapshot %s became %s", before, after)
	}
	if !slices.Equal(s.Spec.Console.TrustedADFS, adfs) {
		t.Error("the caller's own list was changed")
	}
}

func TestNormalIsNormal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once, err := random(t).Normal()
		if err != nil {
			t.Fatal(err)
		}
		twice, err := once.Normal()
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v: got %+v, want %+v", err, twice, once)
		}
	})
}

func TestNormalMistakes(t *testing.T) {
	for _, c := range []struct {
		key   string
		entry int
		spoil func(*Settings)
	}{
		{"name", 0, func(s *Settings) { s.Name = "a b" }},
		{"match.groups", 2, func(s *Settings) { s.Match.Groups = []string{"a", "b\x00"} }},
		{"match.groups", 1, func(s *Settings) { s.Match.Groups = []string{"a\nb"} }},
		{"match.groups", 1, func(s *Settings) { s.Match.Groups = []string{"\xff"} }},
		{"match.groups", 1, func(s *Settings) { s.Match.Groups = []string{"\ufffd"} }},
		{"match.groups", 1, func(s *Settings) { s.Match.Groups = []string{"\uffff"} }},
		{"match.apps", 1, func(s *Settings) { s.Match.Apps = []string{strings.Repeat("a", 257)} }},
		{"match.apps", policy.MaxHosts + 1, func(s *Settings) { s.Match.Apps = make([]string, policy.MaxHosts+1) }},
		{"policy.network_access", 0, func(s *Settings) { s.Spec.NetworkAccess = "any" }},
		{"policy.background_services", 0, func(s *Settings) { s.Spec.Services = "mail.example.com" }},
		{"policy.exchange_server", 2, func(s *Settings) { s.Spec.ExchangeServers = []string{"a.example", "b c"} }},
		{"policy.web_domains", 1, func(s *Settings) { s.Spec.WebDomains = []string{"www.example.com"} }},
		{"policy.trusted_adfs", 1, func(s *Settings) { s.Spec.Console.TrustedADFS = []string{"</x>"} }},
		{"policy.services_gateway", 0, func(s *Settings) { s.Spec.Console.ServicesGateway = "gateway" }},
		{"gateway", 0, func(s *Settings) { s.Gateway = "" }},
		{"gateway", 0, func(s *Settings) { s.Gateway = "*.example.com:443" }},
		{"gateway", 0, func(s *Settings) { s.Gateway = "a.example:443,b.example:443" }},
		{"gateway", 0, func(s *Settings) { s.Gateway = `x"><y:443` }},
		{"ticket_hours", 0, func(s *Settings) { s.TicketHours = -1 }},
		{"ticket_hours", 0, func(s *Settings) { s.TicketHours = 8761 }},
		{"suffixes", 2, func(s *Settings) { s.Suffixes = []string{"example.com", "192.0.2.1"} }},
		{"dns", 0, func(s *Settings) { s.DNS = "dns.sallyport.internal" }},
		{"pushreg", 1, func(s *Settings) { s.Pushreg = []string{"pushreg.example"} }},
		{"version", 0, func(s *Settings) { s.Version = strings.Repeat("1", 129) }},
		{"version", 0, func(s *Settings) { s.Version = "1\x7f" }},
	} {
		s := sample()
		c.spoil(&s)
		for name, form := range forms {
			file, err := form.write(s)
			if err == nil {
				t.Errorf("%s: wrote %s\n%s", c.key, name, file)
				continue
			}
			wantError(t, err, c.key)
			var e *Error
			if errors.As(err, &e) && (c.entry > 0 || e.Entry > 1) && e.Entry != c.entry {
				t.Errorf("%s: entry %d, want %d", c.key, e.Entry, c.entry)
			}
		}
	}
}
