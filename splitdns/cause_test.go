package splitdns

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/upstream"
)

// What a look-up failed by is told without the name, which whoever tells it knows.
func TestCause(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0") // and nobody listens on TCP
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	server, err := upstream.ParseServer("tcp://" + closed.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := upstream.NewPool(upstream.Config{Servers: []upstream.Server{server}})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r := newResolver(t, Config{
		Public: newServer(t, "9.9.9.9", corporate...),
		Zones:  []Zone{{Suffix: "corp.example", Servers: pool}},
	})
	for name, want := range map[string]string{
		"mail.corp.example": "zone corp.example, " + server.String() + ": connection refused",
		"gone.example.com":  "no such name (public, 9.9.9.9: NXDOMAIN)",
		"A.example.com":     "no such name",
	} {
		_, err := r.Resolve(t.Context(), name)
		if got := Cause(err); got != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
		if _, err = r.Look(t.Context(), name, dns.TypeTXT); err != nil && Cause(err) != want {
			t.Errorf("%s: %q (%v), want %q", name, Cause(err), err, want)
		}
	}
}

// One who gives up learns who was asked, and a server's own words come through.
func TestCauseWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newServer(t, "9.9.9.9", corporate...)
		slow.before = func(ctx context.Context, _ upstream.Question) error { <-ctx.Done(); return ctx.Err() }
		broken := newServer(t, "10.0.0.53", corporate...)
		broken.before = func(context.Context, upstream.Question) error { return errors.New("10.0.0.53 answered SERVFAIL") }
		r := newResolver(t, Config{Public: slow, Zones: []Zone{{Suffix: "corp.example", Servers: broken}}})
		for name, want := range map[string]string{
			"mail.example.com":  "public: no answer yet",
			"mail.corp.example": "zone corp.example, 10.0.0.53 answered SERVFAIL",
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := r.Resolve(ctx, name); Cause(err) != want {
				t.Errorf("%s: %q (%v), want %q", name, Cause(err), err, want)
			}
		}
	})
}
