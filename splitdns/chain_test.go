package splitdns

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// aliases returns lines that lead from n0.suffix over so many aliases to an
// address.
func aliases(suffix string, links int) []string {
	var lines []string
	for i := range links {
		lines = append(lines, fmt.Sprintf("n%d.%s. 60 IN CNAME N%d.%s.", i, suffix, i+1, strings.ToUpper(suffix)))
	}
	return append(lines, fmt.Sprintf("n%d.%s. 60 IN A 192.0.2.1", links, suffix))
}

func TestLengthOfChains(t *testing.T) {
	for _, links := range []int{0, 1, 8, 9, 15} {
		for _, oneByOne := range []bool{false, true} { // all links in an answer, or one
			server := newServer(t, "9.9.9.9", aliases("example", links)...)
			server.twist = func(_ upstream.Question, m *dns.Msg) {
				if oneByOne && len(m.Answer) > 0 {
					m.Answer = m.Answer[:1]
				}
			}
			r := newResolver(t, Config{Public: server})
			for range 2 { // asked, then out of the cache
				answer, err := r.Resolve(t.Context(), "n0.example")
				if links > 8 {
					if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "n9.example") {
						t.Errorf("%d links: %v, %v", links, answer, err)
					}
					continue
				}
				var want []string
				for i := range links {
					want = append(want, fmt.Sprintf("n%d.example", i+1))
				}
				if err != nil || !slices.Equal(answer.Chain, want) || !slices.Equal(answer.Addrs, addrs("192.0.2.1")) {
					t.Errorf("%d links: %+v, %v", links, answer, err)
				}
			}
		}
	}
}

func TestCircles(t *testing.T) {
	for what, c := range map[string]struct{ inside, public []string }{
		"itself":     {public: []string{"a.example. 60 IN CNAME A.example."}},
		"two":        {public: []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."}},
		"tail":       {public: []string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME c.example.", "c.example. 60 IN CNAME b.example."}},
		"over zones": {public: []string{"a.example. 60 IN CNAME a.corp."}, inside: []string{"a.corp. 60 IN CNAME b.corp.", "b.corp. 60 IN CNAME a.example."}},
		"no TTL":     {public: []string{"a.example. 0 IN CNAME a.corp."}, inside: []string{"a.corp. 0 IN CNAME a.example."}},
	} {
		r := newResolver(t, Config{Public: newServer(t, "9.9.9.9", c.public...), Zones: []Zone{{Suffix: "corp", Servers: newServer(t, "10.0.0.53", c.inside...)}}})
		for range 2 {
			_, err := r.Resolve(t.Context(), "a.example")
			if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "in a circle at ") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// TestChainsOverZones also has every server speak of names that are not its own,
// as a resolver that asks the world would: nothing of that counts.
func TestChainsOverZones(t *testing.T) {
	inside := newServer(t, "10.0.0.53",
		"mail.corp.example. 300 IN CNAME mail.cloud.example.", // out
		"mail.cloud.example. 300 IN A 6.6.6.6",                // not its business
		"app.corp.example. 50 IN A 10.0.0.80", "in.corp.example. 300 IN CNAME app.corp.example.",
		"there.corp.example. 300 IN CNAME back.cloud.example.")
	public := newServer(t, "9.9.9.9",
		"mail.cloud.example. 40 IN A 192.0.2.1",
		"www.example. 300 IN CNAME in.corp.example.", // in
		"in.corp.example. 300 IN A 6.6.6.6", "app.corp.example. 300 IN A 6.6.6.6",
		"back.cloud.example. 300 IN CNAME app.corp.example.")
	r := newResolver(t, Config{Public: public, Zones: []Zone{{Suffix: "corp.example", Servers: inside}}, Now: newClock().Now})
	for _, c := range []struct {
		name, addr, source, server string
		chain                      []string
		ttl                        int
	}{
		{"mail.corp.example", "192.0.2.1", "zone corp.example", "10.0.0.53", []string{"mail.cloud.example"}, 40},
		{"www.example", "10.0.0.80", "public", "9.9.9.9", []string{"in.corp.example", "app.corp.example"}, 50},
		{"there.corp.example", "10.0.0.80", "zone corp.example", "10.0.0.53", []string{"back.cloud.example", "app.corp.example"}, 50},
	} {
		for i := range 2 {
			answer, err := r.Resolve(t.Context(), c.name)
			if err != nil || !slices.Equal(answer.Addrs, addrs(c.addr)) || !slices.Equal(answer.Chain, c.chain) ||
				answer.Source != c.source || answer.Server != c.server || answer.TTL.Seconds() != float64(c.ttl) || answer.Cached != (i == 1) {
				t.Errorf("%s: %+v, %v", c.name, answer, err)
			}
		}
	}
	for _, name := range public.asked() {
		if strings.Contains(name, "corp") {
			t.Errorf("the public servers heard of %s", name)
		}
	}
	for _, name := range inside.asked() {
		if !strings.Contains(name, "corp") {
			t.Errorf("the zone's servers heard of %s", name)
		}
	}
}

// TestForeignRecordsAreIgnored has servers add records that nobody asked for;
// what they add is never believed, then or later.
func TestForeignRecordsAreIgnored(t *testing.T) {
	extra, _ := parseRecords(t,
		"bank.example. 86400 IN A 6.6.6.6", "www.example. 86400 IN CNAME bank.example.",
		"db.corp. 86400 IN A 6.6.6.6", "asked.example. 86400 CH A 6.6.6.6",
		"example. 86400 IN NS ns.evil.example.", "asked.example.evil.example. 86400 IN A 6.6.6.6",
		"corp. 86400 IN DNAME evil.example.", "xasked.example. 86400 IN DNAME evil.example.")
	public := newServer(t, "9.9.9.9", "asked.example. 60 IN A 192.0.2.1", "bank.example. 60 IN A 192.0.2.2", "example. 60 IN SOA a. b. 1 1 1 1 60")
	public.twist = func(_ upstream.Question, m *dns.Msg) {
		m.Answer = append(slices.Clone(extra), m.Answer...)
		m.Ns, m.Extra = append(m.Ns, extra...), append(m.Extra, extra...)
		kept := m.Answer[:0]
		for _, rr := range m.Answer { // it may lie about what it was asked; that is its own
			if m.Question[0].Name != rr.Header().Name || rr.Header().Ttl == 60 || rr.Header().Class != dns.ClassINET {
				kept = append(kept, rr)
			}
		}
		m.Answer = kept
	}
	inside := newServer(t, "10.0.0.53", "db.corp. 60 IN A 10.0.0.5")
	r := newResolver(t, Config{Public: public, Zones: []Zone{{Suffix: "corp", Servers: inside}}})
	for name, want := range map[string]string{"asked.example": "192.0.2.1", "bank.example": "192.0.2.2", "db.corp": "10.0.0.5"} {
		if answer := mustResolve(t, r, name); !slices.Equal(answer.Addrs, addrs(want)) {
			t.Errorf("%s: %v", name, answer)
		}
	}
	if answer, err := r.Resolve(t.Context(), "www.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("www.example: %v, %v", answer, err)
	}
}

// TestNoSuchNameOfAnother shows that "no such name" is about the end of the
// chain (RFC 6604), and counts only of names that are the server's own.
func TestNoSuchNameOfAnother(t *testing.T) {
	inside := newServer(t, "10.0.0.53", "out.corp. 60 IN CNAME a.example.", "dead.corp. 60 IN CNAME gone.corp.", "lame.corp. 60 IN CNAME half.corp.", "half.corp. 60 IN TXT x")
	inside.twist = func(q upstream.Question, m *dns.Msg) {
		if q.Name == "out.corp" || q.Name == "dead.corp" {
			m.Rcode = dns.RcodeNameError
		}
	}
	public := newServer(t, "9.9.9.9", "a.example. 60 IN A 192.0.2.1")
	r := newResolver(t, Config{Public: public, Zones: []Zone{{Suffix: "corp", Servers: inside}}})
	if answer := mustResolve(t, r, "out.corp"); !slices.Equal(answer.Addrs, addrs("192.0.2.1")) {
		t.Errorf("out.corp: %v", answer)
	}
	inside.asked()
	if records, err := r.Look(t.Context(), "dead.corp", dns.TypeA); err != nil || records.Rcode != dns.RcodeNameError || !slices.Equal(records.Chain, []string{"gone.corp"}) {
		t.Errorf("dead.corp: %+v, %v", records, err)
	}
	inside.wantAsked(t, "dead.corp A")
	// An alias alone, without a word about its target: that is asked for.
	if records, err := r.Look(t.Context(), "lame.corp", dns.TypeA); err != nil || records.Rcode != dns.RcodeSuccess || len(records.RRs) != 0 {
		t.Errorf("lame.corp: %+v, %v", records, err)
	}
	inside.wantAsked(t, "half.corp A", "lame.corp A")
	// With a word about its target, it is not.
	inside.serve(t, "lame.corp. 60 IN CNAME half.corp.", "half.corp. 60 IN TXT x", "corp. 60 IN SOA a. b. 1 1 1 1 60")
	if records, err := r.Look(t.Context(), "lame.corp", dns.TypeSRV); err != nil || records.Rcode != dns.RcodeSuccess || len(records.RRs) != 0 {
		t.Errorf("lame.corp: %+v, %v", records, err)
	}
	inside.wantAsked(t, "lame.corp SRV")
}

func TestDNAME(t *testing.T) {
	long := strings.Repeat("long.", 20) + "example."
	server := newServer(t, "10.0.0.53",
		"new.corp. 60 IN A 192.0.2.9", "a.new.corp. 60 IN A 192.0.2.1", "a.b.new.corp. 60 IN A 192.0.2.2")
	server.twist = func(q upstream.Question, m *dns.Msg) {
		records, _ := parseRecords(t, "OLD.corp. 20 IN DNAME New.corp.", "example. 20 IN DNAME corp.", "x.corp. 20 IN DNAME "+long)
		if !within(q.Name, "new.corp") {
			m.Answer, m.Rcode = records, dns.RcodeSuccess
		}
	}
	r := newResolver(t, Config{Zones: []Zone{{Suffix: "corp", Servers: server}}, Public: server, Now: newClock().Now})
	for name, want := range map[string]string{"a.old.corp": "192.0.2.1", "a.b.old.corp": "192.0.2.2", "a.new.example": "192.0.2.1"} {
		answer := mustResolve(t, r, name)
		if !slices.Equal(answer.Addrs, addrs(want)) || len(answer.Chain) != 1 || answer.TTL.Seconds() > 20 {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	// A DNAME is about the names below it, not about its own.
	for _, name := range []string{"old.corp", "xold.corp"} {
		if answer, err := r.Resolve(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
	// Nor is one above the zone the business of the zone's servers.
	upper := newServer(t, "10.0.0.54")
	upper.twist = func(_ upstream.Question, m *dns.Msg) {
		m.Answer, _ = parseRecords(t, "corp. 20 IN DNAME example.")
		m.Rcode = dns.RcodeSuccess
	}
	above := newResolver(t, Config{Zones: []Zone{{Suffix: "sub.corp", Servers: upper}}})
	if answer, err := above.Resolve(t.Context(), "a.sub.corp"); !errors.Is(err, ErrNotFound) {
		t.Errorf("above the zone: %v, %v", answer, err)
	}
	if answer, err := r.Resolve(t.Context(), strings.Repeat("x.", 80)+"x.corp"); !errors.Is(err, ErrFailed) {
		t.Errorf("too long a name: %v, %v", answer, err)
	}
}

func TestAliasesOfPinnedAndStrangeNames(t *testing.T) {
	server := newServer(t, "9.9.9.9",
		"pin.example. 60 IN CNAME srv.example.", "srv.example. 60 IN A 6.6.6.6",
		"me.example. 60 IN CNAME localhost.", "localhost. 60 IN A 127.0.0.1",
		"root.example. 60 IN CNAME .", "star.example. 60 IN CNAME *.example.", `dot.example. 60 IN CNAME a\.b.example.`,
		"num.example. 60 IN CNAME 127.0.0.1.", `nul.example. 60 IN CNAME a\000.example.`, "*.example. 60 IN A 6.6.6.6",
		"127.0.0.1. 60 IN A 6.6.6.6")
	r := newResolver(t, Config{Public: server, Hosts: mustHosts("srv.example", "10.0.0.7"), Now: newClock().Now})
	answer := mustResolve(t, r, "pin.example")
	if !slices.Equal(answer.Addrs, addrs("10.0.0.7")) || answer.Source != SourcePublic || !slices.Equal(answer.Chain, []string{"srv.example"}) {
		t.Errorf("an alias of a pinned name: %+v", answer)
	}
	if answer, err := r.Resolve(t.Context(), "me.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an alias of localhost: %v, %v", answer, err)
	}
	for _, name := range []string{"root", "star", "dot", "num", "nul"} {
		if answer, err := r.Resolve(t.Context(), name+".example"); !errors.Is(err, ErrFailed) {
			t.Errorf("%s.example: %v, %v", name, answer, err)
		}
	}
	for _, asked := range server.asked() {
		if strings.HasPrefix(asked, "srv.") || strings.HasPrefix(asked, "localhost") {
			t.Errorf("the server was asked for %s", asked)
		}
	}
}
