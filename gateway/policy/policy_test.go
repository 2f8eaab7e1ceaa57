package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
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
		{"p", Spec{NetworkAccess: "unrestricted"}, "network_access"},
		{"p", Spec{NetworkAccess: "web_sso"}, "network_access"},
		{"p", Spec{NetworkAccess: "open"}, "network_access"},
		{"p", Spec{Services: "a.example"}, "background_services"},
		{"p", Spec{ExchangeServers: []string{"ok.example", "a.example:443"}}, "exchange_server"},
		{"p", Spec{EWSHost: "a..example"}, "ews_host"},
		{"p", Spec{PushRegion: "mars"}, "push_region"},
		{"p", Spec{SplitTunnel: "false"}, "split_tunnel"},
		{"p", Spec{SplitDNS: "none"}, "split_dns"},
	} {
		p, err := Compile(c.name, c.spec)
		var bad *SpecError
		if p != nil || !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%q %+v: %v, want an error about %s", c.name, c.spec, err, c.field)
		}
	}
	_, err := Compile("p", Spec{NetworkAccess: "web_sso"})
	if !errors.Is(err, ErrNotBuilt) {
		t.Errorf("web_sso: %v, want ErrNotBuilt", err)
	}
	var refused *HostError
	var bad *SpecError
	_, err = Compile("p", Spec{ExchangeServers: []string{"ok.example", "127.1"}})
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
	base := Spec{ExchangeServers: []string{"mail.example.com"}, Services: "mail.example.com:443", SplitDNS: "both"}
	id := func(name string, s Spec) string {
		p, err := Compile(name, s)
		if err != nil {
			t.Fatal(err)
		}
		return p.Snapshot()
	}
	same := base
	same.NetworkAccess, same.Services = "tunneled", "MAIL.example.com.:443"
	if id("a", base) != id("a", same) {
		t.Error("two spellings of one policy have two IDs")
	}
	seen := map[string]bool{id("a", base): true, id("b", base): true}
	for _, change := range []func(*Spec){
		func(s *Spec) { s.Services += ",ews.example.com:443" },
		func(s *Spec) { s.ExchangeServers = nil },
		func(s *Spec) { s.EWSHost = "ews.example.com" },
		func(s *Spec) { s.PushRegion = "emea" },
		func(s *Spec) { s.SplitTunnel = "on" },
		func(s *Spec) { s.SplitDNS = "" },
		func(s *Spec) { s.SplitDNS, s.SplitTunnel = "", "" },
	} {
		changed := base
		change(&changed)
		seen[id("a", changed)] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d IDs for 8 contents", len(seen))
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p := compile(t, "mail.example.com:443,*.example.com:443,192.0.2.7:25")
	narrow, err := CompileNarrowing([]string{"mail.example.com:443"})
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]Query{
		"allow":            {Host: host(t, "mail.example.com"), Port: 443},
		"allow, narrowing": {Host: host(t, "mail.example.com"), Port: 443, Narrow: narrow},
		"allow, wildcard":  {Host: host(t, "a.b.c.example.com"), Port: 443},
		"allow, address":   {Host: host(t, "192.0.2.7"), Port: 25},
		"deny":             {Host: host(t, "a.b.c.evil.example"), Port: 443},
		"deny, address":    {Host: host(t, "192.0.2.8"), Port: 25},
		"deny, narrowing":  {Host: host(t, "a.example.com"), Port: 443, Narrow: narrow},
	} {
		var d Decision
		if n := testing.AllocsPerRun(100, func() { d = p.Decide(q) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if d.Allow != strings.HasPrefix(name, "allow") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestMatcherAgainstNaive draws lists and hosts from few labels, so that they
// meet often, and compares with a reading of the rules that tries every entry.
func TestMatcherAgainstNaive(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "ab", "example"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 5).Draw(t, "labels"), ".")
	})
	port := rapid.Uint16Range(1, 3)
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(0, 3).Draw(t, "last")})
	})
	service := rapid.Custom(func(t *rapid.T) Service {
		s := Service{Port: port.Draw(t, "port")}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			s.Addr = addr.Draw(t, "addr")
		case 1, 2:
			s.Wildcard = true
			s.Name = name.Draw(t, "below")
		default:
			s.Name = name.Draw(t, "name")
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		services := rapid.SliceOfN(service, 0, 12).Draw(t, "services")
		q := Host{Name: name.Draw(t, "host")}
		if rapid.IntRange(0, 4).Draw(t, "as address") == 0 {
			q = Host{Addr: addr.Draw(t, "host addr")}
		}
		asked := port.Draw(t, "asked port")
		m := newMatcher(services)
		i, ok := m.find(q, asked)
		want := naiveFind(services, q, asked)
		if ok != (want >= 0) || (ok && i != want) {
			t.Fatalf("%v:%d in %v: %d, %v; naive says %d", q, asked, services, i, ok, want)
		}
	})
}

// naiveFind returns the first of the best entries that match, or -1.
func naiveFind(services []Service, q Host, port uint16) int {
	best, bestScore := -1, -1
	for i, s := range services {
		score := -1
		switch {
		case s.Port != port:
		case q.Addr.IsValid():
			if s.Addr == q.Addr {
				score = 0
			}
		case s.Addr.IsValid():
		case s.Wildcard:
			if strings.HasSuffix(q.Name, "."+s.Name) {
				score = len(s.Name)
			}
		case s.Name == q.Name:
			score = 1 << 20
		}
		if score > bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// BenchmarkDecide measures the policy step of a tunnel's set-up, name parsing
// apart.
//
//	go test -run '^$' -bench Decide -benchmem -count 10 ./gateway/policy | tee new
//	benchstat old new
func BenchmarkDecide(b *testing.B) {
	p := compile(b, "mail.example.com:443,ews.example.com:443,*.example.net:443,192.0.2.7:25")
	for name, h := range map[string]string{"exact": "ews.example.com", "wildcard": "a.b.example.net", "deny": "a.b.evil.example"} {
		q := Query{Host: host(b, h), Port: 443}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(q)
			}
		})
	}
}
