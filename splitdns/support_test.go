package splitdns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addrs(ss ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range ss {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func newResolver(t testing.TB, c Config) *Resolver {
	t.Helper()
	if c.Public == nil {
		c.Public = unasked{t}
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// unasked fails the test when it is asked.
type unasked struct{ t testing.TB }

func (u unasked) Ask(_ context.Context, q upstream.Question) (*upstream.Reply, error) {
	u.t.Errorf("asked for %s %s", q.Name, dns.Type(q.Type))
	return nil, errors.New("must not be asked")
}

// nameServer is a group of servers that speaks messages: it answers out of its
// records as a recursive server does, aliases followed as far as it knows them.
// Every answer goes through the wire form.
type nameServer struct {
	server upstream.Server
	// before may wait, or fail in place of an answer; twist may change the
	// answer. Both may be nil, and are called by the asking goroutine.
	before func(ctx context.Context, q upstream.Question) error
	twist  func(q upstream.Question, m *dns.Msg)

	mu      sync.Mutex // guards what follows
	records []dns.RR
	soa     dns.RR // comes with "no such"; may be nil
	log     []string
}

// newServer makes one of zone-file lines; SOA lines are for negative answers.
func newServer(t testing.TB, addr string, lines ...string) *nameServer {
	t.Helper()
	s := &nameServer{server: upstream.Server{Network: "udp", Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 53)}}
	s.serve(t, lines...)
	return s
}

// serve replaces the records.
func (s *nameServer) serve(t testing.TB, lines ...string) {
	t.Helper()
	records, soa := parseRecords(t, lines...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.soa = records, soa
}

func parseRecords(t testing.TB, lines ...string) (records []dns.RR, soa dns.RR) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil || rr == nil {
			t.Fatalf("%q: %v", line, err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			soa = rr
		} else {
			records = append(records, rr)
		}
	}
	return records, soa
}

func (s *nameServer) Ask(ctx context.Context, q upstream.Question) (*upstream.Reply, error) {
	s.mu.Lock()
	s.log = append(s.log, q.Name+" "+dns.Type(q.Type).String())
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(ctx, q); err != nil {
			return nil, err
		}
	}
	wire, err := s.answer(q).Pack()
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, err
	}
	return &upstream.Reply{Msg: m, Server: s.server}, nil
}

func (s *nameServer) answer(q upstream.Question) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.Name), q.Type)
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	at := dns.Fqdn(q.Name)
	for hops := 0; ; hops++ {
		var alias *dns.CNAME
		exists, ended := false, false
		for _, rr := range s.records {
			if !strings.EqualFold(rr.Header().Name, at) {
				continue
			}
			exists = true
			if rr.Header().Rrtype == q.Type {
				m.Answer = append(m.Answer, dns.Copy(rr))
				ended = true
			} else if cname, is := rr.(*dns.CNAME); is {
				alias = cname
			}
		}
		if ended || alias != nil && hops == 20 {
			break
		}
		if alias != nil {
			m.Answer = append(m.Answer, dns.Copy(alias))
			at = alias.Target
			continue
		}
		if s.soa != nil && dns.IsSubDomain(s.soa.Header().Name, at) {
			m.Ns = append(m.Ns, dns.Copy(s.soa))
			if !exists {
				m.Rcode = dns.RcodeNameError
			}
		} else if s.soa == nil && !exists && hops == 0 {
			m.Rcode = dns.RcodeNameError
		}
		break
	}
	if s.twist != nil {
		s.twist(q, m)
	}
	return m
}

// asked returns what was asked since the last time, sorted.
func (s *nameServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	slices.Sort(log)
	return log
}

func (s *nameServer) wantAsked(t testing.TB, want ...string) {
	t.Helper()
	if got := s.asked(); !slices.Equal(got, want) {
		t.Errorf("%s was asked %q, want %q", s.server, got, want)
	}
}

// fail makes a before that fails.
func fail(err error) func(context.Context, upstream.Question) error {
	return func(context.Context, upstream.Question) error { return err }
}

// silent is a before that ends with its context only.
func silent(ctx context.Context, _ upstream.Question) error {
	<-ctx.Done()
	return ctx.Err()
}

// clock is a Now that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// mustResolve returns the answer, or ends the test.
func mustResolve(t testing.TB, r *Resolver, name string) Answer {
	t.Helper()
	answer, err := r.Resolve(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func mustHosts(name string, ss ...string) map[string][]netip.Addr {
	return map[string][]netip.Addr{name: addrs(ss...)}
}
