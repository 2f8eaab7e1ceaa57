package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func compile(t testing.TB, services string) *Policy {
	t.Helper()
	p, err := Compile("default", Spec{Services: services})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func host(t testing.TB, s string) Host {
	t.Helper()
	h, err := ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDecide(t *testing.T) {
	p := compile(t, "mail.example.com:443,*.example.com:443,*.eu.example.com:443,192.0.2.7:25,mail.example.com:80")
	narrow, err := CompileNarrowing([]string{"mail.example.com:443", "*.eu.example.com:443", "other.example:443"})
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := CompileNarrowing([]string{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host   string
		port   uint16
		narrow *Narrowing
		rule   string
		reason Reason
	}{
		{"mail.example.com", 443, nil, "default/services[1]", Listed},
		{"mail.example.com", 80, nil, "default/services[5]", Listed},
		{"mail.example.com", 8443, nil, "default/deny", NotListed},
		{"mail.example.com", 0, nil, "default/deny", NotListed},
		{"a.example.com", 443, nil, "default/services[2]", Listed},
		{"b.a.example.com", 443, nil, "default/services[2]", Listed},
		{"a.eu.example.com", 443, nil, "default/services[3]", Listed},
		{"eu.example.com", 443, nil, "default/services[2]", Listed},
		{"example.com", 443, nil, "default/deny", NotListed},
		{"notexample.com", 443, nil, "default/deny", NotListed},
		{"com", 443, nil, "default/deny", NotListed},
		{"mail.example.com.evil.example", 443, nil, "default/deny", NotListed},
		{"a.example.com", 80, nil, "default/deny", NotListed},
		{"192.0.2.7", 25, nil, "default/services[4]", Listed},
		{"192.0.2.7", 443, nil, "default/deny", AddressNotListed},
		{"192.0.2.8", 25, nil, "default/deny", AddressNotListed},

		{"mail.example.com", 443, narrow, "default/services[1]", Listed},
		{"mail.example.com", 80, narrow, "default/narrowed", Narrowed},
		{"a.eu.example.com", 443, narrow, "default/services[3]", Listed},
		{"a.example.com", 443, narrow, "default/narrowed", Narrowed},
		{"192.0.2.7", 25, narrow, "default/narrowed", Narrowed},
		{"other.example", 443, narrow, "default/deny", NotListed}, // a ticket never widens
		{"mail.example.com", 443, nothing, "default/narrowed", Narrowed},
	} {
		d := p.Decide(Query{Host: host(t, c.host), Port: c.port, Narrow: c.narrow})
		if d.Rule != c.rule || d.Reason != c.reason || d.Allow != (c.reason == Listed) {
			t.Errorf("%s:%d: %+v, want %s, %s", c.host, c.port, d, c.rule, c.reason)
		}
		if (d.Service != Service{}) != d.Allow {
			t.Errorf("%s:%d: allow %v with service %v", c.host, c.port, d.Allow, d.Service)
		}
	}
}

func TestDecideRefusesHalfMadeHosts(t *testing.T) {
	p := compile(t, "mail.example.com:443,192.0.2.7:443")
	listed := netip.MustParseAddr("192.0.2.7")
	for _, h := range []Host{
		{},
		{Name: "mail.example.com", Addr: listed},
		{Name: "mail.example.com", Addr: netip.MustParseAddr("192.0.2.8")},
		{Addr: netip.MustParseAddr("2001:db8::1")},
	} {
		if d := p.Decide(Query{Host: h, Port: 443}); d.Allow {
			t.Errorf("%+v: %+v", h, d)
		}
	}
	// The mapped form is the same address, even where AddrHost was forgotten.
	if d := p.Decide(Query{Host: Host{Addr: netip.MustParseAddr("::ffff:192.0.2.7")}, Port: 443}); !d.Allow {
		t.Errorf("mapped: %+v", d)
	}
}

func TestNarrowing(t *testing.T) {
	if n, err := CompileNarrowing(nil); n != nil || err != nil {
		t.Errorf("no claim: %v, %v", n, err)
	}
	for _, entry := range []string{"mail.example.com", "a.example:443,b.example:443", " a.example:443", ""} {
		var mistake *ListError
		if _, err := CompileNarrowing([]string{"ok.example:1", entry}); !errors.As(err, &mistake) || mistake.Entry != 2 {
			t.Errorf("%q: %v, want a *ListError about entry 2", entry, err)
		}
	}
	if _, err := CompileNarrowing(slices.Repeat([]string{"a.example:1"}, maxNarrowing+1)); err == nil {
		t.Error("too many services were taken")
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  Spec
		field string
	}{
		{"", Spec{}, "name"},
		{"a/b", Spec{}, "name"},
		{strings.Repeat("a", 65), Spec{}, "name"},
		{"p", Spec{NetworkAccess: "open"}, "network_access"},
		{"p", Spec{Services: "a.example"}, "background_services"},
		{"p", Spec{ExchangeServers: []string{"ok.example", "a.example:443"}}, "exchange_server"},
		{"p", Spec{EWSHost: "a..example"}, "ews_host"},
		{"p", Spec{PushRegion: "mars"}, "push_region"},
		{"p", Spec{SplitTunnel: "false"}, "split_tunnel"},
		{"p", Spec{SplitDNS: "none"}, "split_dns"},
		{"p", Spec{WebDomains: []string{"a.example"}}, "web_domains"},
		{"p", Spec{NetworkAccess: "tunneled", WebDomains: []string{"a.example"}}, "web_domains"},
		{"p", Spec{NetworkAccess: "unrestricted", WebDomains: []string{"a.example"}}, "web_domains"},
		{"p", Spec{NetworkAccess: "unrestricted", Services: "a.example"}, "background_services"},
		{"p", Spec{ExchangeServers: slices.Repeat([]string{"a.example"}, MaxHosts+1)}, "exchange_server"},
	} {
		p, err := Compile(c.name, c.spec)
		var bad *SpecError
		if p != nil || !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%q %+v: %v, want an error about %s", c.name, c.spec, err, c.field)
		}
	}
	var refused *HostError
	var bad *SpecError
	_, err := Compile("p", Spec{ExchangeServers: []string{"ok.example", "127.1"}})
	if !errors.As(err, &refused) || !errors.As(err, &bad) || bad.Index != 1 {
		t.Errorf("second Exchange server: %v", err)
	}
}

func TestCompiledPolicyIsImmutable(t *testing.T) {
	p := compile(t, "mail.example.com:443,ews.example.com:443,*.example.net:443,192.0.2.7:443,mail.example.com:80")
	p.Services()[0] = Service{}
	p.ExactNames(443)[0] = "evil.example"
	if got := p.ExactNames(443); !slices.Equal(got, []string{"mail.example.com", "ews.example.com"}) {
		t.Errorf("exact names on 443: %v", got)
	}
	if got := p.ExactNames(80); !slices.Equal(got, []string{"mail.example.com"}) {
		t.Errorf("exact names on 80: %v", got)
	}
	if got := p.Services()[0].String(); got != "mail.example.com:443" {
		t.Errorf("first service: %s", got)
	}
	if p.Name() != "default" {
		t.Errorf("name %q", p.Name())
	}
}

func TestDefaultDestination(t *testing.T) {
	for _, c := range []struct {
		exchange []string
		services string
		host     string
		port     uint16
	}{
		{nil, "mail.example.com:443", "", 0},
		{[]string{"Mail.example.com", "b.example.com"}, "b.example.com:443", "mail.example.com", 443},
		{[]string{"mail.example.com"}, "mail.example.com:80,mail.example.com:443", "mail.example.com", 443},
		{[]string{"mail.example.com"}, "mail.example.com:80,mail.example.com:81", "mail.example.com", 80},
		{[]string{"mail.example.com"}, "*.mail.example.com:80", "mail.example.com", 443},
		{[]string{"192.0.2.7"}, "192.0.2.7:8443", "192.0.2.7", 8443},
	} {
		p, err := Compile("p", Spec{ExchangeServers: c.exchange, Services: c.services})
		if err != nil {
			t.Fatal(err)
		}
		h, port, ok := p.DefaultDestination()
		if ok != (c.host != "") || port != c.port || (ok && h.String() != c.host) {
			t.Errorf("%v, %s: %v, %d, %v", c.exchange, c.services, h, port, ok)
		}
	}
}

func TestSnapshotNamesTheContent(t *testing.T) {
	base := Spec{
		ExchangeServers: []string{"mail.example.com"}, Services: "mail.example.com:443", SplitDNS: "both",
		Console: Console{TrustedADFS: []string{"adfs.example.com"}},
	}
	id := func(name string, s Spec) string {
		p, err := Compile(name, s)
		if err != nil {
			t.Fatal(err)
		}
		return p.Snapshot()
	}
	same := base
	same.NetworkAccess, same.Services, same.EWSHost = "tunneled", "MAIL.example.com.:443", "mail.example.com"
	same.Console.TrustedADFS = []string{" ADFS.example.com "}
	if id("a", base) != id("a", same) {
		t.Error("two spellings of one policy have two IDs")
	}
	seen := map[string]bool{id("a", base): true, id("b", base): true}
	changes := []func(*Spec){
		func(s *Spec) { s.Services += ",ews.example.com:443" },
		func(s *Spec) { s.ExchangeServers = nil },
		func(s *Spec) { s.EWSHost = "ews.example.com" },
		func(s *Spec) { s.PushRegion = "emea" },
		func(s *Spec) { s.SplitTunnel = "on" },
		func(s *Spec) { s.SplitDNS = "" },
		func(s *Spec) { s.SplitDNS, s.SplitTunnel = "", "" },
		func(s *Spec) { s.NetworkAccess = "unrestricted" },
		func(s *Spec) { s.NetworkAccess = "web_sso" },
		func(s *Spec) { s.NetworkAccess, s.WebDomains = "web_sso", []string{"a.example"} },
		func(s *Spec) { s.NetworkAccess, s.WebDomains = "web_sso", []string{"*.a.example"} },
		func(s *Spec) { s.Console.Mailboxes = "hybrid" },
		func(s *Spec) { s.Console.Platforms = []string{"ios"} },
		func(s *Spec) { s.Console.TrustedExchangeOnline = []string{"adfs.example.com"} },
		func(s *Spec) { s.Console.TrustedADFS = nil },
		func(s *Spec) { s.Console = Console{TrustedExchangeOnline: s.Console.TrustedADFS} },
		func(s *Spec) { s.Console.LDAPServers = []string{"ldap.example.com:636"} },
		func(s *Spec) { s.Console.RichPush = true },
		func(s *Spec) { s.Console.ModernAuthentication = true },
		func(s *Spec) { s.Console.DerivedCredentials = true },
		func(s *Spec) { s.Console.Intune = true },
		func(s *Spec) { s.Console.ServicesGateway = "gateway.example.com:443" },
	}
	for _, change := range changes {
		changed := base
		change(&changed)
		seen[id("a", changed)] = true
	}
	// Leaving split DNS out is one change, written twice.
	if want := 2 + len(changes) - 1; len(seen) != want {
		t.Errorf("%d IDs for %d contents", len(seen), want)
	}
}

func TestModes(t *testing.T) {
	const list = "mail.example.com:443,web.example.com:80,192.0.2.7:25"
	tunneled := compile(t, list)
	web, err := Compile("web", Spec{
		NetworkAccess: "web_sso", Services: list,
		WebDomains: []string{"Web.example.com.", "*.intra.example.com", "bücher.example", "intra"},
	})
	if err != nil {
		t.Fatal(err)
	}
	none, err := Compile("none", Spec{NetworkAccess: "unrestricted", Services: list, ExchangeServers: []string{"mail.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host                string
		port                uint16
		tunneled, web, none string // the rules
	}{
		{"mail.example.com", 443, "default/services[1]", "web/services[1]", "none/unrestricted"},
		{"mail.example.com", 80, "default/deny", "web/deny", "none/unrestricted"},
		{"web.example.com", 80, "default/services[2]", "web/services[2]", "none/unrestricted"},
		{"web.example.com", 443, "default/deny", "web/web_domains[1]", "none/unrestricted"},
		{"web.example.com", 8443, "default/deny", "web/deny", "none/unrestricted"},
		{"a.web.example.com", 443, "default/deny", "web/deny", "none/unrestricted"},
		{"a.b.intra.example.com", 80, "default/deny", "web/web_domains[2]", "none/unrestricted"},
		{"intra.example.com", 80, "default/deny", "web/deny", "none/unrestricted"},
		{"xn--bcher-kva.example", 443, "default/deny", "web/web_domains[3]", "none/unrestricted"},
		{"intra", 80, "default/deny", "web/web_domains[4]", "none/unrestricted"},
		{"192.0.2.7", 25, "default/services[3]", "web/services[3]", "none/unrestricted"},
		{"192.0.2.7", 80, "default/deny", "web/deny", "none/unrestricted"},
	} {
		for p, rule := range map[*Policy]string{tunneled: c.tunneled, web: c.web, none: c.none} {
			d := p.Decide(Query{Host: host(t, c.host), Port: c.port})
			if d.Rule != rule || d.Allow != strings.Contains(rule, "[") {
				t.Errorf("%s:%d: %+v, want %s", c.host, c.port, d, rule)
			}
			if (d.Reason == Unrestricted) != (p == none) {
				t.Errorf("%s:%d: %s", c.host, c.port, d.Reason)
			}
			if d.Allow && d.Service.Port != c.port {
				t.Errorf("%s:%d: by %v", c.host, c.port, d.Service)
			}
		}
	}
	if got := web.ExactNames(443); !slices.Equal(got, []string{"mail.example.com", "web.example.com", "xn--bcher-kva.example", "intra"}) {
		t.Errorf("exact names with web domains: %v", got)
	}
	if got := web.ExactNames(80); !slices.Equal(got, []string{"web.example.com", "xn--bcher-kva.example", "intra"}) {
		t.Errorf("exact names on 80, the listed one once: %v", got)
	}
	if len(web.Services()) != 3 || len(none.Services()) != 3 {
		t.Errorf("the lists are %v and %v", web.Services(), none.Services())
	}
	if none.ExactNames(443) != nil {
		t.Errorf("unrestricted, and yet %v may be matched back", none.ExactNames(443))
	}
	if h, port, ok := none.DefaultDestination(); !ok || none.Opens(h, port) {
		t.Errorf("unrestricted, and yet %v:%d, %v", h, port, ok)
	}
	for p, access := range map[*Policy]string{tunneled: "tunneled", web: "web_sso", none: "unrestricted"} {
		if p.NetworkAccess() != access {
			t.Errorf("%s says %s", access, p.NetworkAccess())
		}
	}
}

func TestAccessors(t *testing.T) {
	p, err := Compile("p", Spec{
		NetworkAccess: "web_sso", ExchangeServers: []string{"mail.example.com", "b.example.com"},
		Services:   "mail.example.com:443,mail.example.com:80,*.eu.example.com:993,192.0.2.7:25,*.a.eu.example.com:443",
		WebDomains: []string{"*.intra.example.org"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host  string
		ports []uint16
	}{
		{"mail.example.com", []uint16{80, 443}},
		{"x.eu.example.com", []uint16{993}},
		{"x.a.eu.example.com", []uint16{443, 993}},
		{"x.intra.example.org", []uint16{80, 443}},
		{"eu.example.com", nil},
		{"example.com", nil},
		{"192.0.2.7", []uint16{25}},
		{"192.0.2.8", nil},
	} {
		h := host(t, c.host)
		if got := p.PortsOf(h); !slices.Equal(got, c.ports) || p.Knows(h) != (c.ports != nil) {
			t.Errorf("%s: ports %v, known %v", c.host, got, p.Knows(h))
		}
		for _, port := range []uint16{0, 25, 80, 443, 993} {
			if p.Opens(h, port) != slices.Contains(c.ports, port) {
				t.Errorf("%s:%d: %v", c.host, port, p.Opens(h, port))
			}
		}
	}
	for domain, want := range map[string]bool{
		"mail.example.com": true, "example.com": true, "eu.example.com": true, "x.y.eu.example.com": true,
		"intra.example.org": true, "example.org": true, "x.intra.example.org": true,
		"b.example.com": false, "ample.com": false, "x.mail.example.com": false, "example.net": false, "192.0.2.7": false, "": false,
	} {
		if p.Holds(domain) != want {
			t.Errorf("holds %q: %v", domain, !want)
		}
	}
	if p.Knows(Host{}) || p.Knows(Host{Name: "mail.example.com", Addr: netip.MustParseAddr("192.0.2.7")}) {
		t.Error("knows what is no host")
	}
	p.Exchange()[0] = Host{}
	if got := p.Exchange(); len(got) != 2 || got[0].Name != "mail.example.com" || p.EWSHost() != got[0] {
		t.Errorf("mail servers %v, EWS at %v", got, p.EWSHost())
	}
	other, err := Compile("p", Spec{ExchangeServers: []string{"mail.example.com"}, EWSHost: "EWS.example.com."})
	if err != nil || other.EWSHost().Name != "ews.example.com" {
		t.Errorf("EWS at %v, %v", other.EWSHost(), err)
	}
	if bare := compile(t, ""); bare.EWSHost() != (Host{}) || len(bare.Exchange()) != 0 {
		t.Errorf("EWS at %v with no mail server", bare.EWSHost())
	}
}
