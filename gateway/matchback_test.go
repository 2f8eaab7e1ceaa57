package gateway_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
)

// Of several names that have an address, the first that the ticket allows and that
// may have the address is the one that was meant.
func TestMatchBackAmongNames(t *testing.T) {
	shared := addrs("10.0.0.25")
	set, err := policy.CompileSet(policy.Spec{
		Services: "a.example.net:443,b.example.com:443,c.example.com:443,d.example.com:993",
	}, nil)
	must(t, err)
	s := &gateway.Snapshot{
		Policies: set,
		Resolver: answers{
			"a.example.net": {Addrs: shared}, // outside, whose DNS says what it likes
			"b.example.com": {Addrs: shared}, "c.example.com": {Addrs: shared}, "d.example.com": {Addrs: shared},
		},
		Address: policy.NewAddressRules(policy.AddressConfig{
			Zones: []policy.Zone{{Suffix: "example.com", Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		}),
	}
	for _, c := range []struct {
		port            uint16
		services        []string
		matched, reason string
	}{
		{443, nil, "b.example.com", "listed"},
		{443, []string{"c.example.com:443"}, "c.example.com", "listed"},
		{993, nil, "d.example.com", "listed"},
		{443, []string{"a.example.net:443"}, "a.example.net", "address_private"},
		{443, []string{"x.example.com:443"}, "", "narrowed"},
		{25, nil, "", "address_not_listed"},
	} {
		ask := narrowed(askFor("10.0.0.25", c.port), c.services...)
		j := gateway.Judge(t.Context(), s, ask)
		if j.Matched != c.matched || j.Reason != c.reason {
			t.Errorf("%d for %v: %s %s, want %s %s", c.port, c.services, j.Matched, j.Reason, c.matched, c.reason)
		}
	}
}

// The catalogue's addresses count for what is listed, and only where it is on.
func TestMatchBackByCatalogue(t *testing.T) {
	s := judgedWorld(t)
	listed, other := askFor("54.154.200.233", 443), askFor("54.154.200.233", 80)
	if j := gateway.Judge(t.Context(), s, listed); j.Matched != "eu.wild.example.net" {
		t.Errorf("%+v", j)
	}
	if j := gateway.Judge(t.Context(), s, other); j.Allow {
		t.Errorf("on another port: %+v", j)
	}
	s.Catalogue = nil
	if j := gateway.Judge(t.Context(), s, listed); j.Reason != "address_not_listed" {
		t.Errorf("switched off: %+v", j)
	}
}

// A table outlives whoever asked for it first, and the snapshot is not let go
// before the last look-up for it is over.
func TestSnapshotWaitsForLookUps(t *testing.T) {
	w := newWorld(t, options{})
	looking, resume := make(chan struct{}), make(chan struct{})
	released := make(chan struct{})
	var early atomic.Bool
	s := w.snapshot("held.example.com:"+w.service, netip.AddrPort{})
	s.Release = func() {
		select {
		case <-resume:
		default:
			early.Store(true)
		}
		close(released)
	}
	s.Resolver = resolverFunc(func(context.Context, string) (gateway.Resolution, error) {
		close(looking)
		<-resume
		return gateway.Resolution{Addrs: addrs("127.0.0.1")}, nil
	})
	w.gateway.Use(s)
	done := make(chan error, 1)
	handle := w.issue(nil).Handle.Reveal()
	go func() {
		_, err := w.open(handle, "127.0.0.1", w.port)
		done <- err
	}()
	next(t, looking, "look-up")
	w.gateway.Use(w.snapshot("mail.example.com:"+w.service, netip.AddrPort{}))
	echo(t, w.mustOpen(handle, "mail.example.com", w.port), "meanwhile the new one decides")
	close(resume)
	if err := next(t, done, "answer"); err == nil {
		t.Error("an address that is not pinned opens")
	}
	next(t, released, "release")
	if early.Load() {
		t.Error("let go while a name was looked up")
	}
}
