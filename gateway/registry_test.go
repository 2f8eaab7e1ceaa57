package gateway

import (
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// What a revocation ends, and what it leaves alone.
func TestEndByScope(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	claims := func(id, family, user, device string, issued int) *ticket.Claims {
		return &ticket.Claims{
			Authority: "STA01", ID: id, Family: family, User: user, Device: device,
			Issued: at.Add(time.Duration(issued) * time.Second),
		}
	}
	tickets := []*ticket.Claims{
		claims("t1", "f1", "ann", "phone", 0),
		claims("t2", "f1", "ann", "phone", 9), // renewed after the cut
		claims("t3", "f3", "ann", "tablet", 0),
		claims("t4", "f4", "bob", "phone", 0),
		claims("t5", "f5", "", "", 0),
	}
	namesake := *tickets[0]
	namesake.Authority = "STA02"
	tickets = append(tickets, &namesake) // the sixth: nothing here ends it
	cut, first := at.Add(time.Second), at.Add(2*time.Second)
	all := &ticket.Revocation{All: true, Cut: cut, Stage: 100 * time.Second, Time: at}
	for name, c := range map[string]struct {
		revocation *ticket.Revocation
		now        time.Time
		ends       string
	}{
		"ticket":                 {&ticket.Revocation{Ticket: "t1"}, first, "1"},
		"no such ticket":         {&ticket.Revocation{Ticket: "t9"}, first, ""},
		"family":                 {&ticket.Revocation{Family: "f1"}, first, "12"},
		"user":                   {&ticket.Revocation{User: "ann", Cut: cut}, first, "13"},
		"device":                 {&ticket.Revocation{Device: "phone", Cut: cut}, first, "14"},
		"user and device":        {&ticket.Revocation{User: "ann", Device: "phone", Cut: cut}, first, "1"},
		"user and other device":  {&ticket.Revocation{User: "bob", Device: "tablet", Cut: cut}, first, ""},
		"user and no device":     {&ticket.Revocation{User: "ann", Device: "watch", Cut: cut}, first, ""},
		"a user, much later":     {&ticket.Revocation{User: "ann", Cut: at.Add(time.Hour)}, first, "123"},
		"all":                    {&ticket.Revocation{All: true, Cut: cut}, first, "1345"},
		"all, held back":         {all, first, "1345"},
		"all, when all are back": {all, at.Add(100 * time.Second), ""},
		"nothing":                {&ticket.Revocation{Cut: cut}, first, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r registry
			var lives []*live
			for _, c := range tickets {
				lives = append(lives, mustEnter(t, &r, c, pipe{newFarPipe(t).near}))
			}
			got := ""
			n := r.end("STA01", c.revocation, c.now)
			for i, l := range lives {
				if l.ended() == EndedRevoked {
					got += strconv.Itoa(i + 1)
				}
			}
			if got != c.ends || n != len(c.ends) {
				t.Errorf("ended %q and said %d, want %q", got, n, c.ends)
			}
			if again := r.end("STA01", c.revocation, c.now); again != 0 {
				t.Errorf("ended %d again", again)
			}
		})
	}
}

// Both sides of an ended tunnel are closed, and that of a client who joins
// afterwards too.
func TestEndClosesBothSides(t *testing.T) {
	var r registry
	for _, late := range []bool{false, true} {
		service, client := newFarPipe(t), newFarPipe(t)
		l := mustEnter(t, &r, &ticket.Claims{ID: "t", Family: "f"}, pipe{service.near})
		if !late {
			l.join(both{pipe{client.near}, pipe{service.near}})
		}
		if n := r.end("", &ticket.Revocation{Family: "f"}, time.Now()); n != 1 {
			t.Errorf("ended %d", n)
		}
		if late {
			l.join(both{pipe{client.near}, pipe{service.near}})
		}
		for _, p := range []farPipe{service, client} {
			if _, err := p.far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the far end reads %v", err)
			}
		}
		r.leave(l)
	}
}

// A set of keys ends what it no longer vouches for, and nothing of another
// authority.
func TestEndKeys(t *testing.T) {
	keys := newKeyring(t)
	var r registry
	enter := func(authority, key string) *live {
		return mustEnter(t, &r, &ticket.Claims{ID: "t", Family: "f", Authority: authority, KeyID: key}, pipe{newFarPipe(t).near})
	}
	old, renewed, foreign := enter("STA01", keys.ids[0]), enter("STA01", keys.ids[1]), enter("STA02", keys.ids[0])
	if n := r.endKeys(keys.both); n != 0 {
		t.Errorf("a set with all keys ended %d", n)
	}
	if n := r.endKeys(keys.second); n != 1 || old.ended() != EndedKey {
		t.Errorf("ended %d, the old key's by %q", n, old.ended())
	}
	if renewed.ended() != "" || foreign.ended() != "" {
		t.Error("ended a tunnel whose key stands")
	}
}

// Closing is nothing that other tunnels wait for.
func TestClosingHoldsNobodyUp(t *testing.T) {
	var r registry
	stuck := &stuckStream{pipe: pipe{newFarPipe(t).near}, entered: make(chan struct{}), release: make(chan struct{})}
	ending := mustEnter(t, &r, &ticket.Claims{ID: "t", Family: "f"}, stuck)
	ended := make(chan int)
	go func() { ended <- r.end("", &ticket.Revocation{Ticket: "t"}, time.Now()) }()
	<-stuck.entered
	r.leave(mustEnter(t, &r, &ticket.Claims{ID: "t", Family: "f"}, pipe{}))
	if n := r.end("", &ticket.Revocation{Ticket: "another"}, time.Now()); n != 0 {
		t.Errorf("ended %d", n)
	}
	r.leave(ending)
	close(stuck.release)
	if n := <-ended; n != 1 {
		t.Errorf("ended %d", n)
	}
	wantEmpty(t, &r)
}

// stuckStream takes its time to close.
type stuckStream struct {
	pipe
	entered, release chan struct{}
}

func (s *stuckStream) Abort() {
	close(s.entered)
	<-s.release
	_ = s.Close()
}

// A stolen ticket does not fill a gateway, nor does it with its renewals.
func TestTunnelsPerTicket(t *testing.T) {
	var r registry
	claims := []*ticket.Claims{{ID: "t1", Family: "f"}, {ID: "t2", Family: "f"}}
	lives := make([]*live, maxPerTicket)
	for i := range lives {
		lives[i] = mustEnter(t, &r, claims[i%2], pipe{})
	}
	for _, c := range append(claims, &ticket.Claims{ID: "t3", Family: "f"}) {
		if _, err := r.enter(c, pipe{}); asRefusal(err).Label != labelTooMany {
			t.Errorf("one too many: %v", err)
		}
	}
	mustEnter(t, &r, &ticket.Claims{ID: "t1", Family: "g"}, pipe{})
	r.leave(lives[0])
	r.leave(lives[0])
	mustEnter(t, &r, claims[1], pipe{})
	if _, err := r.enter(claims[0], pipe{}); asRefusal(err).Label != labelTooMany {
		t.Errorf("one too many again: %v", err)
	}
	if r.len() != maxPerTicket+1 {
		t.Errorf("%d counted", r.len())
	}
}

// Tunnels of one ticket share what is remembered of it, also when it was
// redeemed anew in between. Whatever differs in what tunnels are ended by makes
// it another ticket.
func TestTunnelsShareTheirTicket(t *testing.T) {
	var r registry
	issued := time.Unix(1_800_000_000, 0)
	first := ticket.Claims{ID: "t", Family: "f", User: "u", Device: "d", Issued: issued, Authority: "STA01", KeyID: "k"}
	shared := mustEnter(t, &r, &first, pipe{}).ticket
	for name, c := range map[string]struct {
		change func(*ticket.Claims)
		shared bool
	}{
		"nothing":           {func(*ticket.Claims) {}, true},
		"the time's zone":   {func(c *ticket.Claims) { c.Issued = issued.UTC() }, true},
		"the ticket":        {func(c *ticket.Claims) { c.ID = "t2" }, false},
		"the family":        {func(c *ticket.Claims) { c.Family = "f2" }, false},
		"the user":          {func(c *ticket.Claims) { c.User = "" }, false},
		"the device":        {func(c *ticket.Claims) { c.Device = "" }, false},
		"the time of issue": {func(c *ticket.Claims) { c.Issued = issued.Add(time.Second) }, false},
		"the authority":     {func(c *ticket.Claims) { c.Authority = "STA02" }, false},
		"the key":           {func(c *ticket.Claims) { c.KeyID = "k2" }, false},
	} {
		claims := first
		c.change(&claims)
		if got := mustEnter(t, &r, &claims, pipe{}).ticket == shared; got != c.shared {
			t.Errorf("%s: shared is %v", name, got)
		}
	}
}

// A revocation with two names looks at the tickets of the rarer one.
func TestPairsLookAtFewer(t *testing.T) {
	var r registry
	enter := func(user, device string) {
		id := strconv.Itoa(r.len())
		mustEnter(t, &r, &ticket.Claims{ID: id, Family: id, User: user, Device: device}, pipe{})
	}
	for i := range 100 {
		enter("account", "device-"+strconv.Itoa(i))
		enter("user-"+strconv.Itoa(i), "iPhone")
	}
	for _, pair := range [][2]string{{"account", "device-7"}, {"user-7", "iPhone"}, {"nobody", "iPhone"}, {"account", "none"}} {
		looked := 0
		for range r.among(&ticket.Revocation{User: pair[0], Device: pair[1]}) {
			looked++
		}
		if looked > 1 {
			t.Errorf("%v: looked at %d tickets", pair, looked)
		}
	}
}

// wantEmpty says what is left of tunnels that are gone.
func wantEmpty(t interface{ Errorf(string, ...any) }, r *registry) {
	if r.len() != 0 {
		t.Errorf("%d tunnels are left", r.len())
	}
	for by, named := range r.named {
		if len(named) > 0 {
			t.Errorf("%d names of kind %d are left", len(named), by)
		}
	}
}

// farPipe is a stream and its far end.
type farPipe struct{ near, far net.Conn }

func newFarPipe(t *testing.T) farPipe {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return farPipe{near, far}
}

var _ tunnel.Stream = (*stuckStream)(nil)

// The bounds are a family's, and a family is an authority's: another one that calls
// its own by the same name takes none of its room.
func TestBoundsByAuthority(t *testing.T) {
	var r registry
	dns := func() tunnel.Stream {
		near, _ := newPipe()
		return &dnsStream{pipeEnd: near, cancel: func() {}, over: closedChan()}
	}
	ours := &ticket.Claims{ID: "t1", Family: "f", Authority: "STA01"}
	theirs := &ticket.Claims{ID: "t2", Family: "f", Authority: "STA02"}
	var taken []*live
	for range maxDNSPerTicket {
		taken = append(taken, mustEnter(t, &r, theirs, dns()))
	}
	if _, err := r.enter(theirs, dns()); asRefusal(err).Label != labelTooMany {
		t.Errorf("one too many: %v", err)
	}
	r.leave(mustEnter(t, &r, ours, dns()))
	for _, l := range taken {
		r.leave(l)
	}
	r.leave(mustEnter(t, &r, theirs, dns()))
}

// A tunnel to the gateway's DNS that nothing is asked in makes room for another: the
// device may have lost it without a word. A tunnel to a service waits as ever.
func TestIdleDNS(t *testing.T) {
	for dns, want := range map[bool]time.Duration{true: dnsIdle, false: tunnel.DefaultIdle} {
		synctest.Test(t, func(t *testing.T) {
			claims := &ticket.Claims{ID: "t", Family: "f", Refreshable: true, Expires: time.Now().Add(24 * time.Hour)}
			var account *Account
			g := &Gateway{config: Config{Now: time.Now, Relays: new(tunnel.Relays), Hooks: Hooks{Closed: func(_ *Attempt, a *Account) { account = a }}}}
			near, far := newPipe()
			client, device := newPipe()
			defer far.Close()
			defer device.Close()
			var service tunnel.Stream = near
			if dns {
				service = &dnsStream{pipeEnd: near, cancel: func() {}, over: closedChan()}
			}
			g.relay(&Attempt{Claims: claims}, mustEnter(t, &g.registry, claims, service), client, service)
			if account.Lasted.Round(time.Second) != want || account.Reason != string(tunnel.Idle) {
				t.Errorf("DNS %v: ended after %v, %s", dns, account.Lasted, account.Reason)
			}
		})
	}
}

// closedChan is of a DNS that serves no more.
func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
