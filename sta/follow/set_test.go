package follow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

// vault is an authority of another make.
type vault struct {
	asked atomic.Int64
	seen  ticket.Handle
	data  []ticket.Value
	err   error
}

func (v *vault) RequestData(_ context.Context, h ticket.Handle, version int) ([]ticket.Value, error) {
	v.asked.Add(1)
	v.seen = h
	if version != 0 && version != 22 {
		return nil, ticket.Refuse(ticket.Unknown, "no ticket of version %d", version)
	}
	return v.data, v.err
}

func (v *vault) foreign(t *testing.T, id string) *follow.Foreign {
	t.Helper()
	f, err := follow.NewForeign(follow.ForeignConfig{Authority: id, Gateway: fqdn, Vault: v})
	must(t, err)
	return f
}

// member is one that answers as it is told, or never.
type member struct {
	claims *ticket.Claims
	err    error
	hang   bool
	asked  atomic.Int64
}

func (m *member) Known(*ticket.Presentation) (*ticket.Claims, bool, error) { return nil, false, nil }

func (m *member) Redeem(ctx context.Context, _ *ticket.Presentation) (*ticket.Claims, error) {
	m.asked.Add(1)
	if m.hang {
		<-ctx.Done()
		return nil, ticket.Refuse(ticket.Unavailable, "no answer")
	}
	return m.claims, m.err
}

func (m *member) Revoked(*ticket.Claims) bool { return m.err != nil }
func (m *member) KeyGone(keyID string) bool   { return m.claims == nil || m.claims.KeyID != keyID }

func refusing(r ticket.Reason) *member { return &member{err: ticket.Refuse(r, "no")} }

func bare() *ticket.Presentation {
	return &ticket.Presentation{Form: ticket.FormHandle, Handle: ticket.NewHandle()}
}

func TestSetAsksWhoseTicketItMayBe(t *testing.T) {
	good := &ticket.Claims{ID: "x", Authority: "STA02", Policy: "lab"}
	for name, c := range map[string]struct {
		first, second *member
		policies      []string
		vault         ticket.Reason // what the foreign one says; "" for yes
		want          ticket.Reason
		asked         int64 // at the foreign one
	}{
		"the second":                 {first: refusing(ticket.Unknown), second: &member{claims: good}},
		"the first is away":          {first: &member{hang: true}, second: &member{claims: good}},
		"revoked":                    {first: refusing(ticket.Unknown), second: refusing(ticket.Revoked), want: ticket.Revoked},
		"held back":                  {first: refusing(ticket.Held), second: refusing(ticket.Unknown), want: ticket.Held},
		"nobody's":                   {first: refusing(ticket.Unknown), second: refusing(ticket.Unknown), vault: ticket.Unknown, want: ticket.Unknown, asked: 1},
		"the foreign one's":          {first: refusing(ticket.Unknown), second: refusing(ticket.Unknown), asked: 1},
		"perhaps that of one away":   {first: refusing(ticket.Unavailable), second: refusing(ticket.Unknown), want: ticket.Unavailable},
		"a policy it may not name":   {first: refusing(ticket.Unknown), second: &member{claims: good}, policies: []string{"", "other"}, want: ticket.WrongAuthority},
		"a policy that it may name":  {first: refusing(ticket.Unknown), second: &member{claims: good}, policies: []string{"lab"}},
		"the foreign one is away":    {first: refusing(ticket.Unknown), second: refusing(ticket.Unknown), vault: ticket.Unavailable, want: ticket.Unavailable, asked: 1},
		"too many ask the first one": {first: refusing(ticket.Busy), second: refusing(ticket.Unknown), want: ticket.Busy},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{}
			if c.vault != "" {
				v.err = ticket.Refuse(c.vault, "no")
			}
			set, err := follow.NewSet([]follow.Trusted{
				{Authority: "STA09", Member: v.foreign(t, "STA09"), Foreign: true}, // last, wherever it stands
				{Authority: "STA01", Member: c.first},
				{Authority: "STA02", Member: c.second, Policies: c.policies},
			})
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			claims, err := set.Redeem(ctx, bare())
			wantReason(t, err, c.want)
			if (claims != nil) != (err == nil) {
				t.Errorf("claims %v beside %v", claims, err)
			}
			if n := v.asked.Load(); n != c.asked {
				t.Errorf("the foreign one was shown the ticket %d times, want %d", n, c.asked)
			}
		})
	}
}

// Named, a ticket goes to the authority that it names, and to no other; a token
// to the one that it says it comes from.
func TestSetAsksOnlyWhoIsNamed(t *testing.T) {
	first, second, v := refusing(ticket.Unknown), refusing(ticket.Unknown), &vault{}
	set, err := follow.NewSet([]follow.Trusted{
		{Authority: "STA01", Member: first}, {Authority: "STA02", Member: second},
		{Authority: "STA09", Member: v.foreign(t, "STA09"), Foreign: true},
	})
	must(t, err)
	named := func(id string, version int) *ticket.Presentation {
		return &ticket.Presentation{Form: ticket.FormSTA, Authority: id, Version: version, Handle: ticket.NewHandle()}
	}
	_, err = set.Redeem(t.Context(), named("STA02", 40))
	wantReason(t, err, ticket.Unknown)
	_, err = set.Redeem(t.Context(), named("STA03", 40))
	wantReason(t, err, ticket.WrongAuthority)
	_, err = set.Redeem(t.Context(), named("STA09", 22))
	must(t, err)
	// eyJpc3MiOiJTVEEwMSJ9 is {"iss":"STA01"}.
	token := &ticket.Presentation{Form: ticket.FormToken, Statement: "e30.eyJpc3MiOiJTVEEwMSJ9.x", Handle: ticket.NewHandle()}
	_, err = set.Redeem(t.Context(), token)
	wantReason(t, err, ticket.Unknown)
	for statement, want := range map[string]ticket.Reason{
		"e30.e30.x": ticket.Malformed, "x": ticket.Malformed, "..": ticket.Malformed,
		"e30.eyJpc3MiOiJTVEEwOSJ9.x": ticket.WrongAuthority, // {"iss":"STA09"}, which signs nothing
		"e30.eyJpc3MiOiJTVEEwMyJ9.x": ticket.WrongAuthority, // {"iss":"STA03"}, whom nobody trusts
	} {
		token.Statement = statement
		_, err = set.Redeem(t.Context(), token)
		wantReason(t, err, want)
	}
	if first.asked.Load() != 1 || second.asked.Load() != 1 || v.asked.Load() != 1 {
		t.Errorf("asked %d, %d and %d times", first.asked.Load(), second.asked.Load(), v.asked.Load())
	}
}

func TestSetOfNoneOrTwice(t *testing.T) {
	if _, err := follow.NewSet(nil); err == nil {
		t.Error("nobody is trusted, and that is fine")
	}
	if _, err := follow.NewSet([]follow.Trusted{{Authority: "STA01"}, {Authority: "STA01"}}); err == nil {
		t.Error("one authority twice")
	}
}

// What happened since is asked of the ticket's own authority; nobody speaks for
// one that is not there.
func TestSetRevokedAndKeyGone(t *testing.T) {
	first, second := &member{claims: &ticket.Claims{KeyID: "k1"}}, refusing(ticket.Revoked)
	set, err := follow.NewSet([]follow.Trusted{{Authority: "STA01", Member: first}, {Authority: "STA02", Member: second}})
	must(t, err)
	for id, want := range map[string]bool{"STA01": false, "STA02": true, "STA03": true} {
		if got := set.Revoked(&ticket.Claims{Authority: id}); got != want {
			t.Errorf("%s: revoked is %v", id, got)
		}
	}
	if set.KeyGone("k1") || !set.KeyGone("k2") {
		t.Error("key k1 is gone, or k2 is not")
	}
}

// A foreign authority's yes is good for a minute, its no for 5 s, and no answer
// for nothing.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{data: []ticket.Value{{Name: "ICAAddress", Value: "mail.example.com:443"}}}
		f := v.foreign(t, "STA09")
		p := bare()
		if _, known, _ := f.Known(p); known {
			t.Error("known before it was asked for")
		}
		claims, err := f.Redeem(context.Background(), p)
		must(t, err)
		if claims.Authority != "STA09" || len(claims.Data) != 1 || claims.Refreshable || claims.Audience[0] != fqdn || v.seen != p.Handle {
			t.Errorf("%+v", claims)
		}
		time.Sleep(59 * time.Second)
		if again, known, err := f.Known(p); !known || err != nil || again != claims {
			t.Errorf("within the minute: %v, %v", known, err)
		}
		time.Sleep(time.Second)
		if _, known, _ := f.Known(p); known {
			t.Error("known after the minute")
		}
		v.err = ticket.Refuse(ticket.Unknown, "no")
		for range 3 {
			_, err = f.Redeem(context.Background(), p)
			wantReason(t, err, ticket.Unknown)
		}
		if n := v.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(5 * time.Second)
		v.err = errors.New("no way there")
		for range 2 {
			_, err = f.Redeem(context.Background(), p)
			wantReason(t, err, ticket.Unavailable)
		}
		if n := v.asked.Load(); n != 4 {
			t.Errorf("asked %d times: no answer is none", n)
		}
		for _, other := range []*ticket.Presentation{
			{Form: ticket.FormToken, Handle: p.Handle, Statement: "x"}, {Form: ticket.FormSTA, Handle: p.Handle, Authority: "STA01"},
		} {
			if _, known, _ := f.Known(other); known {
				t.Error("known, but named for another authority")
			}
			_, err = f.Redeem(context.Background(), other)
			wantReason(t, err, ticket.WrongAuthority)
		}
		if f.KeyGone("") || !f.KeyGone("k") || f.Revoked(claims) {
			t.Error("its tickets have no key, and are never revoked")
		}
	})
}
