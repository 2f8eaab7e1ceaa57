package splitdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// said is what the model's server says of a name, now.
type said struct {
	fails    bool
	number   int // of the record; 0: no such name
	ttl, neg int // seconds
}

// model is a naive resolver: all that was ever told, in the order of time.
type model struct {
	told   map[string]told
	failed map[string]time.Time
}

type told struct {
	number int
	until  time.Time
}

// expect returns what a look-up gives, and whether the server is asked.
func (m *model) expect(name string, s said, now time.Time) (number int, stale, fails, asked bool) {
	last, has := m.told[name]
	if has && now.Before(last.until) {
		return last.number, false, false, false
	}
	canBeStale := has && last.number > 0 && now.Before(last.until.Add(time.Hour))
	failed, hasFailed := m.failed[name]
	switch {
	case hasFailed && now.Before(failed.Add(failureHold)):
		return last.number * one(canBeStale), canBeStale, !canBeStale, false
	case s.fails:
		m.failed[name] = now
		return last.number * one(canBeStale), canBeStale, !canBeStale, true
	}
	behind := canBeStale && hasFailed && now.Before(failed.Add(staleHold))
	delete(m.told, name)
	delete(m.failed, name)
	ttl := min(s.ttl, 86400)
	if s.number == 0 {
		ttl = min(s.neg, 300)
	}
	if ttl > 0 {
		m.told[name] = told{s.number, now.Add(time.Duration(ttl) * time.Second)}
	}
	if behind {
		return last.number, true, false, true
	}
	return s.number, false, false, true
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// TestAgainstANaiveModel walks through random times, answers, denials and
// failures of three names, and compares with what ought to come.
func TestAgainstANaiveModel(t *testing.T) {
	names := []string{"a.example", "b.example", "c.corp"}
	rapid.Check(t, func(t *rapid.T) {
		at := newClock()
		m := &model{told: map[string]told{}, failed: map[string]time.Time{}}
		says := map[string]said{}
		asked := make(chan string, 1)
		ask := func(_ context.Context, q upstream.Question) (*upstream.Reply, error) {
			defer func() { asked <- q.Name }()
			s := says[q.Name]
			if s.fails {
				return nil, errors.New("down")
			}
			msg := new(dns.Msg)
			if s.number > 0 {
				rr, err := dns.NewRR(fmt.Sprintf("%s. %d IN TXT %d", q.Name, s.ttl, s.number))
				msg.Answer = append(msg.Answer, rr)
				return &upstream.Reply{Msg: msg}, err
			}
			msg.Rcode = dns.RcodeNameError
			soa, err := dns.NewRR(fmt.Sprintf(". 86400 IN SOA a. b. 1 1 1 1 %d", s.neg))
			msg.Ns = append(msg.Ns, soa)
			return &upstream.Reply{Msg: msg}, err
		}
		r, err := New(Config{Public: askerFunc(ask), Zones: []Zone{{Suffix: "corp", Servers: askerFunc(ask)}}, Now: at.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		number := 0
		seconds := rapid.SampledFrom([]int{0, 1, 2, 3, 29, 30, 31, 300, 301, 3599, 3600, 90000})
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				at.advance(max(0, time.Duration(seconds.Draw(t, "seconds"))*time.Second+time.Duration(rapid.IntRange(-1, 1).Draw(t, "more"))*time.Millisecond))
			},
			"the server changes": func(t *rapid.T) {
				s := said{fails: rapid.Bool().Draw(t, "fails"), ttl: seconds.Draw(t, "ttl"), neg: seconds.Draw(t, "negative ttl")}
				if rapid.Bool().Draw(t, "exists") {
					number++
					s.number = number
				}
				says[rapid.SampledFrom(names).Draw(t, "name")] = s
			},
			"look": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				want, stale, fails, wantAsked := m.expect(name, says[name], at.Now())
				records, err := r.Look(context.Background(), name, dns.TypeTXT)
				if wantAsked {
					if got := <-asked; got != name {
						t.Fatalf("asked for %s, want %s", got, name)
					}
					settle(r, key{name, dns.TypeTXT})
				}
				var got []string
				for _, rr := range records.RRs {
					got = append(got, rr.(*dns.TXT).Txt...)
				}
				var wantText []string
				if want > 0 {
					wantText = []string{fmt.Sprint(want)}
				}
				if (err != nil) != fails || !slices.Equal(got, wantText) || records.Stale != stale || err == nil && (records.Rcode == 0) != (want > 0) {
					t.Fatalf("%s: %q, %+v, %v; want %d (stale %v, fails %v)", name, got, records, err, want, stale, fails)
				}
				if last, has := m.told[name]; has && !stale && !fails && records.TTL != last.until.Sub(at.Now()) {
					t.Fatalf("%s: TTL %v, want %v", name, records.TTL, last.until.Sub(at.Now()))
				}
			},
			"": func(t *rapid.T) {
				select {
				case name := <-asked:
					t.Fatalf("%s was asked once more", name)
				default:
				}
			},
		})
	})
}

// settle waits for a look-up that went on after its caller.
func settle(r *Resolver, k key) {
	r.flights.mu.Lock()
	flight := r.flights.byKey[k]
	r.flights.mu.Unlock()
	if flight != nil {
		<-flight.done
	}
}

type askerFunc func(context.Context, upstream.Question) (*upstream.Reply, error)

func (f askerFunc) Ask(ctx context.Context, q upstream.Question) (*upstream.Reply, error) {
	return f(ctx, q)
}
