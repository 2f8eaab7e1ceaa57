package splitdns

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// TestOneFamilyWaitsForTheOther has each family answer after so many
// milliseconds; less than 0 fails at once.
func TestOneFamilyWaitsForTheOther(t *testing.T) {
	const never = 1_000_000
	for what, c := range map[string]struct {
		a, aaaa      time.Duration
		noA, noAAAA  bool
		took         time.Duration
		wantA, want6 bool
	}{
		"together":                   {a: 10, aaaa: 10, took: 10, wantA: true, want6: true},
		"AAAA a little later":        {a: 10, aaaa: 59, took: 59, wantA: true, want6: true},
		"AAAA too late":              {a: 10, aaaa: 300, took: 60, wantA: true},
		"AAAA never":                 {a: 10, aaaa: never, took: 60, wantA: true},
		"A a little later":           {a: 255, aaaa: 10, took: 255, wantA: true, want6: true},
		"A too late":                 {a: 400, aaaa: 10, took: 260, want6: true},
		"no AAAA records, A late":    {a: 2000, aaaa: 10, noAAAA: true, took: 2000, wantA: true},
		"no A records, AAAA late":    {a: 10, aaaa: 2000, noA: true, took: 2000, want6: true},
		"AAAA fails, A late":         {a: 2000, aaaa: -1, took: 2000, wantA: true},
		"A fails, AAAA late":         {a: -1, aaaa: 2000, took: 2000, want6: true},
		"no A records, AAAA never":   {a: 10, aaaa: never, noA: true, took: 5000},
		"nothing from either family": {a: never, aaaa: never, took: 5000},
	} {
		synctest.Test(t, func(t *testing.T) {
			lines := []string{"example. 60 IN SOA ns. host. 1 1 1 1 60"}
			if !c.noA {
				lines = append(lines, "a.example. 60 IN A 192.0.2.1")
			}
			if !c.noAAAA {
				lines = append(lines, "a.example. 60 IN AAAA 2001:db8::1")
			}
			server := newServer(t, "9.9.9.9", lines...)
			server.before = func(ctx context.Context, q upstream.Question) error {
				wait := c.a
				if q.Type == dns.TypeAAAA {
					wait = c.aaaa
				}
				if wait < 0 {
					return errors.New("broken")
				}
				select {
				case <-time.After(wait * time.Millisecond):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			r := newResolver(t, Config{Public: server})
			began := time.Now()
			answer, err := r.Resolve(t.Context(), "a.example")
			if took := time.Since(began); took != c.took*time.Millisecond {
				t.Errorf("%s: took %v", what, took)
			}
			var want []string
			if c.wantA {
				want = append(want, "192.0.2.1")
			}
			if c.want6 {
				want = append(want, "2001:db8::1")
			}
			if !slices.Equal(answer.Addrs, addrs(want...)) || (err == nil) != (len(want) > 0) {
				t.Errorf("%s: %v, %v", what, answer.Addrs, err)
			}
			if err != nil && !errors.Is(err, ErrTimeout) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// TestTheLateFamilyLands shows that an answer which came too late for its caller
// serves the next one, without a question.
func TestTheLateFamilyLands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, "9.9.9.9", "a.example. 60 IN A 192.0.2.1", "a.example. 60 IN AAAA 2001:db8::1")
		server.before = func(_ context.Context, q upstream.Question) error {
			if q.Type == dns.TypeAAAA {
				time.Sleep(400 * time.Millisecond) // fake time
			}
			return nil
		}
		r := newResolver(t, Config{Public: server})
		if answer := mustResolve(t, r, "a.example"); len(answer.Addrs) != 1 {
			t.Errorf("first: %v", answer.Addrs)
		}
		time.Sleep(time.Second)
		server.wantAsked(t, "a.example A", "a.example AAAA")
		answer := mustResolve(t, r, "a.example")
		if want := addrs("192.0.2.1", "2001:db8::1"); !slices.Equal(answer.Addrs, want) || !answer.Cached || answer.TTL != 58950*time.Millisecond {
			t.Errorf("second: %+v", answer)
		}
		server.wantAsked(t)
	})
}
