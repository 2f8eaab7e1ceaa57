package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// Whatever is revoked at the authority, exactly its tunnels end, and the
// authority is told how many.
func TestCutByScope(t *testing.T) {
	w := newWorld(t, options{})
	type holder struct {
		user, device string
		issued       sta.Issued
		conn         *tls.Conn
	}
	var holders []*holder
	for _, h := range []holder{
		{user: "ann", device: "phone"}, {user: "ann", device: "tablet"}, {user: "ann", device: "watch"},
		{user: "bob", device: "laptop"}, {user: "cid", device: "iPad"}, {user: "dan", device: "iPhone"},
	} {
		h.issued = w.issue(func(r *sta.IssueRequest) { r.User, r.Device = h.user, h.device })
		h.conn = w.mustOpen(h.issued.Handle.Reveal(), "mail.example.com", w.port)
		holders = append(holders, &h)
	}
	for _, c := range []struct {
		request sta.RevokeRequest
		ends    []int
	}{
		{sta.RevokeRequest{User: "ann", Device: "watch"}, []int{2}},
		{sta.RevokeRequest{Device: "laptop"}, []int{3}},
		{sta.RevokeRequest{User: "ann"}, []int{0, 1}},
		{sta.RevokeRequest{Ticket: holders[4].issued.ID}, []int{4}},
		{sta.RevokeRequest{All: true}, []int{5}},
	} {
		result, err := w.authority.Revoke(t.Context(), w.client, c.request)
		must(t, err)
		if result.Cut() != len(c.ends) {
			t.Errorf("%s: the authority is told of %d tunnels, want %d", result.Scope, result.Cut(), len(c.ends))
		}
		for range c.ends {
			if a := next(t, w.accounts, "account"); a.of.Reason != "revoked" {
				t.Errorf("%s: account says %s", result.Scope, a.of.Reason)
			}
		}
		for _, i := range c.ends {
			if _, err := holders[i].conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: bytes came", result.Scope)
			}
			holders[i].conn = nil
		}
		for _, h := range holders {
			if h.conn != nil {
				echo(t, h.conn, "still here")
			}
		}
	}
}

// Everyone is cut, and let in again when his turn comes. Until then he is told
// what everyone is told who has no ticket, and nothing is held against him.
func TestHeldBack(t *testing.T) {
	w := newWorld(t, options{failures: 100})
	handle := w.issue(nil).Handle.Reveal()
	conn := w.mustOpen(handle, "mail.example.com", w.port)
	result, err := w.authority.Revoke(t.Context(), w.client, sta.RevokeRequest{All: true, Stage: time.Hour})
	must(t, err)
	if result.Cut() != 1 {
		t.Errorf("%d cut", result.Cut())
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("bytes came")
	}
	if answer := presentRaw(t, w.connect(), "user", handle); !bytes.Equal(answer, []byte{5, 2, 1, 1}) {
		t.Errorf("answer % x", answer)
	}
	if r := next(t, w.refused, "refusal"); r.why.Label != "held_back" {
		t.Errorf("refused by %s (%s)", r.why.Label, r.why.Text)
	}
	w.clock.advance(time.Hour)
	echo(t, w.mustOpen(handle, "mail.example.com", w.port), "back")
}

// A key that is taken out of the set takes its tunnels along, and nobody else's.
func TestKeyTakenOut(t *testing.T) {
	w := newWorld(t, options{})
	handle := w.plant(t, nil, w.second)
	ends := w.mustOpen(handle, "mail.example.com", w.port)
	stays := w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port)
	w.takeKeyOut()
	if n := w.gateway.CutKeys(w.authority.Keys()); n > 1 { // none, if the follower was quicker
		t.Errorf("%d cut", n)
	}
	if _, err := ends.Read(make([]byte, 1)); err == nil {
		t.Error("bytes came")
	}
	if a := next(t, w.accounts, "account"); a.of.Reason != "key_revoked" {
		t.Errorf("account says %s", a.of.Reason)
	}
	echo(t, stays, "still here")
	if _, err := w.open(handle, "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
		t.Errorf("opens again: %v", err)
	}
	if r := next(t, w.refused, "refusal"); r.why.Label != string(ticket.BadSignature) {
		t.Errorf("refused by %s", r.why.Label)
	}
}

// What ends a ticket between its check and the registry is found by the second
// look.
func TestEndedDuringSetUp(t *testing.T) {
	revoke := func(r sta.RevokeRequest) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			r.AllMatching = true // planted: nothing listed tells whose it is
			_, err := w.authority.Revoke(t.Context(), w.client, r)
			must(t, err)
		}
	}
	for name, c := range map[string]struct {
		end   func(*testing.T, *world)
		label ticket.Reason
	}{
		"ticket":    {func(t *testing.T, w *world) { w.revokeOnly(t) }, ticket.Revoked},
		"user":      {revoke(sta.RevokeRequest{User: "u"}), ticket.Revoked},
		"all":       {revoke(sta.RevokeRequest{All: true}), ticket.Revoked},
		"held back": {revoke(sta.RevokeRequest{All: true, Stage: time.Hour}), ticket.Revoked},
		"key":       {func(_ *testing.T, w *world) { w.takeKeyOut() }, ticket.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			handle := w.plant(t, nil, w.second)
			looking, resume := w.holdResolver()
			opened := make(chan error, 1)
			go func() {
				_, err := w.open(handle, "held.example.com", w.port)
				opened <- err
			}()
			next(t, looking, "look-up")
			c.end(t, w)
			close(resume)
			var reply *socks.ReplyError
			if err := next(t, opened, "answer"); !errors.As(err, &reply) || reply.Reply != socks.NotAllowed {
				t.Errorf("%v", err)
			}
			if r := next(t, w.refused, "refusal"); r.why.Label != string(c.label) {
				t.Errorf("label %s", r.why.Label)
			}
			if w.gateway.Live() != 0 {
				t.Errorf("%d live", w.gateway.Live())
			}
		})
	}
}

// revokeOnly revokes the only ticket there is.
func (w *world) revokeOnly(t *testing.T) {
	t.Helper()
	page, err := w.authority.List(t.Context(), w.client, sta.Filter{})
	must(t, err)
	if len(page.Tickets) != 1 {
		t.Fatalf("%d tickets", len(page.Tickets))
	}
	_, err = w.authority.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: page.Tickets[0].ID})
	must(t, err)
}

// holdResolver keeps whoever wants held.example.com looking it up until resume
// is closed.
func (w *world) holdResolver() (looking, resume chan struct{}) {
	looking, resume = make(chan struct{}), make(chan struct{})
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	s := w.snapshot("held.example.com:"+w.service, netip.AddrPort{})
	s.Resolver = resolverFunc(func(context.Context, string) (gateway.Resolution, error) {
		close(looking)
		<-resume
		return gateway.Resolution{Addrs: local}, nil
	})
	s.Address = policy.NewAddressRules(policy.AddressConfig{Pinned: map[string][]netip.Addr{"held.example.com": local}})
	w.gateway.Use(s)
	return looking, resume
}

type resolverFunc func(context.Context, string) (gateway.Resolution, error)

func (f resolverFunc) Resolve(ctx context.Context, host string) (gateway.Resolution, error) {
	return f(ctx, host)
}
