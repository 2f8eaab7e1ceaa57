package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func TestTunnel(t *testing.T) {
	w := newWorld(t, options{})
	issued := w.issue(nil)
	handle := issued.Handle.Reveal()
	for name, c := range map[string]struct {
		password, host, rule string
	}{
		"by handle":                  {handle, "mail.example.com", "default/services[1]"},
		"by authority and handle":    {";40;STA01;" + handle, "mail.example.com", "default/services[1]"},
		"mixed case, dot at the end": {handle, "MAIL.Example.COM.", "default/services[1]"},
		"wildcard":                   {handle, "a.wild.example.com", "default/services[2]"},
		"international":              {handle, "BÜCHER.example.com", "default/services[9]"},
		"address of a listed name":   {handle, "127.0.0.1", "default/services[1]"},
		"the same, as IPv6":          {handle, "::ffff:127.0.0.1", "default/services[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.mustOpen(c.password, c.host, w.port)
			echo(t, conn, "grüße")
			must(t, conn.CloseWrite())
			if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
				t.Errorf("after the end: %q, %v", rest, err)
			}
			a := next(t, w.opened, "opened")
			if a.Claims.ID != issued.ID || a.Decision.Rule != c.rule || a.Claimed != "jürgen€" {
				t.Errorf("opened: ticket %s rule %s claimed %q", a.Claims.ID, a.Decision.Rule, a.Claimed)
			}
			got := next(t, w.accounts, "account")
			if got.of.Up != 8 || got.of.Down != 8 || got.of.Reason != "client_closed" || got.of.Err != nil {
				t.Errorf("account: %+v", got.of)
			}
			if want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), w.port); got.attempt.To != want {
				t.Errorf("relayed to %v", got.attempt.To)
			}
		})
	}
	if n := w.gateway.Live(); n != 0 {
		t.Errorf("%d tunnels live", n)
	}
}

// The further presentations: a token by the private method, and a ticket in
// place of a destination, which may name one, or leave it to the ticket's data,
// or to the policy.
func TestPresentations(t *testing.T) {
	w := newWorld(t, options{})
	issued := w.issue(nil)
	listed := net.JoinHostPort("a.wild.example.com", w.service)
	withData := w.issue(func(r *sta.IssueRequest) {
		r.Data = []ticket.Value{{Name: "CGPAddress", Value: "evil.example.com:1"}, {Name: "ICAAddress", Value: listed}}
	})
	evil := w.issue(func(r *sta.IssueRequest) {
		r.Data = []ticket.Value{{Name: "ICAAddress", Value: "evil.example.com:443"}}
	})
	sta1 := func(i sta.Issued) string { return ";40;STA01;" + i.Handle.Reveal() }
	for name, c := range map[string]struct {
		credential, token string
		port              uint16
		target, label     string
	}{
		"token":                          {token: issued.Token(), target: "mail.example.com"},
		"token of another ticket":        {token: issued.Statement + "~" + withData.Handle.Reveal(), label: "handle_mismatch"},
		"to the policy's server":         {credential: sta1(issued), port: 9, target: "mail.example.com"},
		"to the ticket's own":            {credential: sta1(withData), port: 9, target: "a.wild.example.com"},
		"with a host":                    {credential: sta1(issued) + ";A.WILD.example.com", port: w.port, target: "a.wild.example.com"},
		"with a host and its port":       {credential: sta1(issued) + ";" + listed, port: 9, target: "a.wild.example.com"},
		"the ticket's own, unlisted":     {credential: sta1(evil), port: w.port, label: "not_listed"},
		"with a host that is not":        {credential: sta1(issued) + ";evil.example.com", port: w.port, label: "not_listed"},
		"with a host that is none":       {credential: sta1(issued) + ";[::1]", port: w.port, label: "no_destination"},
		"with a host and port 0":         {credential: sta1(issued) + ";mail.example.com", port: 0, label: "no_destination"},
		"with two tickets":               {credential: sta1(issued) + ";STA01;" + withData.Handle.Reveal(), port: w.port, label: "not_supported"},
		"of another authority":           {credential: ";40;STA02;" + issued.Handle.Reveal(), port: w.port, label: "wrong_authority"},
		"a token, where it is not taken": {credential: ";" + issued.Token()[:200], port: w.port, label: "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.connect()
			target := append([]byte{5, 1, 0, 3, 16}, "mail.example.com"...)
			target = append(target, byte(w.port>>8), byte(w.port))
			message, begins := append(append([]byte{5, 1, 0x80}, socks.AppendToken(nil, c.token)...), target...), []byte{5, 0x80, 1, 0}
			if c.token == "" {
				message = append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(c.credential))}, c.credential...)
				message, begins = append(message, byte(c.port>>8), byte(c.port)), []byte{5, 0}
			}
			_, err := conn.Write(message)
			must(t, err)
			if c.label != "" {
				if r := next(t, w.refused, "refusal"); r.why.Label != c.label {
					t.Errorf("refused by %s (%s), want %s", r.why.Label, r.why.Text, c.label)
				}
				return
			}
			answer := make([]byte, len(begins)+10)
			if _, err := io.ReadFull(conn, answer); err != nil || !bytes.Equal(answer, append(begins, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0)) {
				t.Fatalf("answer % x, %v", answer, err)
			}
			echo(t, conn, "hello")
			if a := next(t, w.opened, "opened"); a.Target.Name != c.target || a.Port != w.port {
				t.Errorf("opened %v:%d", a.Target, a.Port)
			}
		})
	}
}

// Whatever is wrong with a ticket, the client reads the same two bytes and the
// end. Only the hook knows why.
func TestTicketsRefused(t *testing.T) {
	w := newWorld(t, options{failures: 1000})
	handle := w.issue(nil).Handle.Reveal()
	revoked := w.issue(nil)
	_, err := w.authority.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: revoked.ID})
	must(t, err)
	expired := w.issue(func(r *sta.IssueRequest) { r.Lifetime = time.Second })
	plant := func(change func(*ticket.Claims), key *ticket.Signer) string { return w.plant(t, change, key) }
	tokenOnly := w.issue(nil)

	cases := map[string]struct {
		password string
		want     ticket.Reason
	}{
		"empty":               {"", ticket.Malformed},
		"short":               {handle[:31], ticket.Malformed},
		"long":                {handle + "A", ticket.Malformed},
		"lower case":          {strings.ToLower(handle) + "", ticket.Malformed},
		"umlaut":              {handle[:30] + "ö", ticket.Malformed},
		"NUL":                 {handle[:31] + "\x00", ticket.Malformed},
		"255 bytes":           {strings.Repeat("A", 255), ticket.Malformed},
		"unknown":             {ticket.NewHandle().Reveal(), ticket.Unknown},
		"one bit off":         {flip(handle), ticket.Unknown},
		"the hash":            {ticketHash(handle), ticket.Malformed},
		"the id":              {tokenOnly.ID, ticket.Malformed},
		"another authority":   {";40;STA02;" + handle, ticket.WrongAuthority},
		"unknown version":     {";41;STA01;" + handle, ticket.Malformed},
		"form with host":      {";40;STA01;" + handle + ";mail.example.com", ticket.NotSupported},
		"form of two tickets": {";40;STA01;" + handle + ";STA02;" + handle, ticket.NotSupported},
		"revoked":             {revoked.Handle.Reveal(), ticket.Revoked},
		"expired":             {expired.Handle.Reveal(), ticket.Expired},
		"planted: expired": {plant(func(c *ticket.Claims) {
			c.NotBefore, c.Expires = c.NotBefore.Add(-time.Hour), c.NotBefore.Add(-time.Minute)
		}, nil), ticket.Expired},
		"planted: not yet valid": {plant(func(c *ticket.Claims) {
			c.Issued, c.NotBefore = c.Issued.Add(time.Hour), c.NotBefore.Add(time.Hour)
		}, nil), ticket.NotYetValid},
		"planted: for another gateway":   {plant(func(c *ticket.Claims) { c.Audience = []string{"gateway9.example.com"} }, nil), ticket.WrongAudience},
		"planted: signed by another key": {plant(nil, strangeSigner(t)), ticket.BadSignature},
		"planted: bound to a client key": {plant(func(c *ticket.Claims) {
			h := c.Handle
			c.Confirmation = &ticket.Confirmation{SPKI: &h}
		}, nil), ticket.NotSupported},
	}
	w.clock.advance(2 * time.Second)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := w.connect()
			answer := presentRaw(t, conn, "user", c.password)
			if want := []byte{5, 2, 1, 1}; !bytes.Equal(answer, want) {
				t.Errorf("answer % x, want % x and the end", answer, want)
			}
			r := next(t, w.refused, "refusal")
			if r.why.Label != string(c.want) {
				t.Errorf("reason %s (%s), want %s", r.why.Label, r.why.Text, c.want)
			}
			if len(c.password) > 8 && strings.Contains(r.why.Error()+r.why.Text, c.password) {
				t.Error("the refusal holds what was presented")
			}
			if r.attempt.Target != (policy.Host{}) || len(w.resolver.asked) > 0 {
				t.Error("a client without a ticket got a look-up")
			}
		})
	}
}

// TestAlgNonePlanted is apart because a signer cannot make one.
func TestAlgNonePlanted(t *testing.T) {
	w := newWorld(t, options{})
	issued := w.issue(nil)
	parts := strings.Split(issued.Statement, ".")
	record, err := w.store.ByID(t.Context(), issued.ID)
	must(t, err)
	for _, statement := range []string{
		"eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"eyJhbGciOiJub25lIn0." + parts[1] + "." + parts[2],
		parts[0] + "." + parts[1] + ".",
	} {
		record.Statement = statement
		must(t, w.store.Delete(t.Context(), record.ID))
		must(t, w.store.Put(t.Context(), record))
		if _, err := w.open(issued.Handle.Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
			t.Errorf("%v", err)
		}
		if r := next(t, w.refused, "refusal"); r.why.Label != string(ticket.BadSignature) {
			t.Errorf("%s refused by %s", statement[:20], r.why.Label)
		}
	}
}

// A store that answers with another ticket's statement opens nothing, and the
// right handle of the swapped one neither.
func TestSwappedRecords(t *testing.T) {
	w := newWorld(t, options{})
	a, b := w.issue(nil), w.issue(nil)
	ra, err := w.store.ByID(t.Context(), a.ID)
	must(t, err)
	rb, err := w.store.ByID(t.Context(), b.ID)
	must(t, err)
	ra.Statement, rb.Statement = rb.Statement, ra.Statement
	for _, r := range []*sta.Record{ra, rb} {
		must(t, w.store.Delete(t.Context(), r.ID))
		must(t, w.store.Put(t.Context(), r))
	}
	for _, issued := range []sta.Issued{a, b} {
		if _, err := w.open(issued.Handle.Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
			t.Errorf("%v", err)
		}
		if r := next(t, w.refused, "refusal"); r.why.Label != string(ticket.Mismatch) {
			t.Errorf("reason %s", r.why.Label)
		}
	}
}

func TestDestinationsRefused(t *testing.T) {
	w := newWorld(t, options{})
	handle := w.issue(nil).Handle.Reveal()
	narrow := w.issue(func(r *sta.IssueRequest) { r.Services = []string{"a.wild.example.com:" + w.service} }).Handle.Reveal()
	named := w.issue(func(r *sta.IssueRequest) { r.Policy = "other" }).Handle.Reveal()
	closed := freePort(t)
	_, own, _ := net.SplitHostPort(w.addr)
	ownPort, _ := strconv.ParseUint(own, 10, 16)

	for name, c := range map[string]struct {
		ticket string
		host   string
		port   uint16
		reply  socks.Reply
		label  string
	}{
		"not listed":           {handle, "evil.example.com", w.port, socks.NotAllowed, "not_listed"},
		"another port":         {handle, "mail.example.com", closed, socks.NotAllowed, "not_listed"},
		"port 0":               {handle, "mail.example.com", 0, socks.NotAllowed, "not_listed"},
		"the wildcard itself":  {handle, "wild.example.com", w.port, socks.NotAllowed, "not_listed"},
		"narrowed":             {narrow, "mail.example.com", w.port, socks.NotAllowed, "narrowed"},
		"narrowed, by address": {narrow, "10.9.8.7", w.port, socks.NotAllowed, "address_not_listed"},
		"another policy":       {named, "mail.example.com", w.port, socks.NotAllowed, "no_such_policy"},
		"address":              {handle, "192.0.2.1", w.port, socks.NotAllowed, "address_not_listed"},
		"IPv6 loopback":        {handle, "::1", w.port, socks.NotAllowed, "address_not_listed"},
		"decimal address":      {handle, "2130706433", w.port, socks.NotAllowed, "host_numeric"},
		"hex address":          {handle, "0x7f000001", w.port, socks.NotAllowed, "host_numeric"},
		"NUL":                  {handle, "mail.example.com\x00.evil.example", w.port, socks.NotAllowed, "host_control"},
		"control":              {handle, "mail\x01.example.com", w.port, socks.NotAllowed, "host_control"},
		"blank":                {handle, "mail.example.com ", w.port, socks.NotAllowed, "host_blank"},
		"brackets":             {handle, "[mail.example.com]", w.port, socks.NotAllowed, "host_bracket"},
		"empty label":          {handle, "mail..example.com", w.port, socks.NotAllowed, "host_label"},
		"zone":                 {handle, "mail%2e.example.com", w.port, socks.NotAllowed, "host_zone"},
		"not UTF-8":            {handle, "mail\xff.example.com", w.port, socks.NotAllowed, "host_encoding"},
		"255 bytes":            {handle, strings.Repeat("a.", 127) + "a", w.port, socks.NotAllowed, "host_too_long"},
		"a ticket":             {handle, ";40;STA01;" + handle, w.port, socks.NotAllowed, "host_credential"},
		"our own listener":     {handle, "own.example.com", uint16(ownPort), socks.NotAllowed, "address_own"},
		"private":              {handle, "private.example.com", w.port, socks.NotAllowed, "address_private"},
		"metadata":             {handle, "metadata.example.com", w.port, socks.NotAllowed, "address_pinned_only"},
		"no such name":         {handle, "gone.example.com", w.port, socks.HostUnreachable, "name_not_found"},
		"resolver fails":       {handle, "broken.example.com", w.port, socks.GeneralFailure, "name_failed"},
		"nobody listens":       {handle, "mail.example.com", 1, socks.ConnectionRefused, "service_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.open(c.ticket, c.host, c.port)
			var reply *socks.ReplyError
			if !errors.As(err, &reply) || reply.Reply != c.reply {
				t.Errorf("got %v, want %v", err, c.reply)
			}
			r := next(t, w.refused, "refusal")
			if r.why.Label != c.label {
				t.Errorf("label %s (%s), want %s", r.why.Label, r.why.Text, c.label)
			}
			if strings.Contains(r.why.Text, c.ticket) {
				t.Error("the text holds the ticket")
			}
		})
	}
	if w.resolver.wasAsked("evil.example.com") || w.resolver.wasAsked("wild.example.com") {
		t.Error("a name that is not listed was looked up")
	}
	if n := w.gateway.Live(); n != 0 {
		t.Errorf("%d tunnels live", n)
	}
}

// One budget covers everything: a resolver that hangs uses it up, and the client
// is told in time. A name that hangs does not keep an address from being matched
// back to another.
func TestResolverHangs(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, options{list: "slow.example.com:PORT", setUp: time.Second})
	handle := w.issue(nil).Handle.Reveal()
	_, err := w.open(handle, "slow.example.com", w.port)
	var reply *socks.ReplyError
	if !errors.As(err, &reply) || reply.Reply != socks.TTLExpired {
		t.Errorf("got %v", err)
	}
	if r := next(t, w.refused, "refusal"); r.why.Label != "name_timeout" || r.attempt.SetUp > wait/2 {
		t.Errorf("label %s after %v", r.why.Label, r.attempt.SetUp)
	}
}

// Bytes that the client sends ahead are the service's, once and in order; after
// a refusal they are nobody's.
func TestEarlyBytes(t *testing.T) {
	got := make(chan string, 1)
	w := newWorld(t, options{serve: func(c net.Conn) {
		all, _ := io.ReadAll(c)
		got <- string(all)
	}})
	handle := w.issue(nil).Handle.Reveal()
	greeting := append([]byte{5, 1, 2, 1, 1, 'u', 32}, handle...)
	request := func(name string) []byte {
		b := append([]byte{5, 1, 0, 3, byte(len(name))}, name...)
		return append(b, byte(w.port>>8), byte(w.port))
	}
	conn := w.connect()
	_, err := conn.Write(append(append(greeting, request("mail.example.com")...), "early bytes"...))
	must(t, err)
	must(t, conn.CloseWrite())
	if s := next(t, got, "bytes at the service"); s != "early bytes" {
		t.Errorf("the service read %q", s)
	}
	next(t, w.accounts, "account")

	conn = w.connect()
	_, err = conn.Write(append(append(greeting, request("evil.example.com")...), "early bytes"...))
	must(t, err)
	answer, err := io.ReadAll(conn)
	if want := []byte{5, 2, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0}; err != nil || !bytes.Equal(answer, want) {
		t.Errorf("answer % x, %v", answer, err)
	}
	select {
	case s := <-got:
		t.Errorf("the service read %q after a refusal", s)
	default:
	}
}

func TestRevocationCutsLiveTunnels(t *testing.T) {
	w := newWorld(t, options{})
	mine, other := w.issue(nil), w.issue(nil)
	const tunnels = 5
	var conns []*tls.Conn
	for range tunnels {
		conn := w.mustOpen(mine.Handle.Reveal(), "mail.example.com", w.port)
		echo(t, conn, "alive")
		conns = append(conns, conn)
	}
	stays := w.mustOpen(other.Handle.Reveal(), "mail.example.com", w.port)
	result, err := w.authority.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: mine.ID})
	must(t, err)
	if len(result.Gateways) != 1 || !result.Gateways[0].Answered || result.Gateways[0].Cut != tunnels || result.Gateways[0].Name != "gw-1" {
		t.Errorf("result %+v", result)
	}
	for _, conn := range conns {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("a cut tunnel gave %d bytes", n)
		}
		if a := next(t, w.accounts, "account"); a.of.Reason != "revoked" {
			t.Errorf("account says %s", a.of.Reason)
		}
	}
	echo(t, stays, "still here")
	if _, err := w.open(mine.Handle.Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
		t.Errorf("a revoked ticket, known here, opens: %v", err)
	}
	if w.gateway.Live() != 1 {
		t.Errorf("%d live", w.gateway.Live())
	}
}

func TestTunnelsEndWithTheirTicket(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, options{})
	fixed := false
	const life = time.Hour
	short := w.issue(func(r *sta.IssueRequest) { r.Lifetime = life })
	setUpOnly := w.issue(func(r *sta.IssueRequest) { r.Lifetime, r.Refreshable = life, &fixed })
	// The clock stands still while they are set up, however long that takes.
	late := short.Expires.Add(-time.Second)
	w.clock.frozen.Store(&late)
	stays := w.mustOpen(setUpOnly.Handle.Reveal(), "mail.example.com", w.port)
	ends := w.mustOpen(short.Handle.Reveal(), "mail.example.com", w.port)
	w.clock.ahead.Store(int64(time.Until(late)))
	w.clock.frozen.Store(nil)
	if _, err := ends.Read(make([]byte, 1)); err == nil {
		t.Error("bytes came")
	}
	a := next(t, w.accounts, "account")
	if a.of.Reason != "expired" || a.attempt.Claims.ID != short.ID {
		t.Errorf("account %+v", a.of)
	}
	// The other one is as old, and only its set-up was bounded.
	echo(t, stays, "alive")
	w.clock.advance(5 * time.Second)
	if _, err := w.open(setUpOnly.Handle.Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
		t.Errorf("an expired ticket opens: %v", err)
	}
}

// A source that guesses gets a few places to redeem at and no more. Devices
// behind the same address get in all the same, at once if their ticket is known.
func TestGuessersQueue(t *testing.T) {
	t.Parallel() // it waits
	holding := &holding{Source: nil, hold: make(chan struct{}), asked: make(chan struct{}, 64)}
	w := newWorld(t, options{failures: 100, source: func(s follow.Source) follow.Source { holding.Source = s; return holding }})
	known := w.issue(nil).Handle.Reveal()
	w.mustOpen(known, "mail.example.com", w.port).Close()
	w.clock.freeze()
	for range 100 {
		if _, err := w.open(ticket.NewHandle().Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
			t.Fatal(err)
		}
	}
	for len(holding.asked) > 0 {
		<-holding.asked
	}
	holding.on.Store(true)
	fresh := w.issue(nil).Handle.Reveal()
	const guessers = 10
	done := make(chan error, guessers)
	for range guessers {
		go func() {
			_, err := w.open(ticket.NewHandle().Reveal(), "mail.example.com", w.port)
			done <- err
		}()
	}
	for range 4 {
		next(t, holding.asked, "redeem")
	}
	echo(t, w.mustOpen(known, "mail.example.com", w.port), "known tickets pass")
	select {
	case <-holding.asked:
		t.Error("more than 4 redeems in flight for guessers")
	default:
	}
	close(holding.hold)
	echo(t, w.mustOpen(fresh, "mail.example.com", w.port), "and unknown good ones in their turn")
	for range guessers {
		if err := next(t, done, "answer"); !errors.Is(err, socks.ErrAuth) {
			t.Error(err)
		}
	}
}

// holding is the authority, slowed down at will.
type holding struct {
	follow.Source
	on    atomic.Bool
	hold  chan struct{}
	asked chan struct{}
}

func (h *holding) Redeem(ctx context.Context, hash ticket.Hash) (string, error) {
	if h.on.Load() {
		h.asked <- struct{}{}
		select {
		case <-h.hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return h.Source.Redeem(ctx, hash)
}

func TestAuthorityAway(t *testing.T) {
	away := &switchable{}
	w := newWorld(t, options{source: func(s follow.Source) follow.Source { away.Source = s; return away }})
	warm := w.issue(nil).Handle.Reveal()
	w.mustOpen(warm, "mail.example.com", w.port)
	away.set(true)
	if _, err := w.open(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port); !errors.Is(err, socks.ErrAuth) {
		t.Errorf("%v", err)
	}
	if r := next(t, w.refused, "refusal"); r.why.Label != string(ticket.Unavailable) {
		t.Errorf("label %s", r.why.Label)
	}
	echo(t, w.mustOpen(warm, "mail.example.com", w.port), "known")
	away.set(false)
	echo(t, w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port), "back")
}

// switchable is the authority with a plug to pull.
type switchable struct {
	follow.Source
	mu  sync.Mutex
	out bool
}

func (s *switchable) set(out bool) { s.mu.Lock(); defer s.mu.Unlock(); s.out = out }

func (s *switchable) Redeem(ctx context.Context, h ticket.Hash) (string, error) {
	s.mu.Lock()
	out := s.out
	s.mu.Unlock()
	if out {
		return "", net.ErrClosed
	}
	return s.Source.Redeem(ctx, h)
}

// Bytes of two devices never cross.
func TestManyTunnelsAtOnce(t *testing.T) {
	w := newWorld(t, options{})
	const devices, rounds = 16, 20
	var all sync.WaitGroup
	for i := range devices {
		conn := w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port)
		all.Go(func() {
			canary := bytes.Repeat([]byte{byte('A' + i)}, 40_000)
			got := make([]byte, len(canary))
			for range rounds {
				var send sync.WaitGroup
				send.Go(func() { _, _ = conn.Write(canary) })
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, canary) {
					t.Errorf("device %d: %v", i, err)
				}
				send.Wait()
			}
			_ = conn.CloseWrite()
		})
	}
	all.Wait()
	for range devices {
		if a := next(t, w.accounts, "account"); a.of.Up != 40_000*rounds || a.of.Down != 40_000*rounds {
			t.Errorf("account %+v", a.of)
		}
	}
}

func TestPolicyIsReplacedWhole(t *testing.T) {
	w := newWorld(t, options{})
	handle := w.issue(nil).Handle.Reveal()
	live := w.mustOpen(handle, "mail.example.com", w.port)
	w.gateway.Use(w.snapshot("a.wild.example.com:"+w.service, netip.AddrPort{}))
	if _, err := w.open(handle, "mail.example.com", w.port); err == nil {
		t.Error("the old policy still allows")
	}
	echo(t, w.mustOpen(handle, "a.wild.example.com", w.port), "new")
	echo(t, live, "live tunnels go on")
}

func TestIdleTunnelsEnd(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, options{relay: tunnel.Limits{Idle: 300 * time.Millisecond}})
	conn := w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("bytes came")
	}
	if a := next(t, w.accounts, "account"); a.of.Reason != "idle" {
		t.Errorf("account %+v", a.of)
	}
}

func TestEndAll(t *testing.T) {
	w := newWorld(t, options{})
	conn := w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port)
	if n := w.gateway.EndAll(); n != 1 {
		t.Errorf("ended %d", n)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("bytes came")
	}
	if a := next(t, w.accounts, "account"); a.of.Reason != "shutdown" {
		t.Errorf("account %+v", a.of)
	}
}
