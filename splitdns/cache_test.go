package splitdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

func TestTTLs(t *testing.T) {
	const year = 365 * 86400
	for what, c := range map[string]struct {
		lines []string
		cache Cache
		keeps time.Duration // from when on it is asked again; 0: each time
	}{
		"as said":           {lines: []string{"a.example. 60 IN TXT x"}, keeps: time.Minute},
		"one second":        {lines: []string{"a.example. 1 IN TXT x"}, keeps: time.Second},
		"none":              {lines: []string{"a.example. 0 IN TXT x"}},
		"the least":         {lines: []string{"a.example. 60 IN TXT x", "a.example. 20 IN TXT y"}, keeps: 20 * time.Second},
		"the alias's":       {lines: []string{"a.example. 30 IN CNAME b.example.", "b.example. 60 IN TXT x"}, keeps: 30 * time.Second},
		"an alias's none":   {lines: []string{"a.example. 0 IN CNAME b.example.", "b.example. 60 IN TXT x"}},
		"capped":            {lines: []string{fmt.Sprintf("a.example. %d IN TXT x", year)}, keeps: 24 * time.Hour},
		"capped as told":    {lines: []string{"a.example. 3600 IN TXT x"}, cache: Cache{MaxTTL: time.Minute}, keeps: time.Minute},
		"capped to none":    {lines: []string{"a.example. 60 IN TXT x"}, cache: Cache{MaxTTL: -1}},
		"negative bit":      {lines: []string{"a.example. 2147483648 IN TXT x"}},
		"no records":        {lines: []string{"a.example. 60 IN A 192.0.2.1", "example. 90 IN SOA a. b. 1 1 1 1 40"}, keeps: 40 * time.Second},
		"no name":           {lines: []string{"example. 30 IN SOA a. b. 1 1 1 1 40"}, keeps: 30 * time.Second},
		"no name, root SOA": {lines: []string{". 30 IN SOA a. b. 1 1 1 1 40"}, keeps: 30 * time.Second},
		"no end of alias":   {lines: []string{"a.example. 10 IN CNAME b.example.", "example. 30 IN SOA a. b. 1 1 1 1 40"}, keeps: 10 * time.Second},
		"no name, capped":   {lines: []string{"example. 86400 IN SOA a. b. 1 1 1 1 86400"}, keeps: 5 * time.Minute},
		"no name, no SOA":   {lines: nil},
		"foreign SOA":       {lines: []string{"a.example. 60 IN A 192.0.2.1"}},
		"no cache":          {lines: []string{"a.example. 60 IN TXT x"}, cache: Cache{Entries: -1}},
	} {
		at := newClock()
		server := newServer(t, "9.9.9.9", c.lines...)
		if what == "foreign SOA" {
			server.twist = func(_ upstream.Question, m *dns.Msg) {
				_, soa := parseRecords(t, "ample. 60 IN SOA a. b. 1 1 1 1 60")
				m.Ns = append(m.Ns, soa)
			}
		}
		r := newResolver(t, Config{Public: server, Cache: c.cache, Now: at.Now})
		look := func() Records {
			t.Helper()
			records, err := r.Look(t.Context(), "a.example", dns.TypeTXT)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return records
		}
		first := look()
		server.wantAsked(t, "a.example TXT")
		if c.keeps == 0 {
			if look(); len(server.asked()) != 1 {
				t.Errorf("%s: was kept", what)
			}
			continue
		}
		if first.TTL != c.keeps || first.Cached {
			t.Errorf("%s: TTL %v (cached: %v), want %v", what, first.TTL, first.Cached, c.keeps)
		}
		at.advance(c.keeps - 600*time.Millisecond)
		if again := look(); again.TTL != 600*time.Millisecond || !again.Cached || again.Rcode != first.Rcode || len(again.RRs) != len(first.RRs) {
			t.Errorf("%s: at the end %+v", what, again)
		} else if len(again.RRs) > 0 && again.RRs[0].Header().Ttl != 1 {
			t.Errorf("%s: at the end %v", what, again.RRs[0])
		}
		server.wantAsked(t)
		at.advance(600 * time.Millisecond)
		look()
		if asked := server.asked(); len(asked) != 1 {
			t.Errorf("%s: asked %q after the end", what, asked)
		}
	}
}

// TestAnswersThatChange is a name that is another each time, as a rebinding
// attacker's is: without a TTL each call gets what was said last.
func TestAnswersThatChange(t *testing.T) {
	for ttl, wantAsked := range map[int]int{0: 10, 1: 5} {
		at := newClock()
		var n atomic.Int64
		server := newServer(t, "9.9.9.9")
		server.twist = func(q upstream.Question, m *dns.Msg) {
			m.Rcode = dns.RcodeSuccess
			if q.Type == dns.TypeA {
				m.Answer, _ = parseRecords(t, fmt.Sprintf("a.example. %d IN A 192.0.2.%d", ttl, n.Add(1)))
			} else {
				_, soa := parseRecords(t, "example. 600 IN SOA a. b. 1 1 1 1 600")
				m.Ns = []dns.RR{soa}
			}
		}
		r := newResolver(t, Config{Public: server, Now: at.Now})
		for i := range 10 { // two calls a second
			want := int(n.Load())
			answer := mustResolve(t, r, "a.example")
			if ttl == 0 || i%2 == 0 {
				want++
			}
			if !slices.Equal(answer.Addrs, addrs(fmt.Sprintf("192.0.2.%d", want))) || answer.TTL > time.Duration(ttl)*time.Second {
				t.Errorf("TTL %d, call %d: %+v, want number %d", ttl, i, answer, want)
			}
			at.advance(500 * time.Millisecond)
		}
		if got := int(n.Load()); got != wantAsked {
			t.Errorf("TTL %d: asked %d times, want %d", ttl, got, wantAsked)
		}
	}
}

func TestFailuresAreRememberedBriefly(t *testing.T) {
	at := newClock()
	server := newServer(t, "9.9.9.9", "a.example. 60 IN TXT x")
	server.before = fail(errors.New("down"))
	r := newResolver(t, Config{Public: server, Now: at.Now})
	for range 5 {
		if _, err := r.Look(t.Context(), "a.example", dns.TypeTXT); !errors.Is(err, ErrFailed) {
			t.Error(err)
		}
	}
	server.wantAsked(t, "a.example TXT")
	at.advance(failureHold)
	server.before = nil
	if _, err := r.Look(t.Context(), "a.example", dns.TypeTXT); err != nil {
		t.Error(err)
	}
	server.wantAsked(t, "a.example TXT")
}

// stale is a resolver over a server that can be turned into a dead one.
type stale struct {
	*testing.T
	r      *Resolver
	server *nameServer
	dead   atomic.Int32 // 0 alive, 1 fails at once, 2 says nothing
}

func newStale(t *testing.T, c Cache) *stale {
	s := &stale{T: t, server: newServer(t, "9.9.9.9", "a.example. 60 IN TXT x", "example. 60 IN SOA a. b. 1 1 1 1 60")}
	s.server.before = func(ctx context.Context, q upstream.Question) error {
		switch s.dead.Load() {
		case 1:
			return errors.New("down")
		case 2:
			return silent(ctx, q)
		}
		return nil
	}
	s.r = newResolver(t, Config{Public: s.server, Cache: c})
	return s
}

// expect looks and compares what comes: "fresh", "cached", "stale" or "error";
// and how long it took, and whether the server was asked.
func (s *stale) expect(want string, took time.Duration, asked bool) {
	s.Helper()
	began := time.Now()
	records, err := s.r.Look(s.Context(), "a.example", dns.TypeTXT)
	got := "fresh"
	switch {
	case err != nil:
		got = "error"
	case records.Rcode != 0:
		got = "no name"
	case records.Stale:
		got = "stale"
		if records.TTL != 30*time.Second || !records.Cached || len(records.RRs) != 1 {
			s.Errorf("stale: %+v", records)
		}
	case records.Cached:
		got = "cached"
	}
	if got != want || time.Since(began) != took {
		s.Errorf("%s after %v, want %s after %v (%v)", got, time.Since(began), want, took, err)
	}
	synctest.Wait()
	if n := len(s.server.asked()); (n == 1) != asked || n > 1 {
		s.Errorf("asked %d times", n)
	}
}

func TestStaleWhenServersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStale(t, Cache{})
		s.expect("fresh", 0, true)
		time.Sleep(time.Minute)
		s.dead.Store(1)
		s.expect("stale", 0, true)
		s.expect("stale", 0, false) // the failure is remembered
		time.Sleep(failureHold)
		s.expect("stale", 0, true)
		time.Sleep(failureHold)
		s.dead.Store(0)
		s.expect("stale", 0, true) // the news comes behind it
		s.expect("cached", 0, false)
	})
}

func TestStaleWhenServersAreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStale(t, Cache{})
		s.expect("fresh", 0, true)
		time.Sleep(time.Minute)
		s.dead.Store(2)
		s.expect("stale", stalePatience, true)
		s.expect("stale", 0, false)  // the same question goes on, and has gone on for 1.8 s
		time.Sleep(6 * time.Second)  // it has ended by now, and its failure been remembered
		s.expect("stale", 0, true)   // known to fail: nobody waits
		time.Sleep(40 * time.Second) // known no more
		s.expect("stale", stalePatience, true)
		s.dead.Store(0)
		time.Sleep(30 * time.Second)
		s.expect("stale", 0, true)
		s.expect("cached", 0, false)
	})
}

// TestStaleEnds shows the end of the window, to the nanosecond, and that -1 is
// never.
func TestStaleEnds(t *testing.T) {
	for _, window := range []time.Duration{0, 10 * time.Second, -1} {
		synctest.Test(t, func(t *testing.T) {
			length := window
			if length == 0 {
				length = time.Hour
			}
			s := newStale(t, Cache{Stale: window})
			s.expect("fresh", 0, true)
			s.dead.Store(1)
			if window > -1 {
				time.Sleep(time.Minute + length - 1)
				s.expect("stale", 0, true)
				time.Sleep(time.Nanosecond)
				s.expect("error", 0, false)
			} else {
				time.Sleep(time.Minute)
				s.expect("error", 0, true)
			}
		})
	}
}

// TestNothingStaleAfterADenial has the name vanish, and come without a TTL,
// before the servers fail.
func TestNothingStaleAfterADenial(t *testing.T) {
	for what, lines := range map[string][]string{
		"no name":            {"example. 60 IN SOA a. b. 1 1 1 1 60"},
		"no name, not kept":  {},
		"no record":          {"a.example. 60 IN A 192.0.2.1", "example. 60 IN SOA a. b. 1 1 1 1 60"},
		"records for a call": {"a.example. 0 IN TXT y"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStale(t, Cache{})
			s.expect("fresh", 0, true)
			time.Sleep(time.Minute)
			s.server.serve(t, lines...)
			if records, err := s.r.Look(t.Context(), "a.example", dns.TypeTXT); err != nil || records.Stale {
				t.Errorf("%s: %+v, %v", what, records, err)
			}
			s.server.asked()
			s.dead.Store(1)
			time.Sleep(time.Minute)
			s.expect("error", 0, true)
			s.expect("error", 0, false)
		})
	}
}

// TestAStaleLink shows that a chain is stale when a part of it is.
func TestAStaleLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public := newServer(t, "9.9.9.9", "www.example. 3600 IN CNAME app.corp.")
		inside := newServer(t, "10.0.0.53", "app.corp. 60 IN A 10.0.0.1", "corp. 3600 IN SOA a. b. 1 1 1 1 3600")
		r := newResolver(t, Config{Public: public, Zones: []Zone{{Suffix: "corp", Servers: inside}}})
		mustResolve(t, r, "www.example")
		time.Sleep(2 * time.Minute)
		inside.before = fail(errors.New("down"))
		answer := mustResolve(t, r, "www.example")
		if !answer.Stale || !answer.Cached || answer.TTL != 30*time.Second || !slices.Equal(answer.Addrs, addrs("10.0.0.1")) {
			t.Errorf("%+v", answer)
		}
	})
}

// TestCacheIsBounded puts in more than fits, by number and by bytes.
func TestCacheIsBounded(t *testing.T) {
	count := func(c *cache) (entries, bytes int) {
		for i := range c.shards {
			s := &c.shards[i]
			entries, bytes = entries+s.order.Len(), bytes+s.bytes
			if s.order.Len() != len(s.byKey) || s.order.Len() > s.maxEntries || s.bytes > s.maxBytes {
				t.Fatalf("shard %d: %d in order, %d by key, %d bytes", i, s.order.Len(), len(s.byKey), s.bytes)
			}
		}
		return entries, bytes
	}
	large := make([]dns.RR, maxRecords)
	for i := range large {
		large[i] = &dns.TXT{Hdr: dns.RR_Header{Name: "a.example."}, Txt: []string{strings.Repeat("x", 200)}}
	}
	for entries, want := range map[int]int{1: 1, 10: 10, 2000: 2000} {
		small, big := newCache(entries), newCache(entries)
		for i := range 2*entries + 100 {
			k := key{name: fmt.Sprintf("n%d.example", i), qtype: 1}
			small.put(k, entry{good: &segment{addrs: addrs("192.0.2.1")}})
			big.put(k, entry{good: &segment{rrs: large}})
		}
		if n, bytes := count(small); n != want || bytes != n*(256+256+32) {
			t.Errorf("of %d: %d entries, %d bytes", entries, n, bytes)
		}
		if n, bytes := count(big); n == 0 || bytes > max(entries*bytesPerEntry, 64<<10) {
			t.Errorf("large ones, of %d: %d entries, %d bytes", entries, n, bytes)
		}
	}
}

// TestCacheIsLRU compares the cache with a slice in the order of use.
func TestCacheIsLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.IntRange(1, 8).Draw(t, "room")
		c := newCache(room)
		type line struct {
			key key
			seg *segment
		}
		var used []line // the last one in front
		find := func(k key) int { return slices.IndexFunc(used, func(l line) bool { return l.key == k }) }
		keys := rapid.Custom(func(t *rapid.T) key {
			return key{rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "name"), rapid.Uint16Range(1, 2).Draw(t, "type")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, seg := keys.Draw(t, "key"), new(segment)
				c.put(k, entry{good: seg})
				if i := find(k); i >= 0 {
					used = slices.Delete(used, i, i+1)
				}
				used = slices.Insert(used, 0, line{k, seg})
				used = used[:min(len(used), room)]
			},
			"get": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				got, ok := c.get(k)
				i := find(k)
				if ok != (i >= 0) || ok && got.good != used[i].seg {
					t.Fatalf("%v: %v, want number %d of %d", k, ok, i, len(used))
				}
				if ok {
					hit := used[i]
					used = slices.Insert(slices.Delete(used, i, i+1), 0, hit)
				}
			},
			"drop": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				c.drop(k)
				if i := find(k); i >= 0 {
					used = slices.Delete(used, i, i+1)
				}
			},
		})
	})
}

// A failure takes room as an answer does.
func TestFailuresTakeRoom(t *testing.T) {
	c := newCache(100)
	text := strings.Repeat("x", 4<<10)
	for i := range 100 {
		c.put(key{fmt.Sprint(i), dns.TypeA}, entry{failure: errors.New(text)})
	}
	if s := &c.shards[0]; s.order.Len() == 0 || s.order.Len()*len(text) > s.maxBytes {
		t.Errorf("%d failures of %d bytes are kept", s.order.Len(), len(text))
	}
}

// So do strings without anything in them, of which a record can hold many.
func TestEmptyStringsTakeRoom(t *testing.T) {
	const many = 15_000
	seg := &segment{rrs: []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: make([]string, many)}}}
	if size, least := seg.size(), many*int(unsafe.Sizeof("")); size < least {
		t.Errorf("%d bytes, want %d at least", size, least)
	}
	c := newCache(10)
	small, large := key{"small.example", dns.TypeTXT}, key{"large.example", dns.TypeTXT}
	c.put(small, entry{good: &segment{}})
	c.put(large, entry{good: seg})
	_, kept := c.get(small)
	if _, too := c.get(large); !kept || too {
		t.Error("what is larger than the cache has pushed out the rest")
	}
}
