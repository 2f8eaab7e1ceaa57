package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

func TestHostsComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pins := map[string][]netip.Addr{
			"mail.example.com": addrs("10.0.0.25", "::ffff:10.0.0.25", "fd00::25", "fe80::1%eth0", "10.0.0.26"),
			"mail":             addrs("10.0.0.27"),
			"only4.localhost":  addrs("127.0.0.1"),
		}
		public := newServer(t, "9.9.9.9",
			"a.mail.example.com. 60 IN A 8.8.8.8", "a.mail.example.com. 60 IN AAAA 2606:4700::1111",
			"dc_1. 60 IN A 8.8.4.4", "mail.example.com. 60 IN A 6.6.6.6", "mail.example.com. 60 IN TXT steered")
		r := newResolver(t, Config{Hosts: pins, Public: public, Cache: Cache{Entries: -1}, Now: newClock().Now})
		pins["mail.example.com"][0] = netip.MustParseAddr("6.6.6.6") // the resolver keeps its own
		for _, c := range []struct {
			name, source, server string
			want                 []netip.Addr
		}{
			{"mail.example.com", SourceHosts, "", addrs("10.0.0.25", "fd00::25", "10.0.0.26")},
			{"mail", SourceHosts, "", addrs("10.0.0.27")},
			{"only4.localhost", SourceHosts, "", addrs("127.0.0.1")},
			{"a.mail.example.com", SourcePublic, "9.9.9.9", addrs("8.8.8.8", "2606:4700::1111")},
			{"dc_1", SourcePublic, "9.9.9.9", addrs("8.8.4.4")},
		} {
			for range 2 { // the second time shows that an answer belongs to its caller
				answer, err := r.Resolve(t.Context(), c.name)
				if err != nil || answer.Source != c.source || answer.Server != c.server ||
					!slices.Equal(answer.Addrs, c.want) || answer.TTL != hostsTTL || answer.Cached || answer.Stale {
					t.Errorf("%s: %+v, %v", c.name, answer, err)
					continue
				}
				answer.Addrs[0] = netip.Addr{}
			}
		}
		public.wantAsked(t, "a.mail.example.com A", "a.mail.example.com A", "a.mail.example.com AAAA", "a.mail.example.com AAAA",
			"dc_1 A", "dc_1 A", "dc_1 AAAA", "dc_1 AAAA")
		for qtype, want := range map[uint16]int{dns.TypeA: 2, dns.TypeAAAA: 1, dns.TypeTXT: 0, dns.TypeSRV: 0} {
			records, err := r.Look(t.Context(), "mail.example.com", qtype)
			if err != nil || len(records.RRs) != want || records.Rcode != dns.RcodeSuccess || records.Source != SourceHosts {
				t.Errorf("%s of a pinned name: %+v, %v", dns.Type(qtype), records, err)
			}
		}
		public.wantAsked(t)
	})
}

func TestNewRefuses(t *testing.T) {
	for what, c := range map[string]Config{
		"upper case":        {Hosts: map[string][]netip.Addr{"Mail.example.com": addrs("10.0.0.1")}},
		"trailing dot":      {Hosts: map[string][]netip.Addr{"mail.example.com.": addrs("10.0.0.1")}},
		"empty name":        {Hosts: map[string][]netip.Addr{"": addrs("10.0.0.1")}},
		"an address":        {Hosts: map[string][]netip.Addr{"10.0.0.1": addrs("10.0.0.1")}},
		"no address":        {Hosts: map[string][]netip.Addr{"mail.example.com": nil}},
		"only zoned":        {Hosts: map[string][]netip.Addr{"mail.example.com": addrs("fe80::1%eth0")}},
		"only invalid":      {Hosts: map[string][]netip.Addr{"mail.example.com": {netip.Addr{}}}},
		"zone: upper case":  {Zones: []Zone{{Suffix: "Example.com"}}},
		"zone: leading dot": {Zones: []Zone{{Suffix: ".example.com"}}},
		"zone: the root":    {Zones: []Zone{{Suffix: ""}}},
		"zone: twice":       {Zones: []Zone{{Suffix: "example.com"}, {Suffix: "a.example"}, {Suffix: "example.com"}}},
	} {
		c.Public = unasked{t}
		if _, err := New(c); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a resolver that has nobody to ask was made")
	}
}

var strangeNames = []string{
	"", ".", "a.", ".a", "a..b", "A.example", "a b", "a\x00b", "ü.example", "127.0.0.1", "127.1", "0x7f.1", "a.0x7f", "0x",
	"2130706433", "::1", "[::1]", "a:443", "*.example.com", ";40;STA01", strings.Repeat("a", 64), strings.Repeat("a", 64) + ".b",
	strings.Repeat("a.", 127) + "a", `a\.b.example`, "x y.localhost",
}

func TestStrangeNamesAreNotAsked(t *testing.T) {
	r := newResolver(t, Config{Zones: []Zone{{Suffix: "internal", Servers: unasked{t}}}})
	special := []string{"localhost", "www.localhost", "a.invalid", "a.b.onion", stub.DeviceDNS}
	for _, name := range append(special, strangeNames...) {
		_, err := r.Resolve(t.Context(), name)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
		if len(name) > 2 && !slices.Contains(special, name) && strings.Contains(err.Error(), name) {
			t.Errorf("%q is in its error: %v", name, err)
		}
		records, err := r.Look(t.Context(), name, dns.TypeA)
		if slices.Contains(special, name) {
			if err != nil || records.Rcode != dns.RcodeNameError {
				t.Errorf("%q: %+v, %v", name, records, err)
			}
		} else if !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestASpecialNameInAZone(t *testing.T) {
	inside := newServer(t, "10.0.0.53", "a.onion. 60 IN A 10.0.0.1", "notlocalhost. 60 IN A 8.8.8.8")
	r := newResolver(t, Config{Zones: []Zone{{Suffix: "onion", Servers: inside}}, Public: inside})
	for _, name := range []string{"a.onion", "notlocalhost"} {
		mustResolve(t, r, name)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		for i := range 50 {
			a, aaaa := fmt.Sprintf("two.example. 60 IN A 8.8.8.%d", i), fmt.Sprintf("two.example. 60 IN AAAA 2001:db8::%d", i)
			lines = append(lines, a, aaaa, strings.Replace(a, "two", "four", 1), strings.Replace(aaaa, "two", "six", 1))
			lines = append(lines, strings.Replace(a, "two", "few6", 1), strings.Replace(aaaa, "two", "few4", 1))
			if i < 3 {
				lines = append(lines, strings.Replace(a, "two", "few4", 1), strings.Replace(aaaa, "two", "few6", 1),
					strings.Replace(a, "two", "few", 1), strings.Replace(aaaa, "two", "few", 1))
			}
		}
		public := newServer(t, "9.9.9.9", lines...)
		for _, c := range []struct {
			name     string
			all, six int
		}{
			{"two.example", 32, 16}, {"four.example", 32, 0}, {"six.example", 32, 32},
			{"few4.example", 32, 29}, {"few6.example", 32, 3}, {"few.example", 6, 3},
		} {
			answer, err := newResolver(t, Config{Public: public}).Resolve(t.Context(), c.name)
			six := 0
			for _, addr := range answer.Addrs {
				if addr.Is6() {
					six++
				}
			}
			if err != nil || len(answer.Addrs) != c.all || six != c.six {
				t.Errorf("%s: %d addresses, %d of them IPv6, %v; want %d and %d", c.name, len(answer.Addrs), six, err, c.all, c.six)
			}
		}
	})
}

func TestZonesByLongestSuffix(t *testing.T) {
	server := func(addr string) *nameServer { return newServer(t, addr) }
	corp, mail, single, public := server("10.0.0.1"), server("10.0.0.2"), server("10.0.0.3"), server("9.9.9.9")
	r := newResolver(t, Config{Public: public, Zones: []Zone{
		{Suffix: "example.com", Servers: corp}, {Suffix: "mail.example.com", Servers: mail},
		{Suffix: "corp", Servers: single}, {Suffix: "out.example.com"},
	}})
	for _, c := range []struct {
		name   string
		server *nameServer
		source string
	}{
		{"example.com", corp, "zone example.com"},
		{"a.b.example.com", corp, "zone example.com"},
		{"xmail.example.com", corp, "zone example.com"},
		{"mail.example.com", mail, "zone mail.example.com"},
		{"a.mail.example.com", mail, "zone mail.example.com"},
		{"badexample.com", public, "public"},
		{"com", public, "public"},
		{"example.com.evil.example", public, "public"},
		{"out.example.com", public, "zone out.example.com"},
		{"www.out.example.com", public, "zone out.example.com"},
		{"corp", single, "zone corp"},
		{"intranet.corp", single, "zone corp"},
		{"intranet", public, "public"},
	} {
		for _, s := range []*nameServer{corp, mail, single, public} {
			want := []string{c.name + " TXT"}
			if s != c.server {
				want = nil
			} else {
				records, err := r.Look(t.Context(), c.name, dns.TypeTXT)
				if err != nil || records.Source != c.source || records.Server != s.server.String() {
					t.Errorf("%s: %+v, %v; want %s", c.name, records, err, c.source)
				}
			}
			defer s.wantAsked(t) // and nobody is asked twice
			s.wantAsked(t, want...)
		}
	}
}

func TestKindsOfFailure(t *testing.T) {
	nxdomain := func(_ upstream.Question, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil }
	empty := func(_ upstream.Question, m *dns.Msg) { m.Answer = nil }
	failing := errors.New("10.0.0.53: SERVFAIL")
	for what, c := range map[string]struct {
		before func(context.Context, upstream.Question) error
		twist  func(upstream.Question, *dns.Msg)
		want   error
		cause  error
		text   string
	}{
		"no such name":     {twist: nxdomain, want: ErrNotFound, text: "splitdns: a.example: no such name (zone example, 10.0.0.53: NXDOMAIN)"},
		"no address":       {twist: empty, want: ErrNotFound, text: "splitdns: a.example: no such name: it has no address (zone example, 10.0.0.53)"},
		"timeout upstream": {before: fail(fmt.Errorf("10.0.0.53: %w", upstream.ErrTimeout)), want: ErrTimeout, cause: upstream.ErrTimeout, text: "splitdns: a.example: the look-up timed out: a.example A (zone example): 10.0.0.53: no answer in time"},
		"deadline":         {before: fail(context.DeadlineExceeded), want: ErrTimeout, cause: context.DeadlineExceeded},
		"anything":         {before: fail(failing), want: ErrFailed, cause: failing, text: "splitdns: a.example: the look-up failed: a.example A (zone example): 10.0.0.53: SERVFAIL"},
		"failure upstream": {before: fail(fmt.Errorf("all: %w", upstream.ErrFailed)), want: ErrFailed, cause: upstream.ErrFailed},
		"rcode":            {twist: func(_ upstream.Question, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, want: ErrFailed, text: "splitdns: a.example: the look-up failed: a.example A (zone example): 10.0.0.53 answered REFUSED"},
		"strange rcode":    {twist: func(_ upstream.Question, m *dns.Msg) { m.Rcode = 12 }, want: ErrFailed},
		"truncated":        {twist: func(_ upstream.Question, m *dns.Msg) { m.Truncated = true }, want: ErrFailed},
	} {
		t.Run(what, func(t *testing.T) {
			server := newServer(t, "10.0.0.53", "a.example. 60 IN A 10.0.0.1")
			server.before, server.twist = c.before, c.twist
			r := newResolver(t, Config{Zones: []Zone{{Suffix: "example", Servers: server}}})
			_, err := r.Resolve(t.Context(), "a.example")
			for _, kind := range []error{ErrNotFound, ErrTimeout, ErrFailed} {
				if errors.Is(err, kind) != (kind == c.want) {
					t.Errorf("%v; is it %v?", err, kind)
				}
			}
			if c.cause != nil && !errors.Is(err, c.cause) {
				t.Errorf("%v lost its cause", err)
			}
			if c.text != "" && err.Error() != c.text {
				t.Errorf("%v\nwant %s", err, c.text)
			}
			records, err := r.Look(t.Context(), "a.example", dns.TypeA)
			if c.want == ErrNotFound {
				if err != nil || len(records.RRs) != 0 || (records.Rcode == dns.RcodeNameError) != (what == "no such name") {
					t.Errorf("Look: %+v, %v", records, err)
				}
			} else if !errors.Is(err, c.want) {
				t.Errorf("Look: %v", err)
			}
		})
	}
}

// TestOneFamilyWillDo has the other family in every kind of trouble.
func TestOneFamilyWillDo(t *testing.T) {
	for what, c := range map[string]struct {
		before func(ctx context.Context, q upstream.Question) error
		twist  func(q upstream.Question, m *dns.Msg)
	}{
		"fails":        {before: fail(errors.New("broken"))},
		"no records":   {twist: func(_ upstream.Question, m *dns.Msg) { m.Answer = nil }},
		"no such name": {twist: func(_ upstream.Question, m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeNameError }},
	} {
		for broken, want := range map[uint16][]netip.Addr{dns.TypeA: addrs("2001:db8::1"), dns.TypeAAAA: addrs("192.0.2.1")} {
			server := newServer(t, "10.0.0.53", "a.example. 60 IN A 192.0.2.1", "a.example. 60 IN AAAA 2001:db8::1")
			server.before = func(ctx context.Context, q upstream.Question) error {
				if q.Type == broken && c.before != nil {
					return c.before(ctx, q)
				}
				return nil
			}
			server.twist = func(q upstream.Question, m *dns.Msg) {
				if q.Type == broken && c.twist != nil {
					c.twist(q, m)
				}
			}
			answer, err := newResolver(t, Config{Public: server}).Resolve(t.Context(), "a.example")
			if err != nil || !slices.Equal(answer.Addrs, want) {
				t.Errorf("%s %s: %v, %v", dns.Type(broken), what, answer, err)
			}
		}
	}
}

func TestClosed(t *testing.T) {
	public := newServer(t, "9.9.9.9", "a.example. 60 IN A 192.0.2.1", "b.example. 60 IN A 192.0.2.2")
	r := newResolver(t, Config{Public: public, Hosts: map[string][]netip.Addr{"pin.example": addrs("10.0.0.1")}})
	mustResolve(t, r, "a.example")
	r.Close()
	r.Close()
	mustResolve(t, r, "a.example")
	mustResolve(t, r, "pin.example")
	if _, err := r.Resolve(t.Context(), "b.example"); !errors.Is(err, ErrFailed) {
		t.Errorf("a closed resolver: %v", err)
	}
}
