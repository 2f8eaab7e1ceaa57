package gateway

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/sta/ticket"
)

// The index finds what a walk over all tunnels finds, whoever comes and goes
// in between, and forgets whoever has gone.
func TestEndAgreesWithCovers(t *testing.T) {
	keys := newKeyring(t)
	rapid.Check(t, func(t *rapid.T) {
		m := model{at: time.Unix(1_800_000_000, 0), keys: keys}
		t.Repeat(map[string]func(*rapid.T){
			"enter": m.enter, "leave": m.leave, "end": m.end, "endKeys": m.endKeys, "": m.check,
		})
		for len(m.tunnels) > 0 {
			m.remove(0)
		}
		wantEmpty(t, &m.registry)
	})
}

// model is a registry and beside it what ought to be in it.
type model struct {
	registry registry
	tunnels  []*modelled
	at       time.Time
	keys     keyring
}

type modelled struct {
	claims *ticket.Claims
	live   *live
	cause  Ended
}

func (m *model) enter(t *rapid.T) {
	var claims *ticket.Claims
	if n := len(m.tunnels); n > 0 && rapid.Bool().Draw(t, "of a known ticket") {
		again := *m.tunnels[rapid.IntRange(0, n-1).Draw(t, "as")].claims
		claims = &again
	} else {
		claims = m.draw(t)
	}
	service, _ := net.Pipe()
	l, err := m.registry.enter(claims, pipe{service})
	if err != nil {
		t.Fatal(err)
	}
	m.tunnels = append(m.tunnels, &modelled{claims: claims, live: l})
}

func (m *model) draw(t *rapid.T) *ticket.Claims {
	draw := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	return &ticket.Claims{
		ID: draw("id", "t1", "t2", "t3", "t4", "t5"), Family: draw("family", "f1", "f2", "f3"),
		User: draw("user", "", "u1", "u2", "u3"), Device: draw("device", "", "d1", "d2", "d3"),
		Issued:    m.at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "issued")) * time.Second),
		Authority: draw("authority", "STA01", "STA02"), KeyID: draw("key", m.keys.ids...),
	}
}

func (m *model) leave(t *rapid.T) {
	if len(m.tunnels) > 0 {
		m.remove(rapid.IntRange(0, len(m.tunnels)-1).Draw(t, "which"))
	}
}

func (m *model) remove(i int) {
	l := m.tunnels[i].live
	m.registry.leave(l)
	m.registry.leave(l)
	m.tunnels[i] = m.tunnels[len(m.tunnels)-1]
	m.tunnels = m.tunnels[:len(m.tunnels)-1]
}

func (m *model) end(t *rapid.T) {
	draw := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	seconds := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Second
	}
	v := &ticket.Revocation{Time: m.at}
	scope := draw("scope", "ticket", "family", "user", "device", "pair", "all", "staged")
	switch scope {
	case "ticket":
		v.Ticket = draw("id", "t1", "t2", "t3", "t4", "t5", "t6")
	case "family":
		v.Family = draw("family", "f1", "f2", "f3", "f4")
	default:
		v.Cut = m.at.Add(seconds("cut", 3))
	}
	switch scope {
	case "user", "pair":
		v.User = draw("user", "u1", "u2", "u3", "u4")
	case "all":
		v.All = true
	case "staged":
		v.All, v.Stage = true, 20*time.Second
	}
	switch scope {
	case "device", "pair":
		v.Device = draw("device", "d1", "d2", "d3", "d4")
	}
	now := m.at.Add(seconds("now", 25))
	m.compare(t, EndedRevoked, m.registry.end("STA01", v, now), func(c *ticket.Claims) bool {
		subject := c.Subject()
		return c.Authority == "STA01" && v.Covers(&subject, now)
	})
}

func (m *model) endKeys(t *rapid.T) {
	set := rapid.SampledFrom([]*ticket.KeySet{m.keys.both, m.keys.second}).Draw(t, "set")
	m.compare(t, EndedKey, m.registry.endKeys(set), func(c *ticket.Claims) bool {
		return c.Authority == "STA01" && c.KeyID == m.keys.ids[0] && set == m.keys.second
	})
}

// compare says what should have been ended.
func (m *model) compare(t *rapid.T, cause Ended, got int, covered func(*ticket.Claims) bool) {
	want := 0
	for _, each := range m.tunnels {
		if each.cause == "" && covered(each.claims) {
			each.cause = cause
			want++
		}
	}
	if got != want {
		t.Fatalf("said %d, want %d", got, want)
	}
}

func (m *model) check(t *rapid.T) {
	if m.registry.len() != len(m.tunnels) {
		t.Fatalf("%d counted, want %d", m.registry.len(), len(m.tunnels))
	}
	for _, each := range m.tunnels {
		if each.live.ended() != each.cause {
			t.Fatalf("%+v ended by %q, want %q", each.claims, each.live.ended(), each.cause)
		}
	}
}

// Tunnels enter, look and leave while revocations come into force and a key is
// taken out: no tunnel stays that should not, and none is counted twice.
func TestNobodySlipsThrough(t *testing.T) {
	const workers, rounds, every = 4, 160, 16
	w := slipping{keys: newKeyring(t), at: time.Unix(1_800_000_000, 0)}
	var (
		all, working sync.WaitGroup
		turn         = make(chan struct{})
		entered      [workers][]*live
		counted      int
	)
	for i := range workers {
		working.Go(func() {
			for round := range rounds {
				if round%every == 0 {
					turn <- struct{}{}
				}
				entered[i] = append(entered[i], w.begin(t, w.claims(i+round), round%3 == 0))
			}
		})
	}
	all.Go(func() {
		n := 0
		for range turn {
			counted += w.revoke(n)
			n++
		}
	})
	working.Wait()
	close(turn)
	all.Wait()

	ended := 0
	for _, lives := range entered {
		for _, l := range lives {
			if l.ended() != "" {
				ended++
			} else if l.ticket != nil && w.ends(l.ticket.claims) {
				t.Errorf("%+v lives on", l.ticket.claims)
			}
			w.registry.leave(l)
		}
	}
	if ended != counted || counted == 0 {
		t.Errorf("%d ended, %d counted", ended, counted)
	}
	wantEmpty(t, &w.registry)
}

// slipping is a registry and beside it what a Redeemer knows.
type slipping struct {
	registry registry
	revoked  ticket.RevokedSet
	gone     atomic.Bool // the first key
	keys     keyring
	at       time.Time
}

func (w *slipping) claims(i int) *ticket.Claims {
	return &ticket.Claims{
		Authority: "STA01", ID: "t" + strconv.Itoa(i%24), Family: "f" + strconv.Itoa(i%12),
		User: "u" + strconv.Itoa(i%6), Device: "d" + strconv.Itoa(i%4),
		Issued: w.at.Add(time.Duration(i%2) * time.Second), KeyID: w.keys.ids[i/3%2],
	}
}

func (w *slipping) ends(c *ticket.Claims) bool {
	subject := c.Subject()
	return w.revoked.Find(&subject, w.at) != nil || w.gone.Load() && c.KeyID == w.keys.ids[0]
}

// begin is the part of a tunnel's life from its entry on.
func (w *slipping) begin(t *testing.T, c *ticket.Claims, short bool) *live {
	service, _ := net.Pipe()
	client, _ := net.Pipe()
	l := mustEnter(t, &w.registry, c, pipe{service})
	if w.ends(c) {
		_ = service.Close()
		w.registry.leave(l)
		return l
	}
	l.join(both{pipe{client}, pipe{service}})
	if short {
		w.registry.leave(l)
	}
	return l
}

// revoke is the part of the Redeemer: first it knows, then it cuts.
func (w *slipping) revoke(n int) int {
	const keyTurn = 20
	i := strconv.Itoa(n / 4)
	v := []*ticket.Revocation{
		{Ticket: "t" + i},
		{Family: "f" + i},
		{User: "u" + i, Cut: w.at},
		{User: "u" + i, Device: "d" + i, Cut: w.at.Add(time.Second)},
	}[n%4]
	if n == keyTurn {
		w.gone.Store(true)
		return w.registry.endKeys(w.keys.second)
	}
	w.revoked.Add(v)
	return w.registry.end("STA01", v, w.at)
}

// keyring is two keys of STA01, a set with both and one with the second alone.
type keyring struct {
	ids          []string
	both, second *ticket.KeySet
}

func newKeyring(t *testing.T) keyring {
	t.Helper()
	public, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var keys []ed25519.PublicKey
	var ring keyring
	for range 2 {
		key, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys, ring.ids = append(keys, key), append(ring.ids, ticket.KeyID(key))
	}
	set := func(version uint64, keys []ed25519.PublicKey) *ticket.KeySet {
		signed, err := ticket.SignKeySet(root, "STA01", version, time.Now(), keys)
		if err != nil {
			t.Fatal(err)
		}
		set, err := ticket.VerifyKeySet(signed, "STA01", ticket.Pin(public))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	ring.both, ring.second = set(1, keys), set(2, keys[1:])
	return ring
}
