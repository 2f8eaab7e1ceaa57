package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// memory is a network without a kernel, for tests in fake time: datagrams over
// pipes, to servers 1, 2, 3 at 10.0.0.1, 10.0.0.2, 10.0.0.3.
type memory struct {
	mu    sync.Mutex
	do    []behaviour // by server
	asked []string    // "SERVER at TIME"
	began time.Time
}

// newMemory is for the bubble of the test, which ends when the slowest server
// has.
func newMemory(t *testing.T, do ...behaviour) *memory {
	t.Cleanup(func() { time.Sleep(2 * second) })
	return &memory{do: do, began: time.Now()}
}

func (n *memory) servers() []Server {
	var all []Server
	for i := range n.do {
		s, _ := ParseServer(fmt.Sprintf("10.0.0.%d", i+1))
		all = append(all, s)
	}
	return all
}

func (n *memory) dial(_ context.Context, network, addr string) (net.Conn, error) {
	at := int(addr[len("10.0.0.")] - '1')
	n.mu.Lock()
	do := n.do[at]
	n.mu.Unlock()
	if network != "udp" || do == nil {
		return nil, errors.New("refused")
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		query := make([]byte, 512)
		size, err := far.Read(query)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.asked = append(n.asked, fmt.Sprintf("%d at %v", at+1, time.Since(n.began)))
		n.mu.Unlock()
		do(query[:size], func(answer []byte) { far.Write(answer) })
		far.Read(query) // until the pool is done
	}()
	return near, nil
}

func (n *memory) become(server int, do behaviour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.do[server-1] = do
}

// log returns who was asked since the last call.
func (n *memory) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.asked, n.began = nil, time.Now() }()
	return strings.Join(n.asked, ", ")
}

func after(d time.Duration, do behaviour) behaviour {
	return func(query []byte, send func([]byte)) {
		time.Sleep(d)
		do(query, send)
	}
}

const second = time.Second

// Who is asked when, and who answers: for a pool that knows nothing yet.
func TestRace(t *testing.T) {
	for name, c := range map[string]struct {
		servers []behaviour
		asked   string
		from    int // 0: nobody answers
		kind    error
	}{
		"first answers":     {[]behaviour{honest, honest}, "1 at 0s", 1, nil},
		"no such name":      {[]behaviour{rcode(dns.RcodeNameError), honest}, "1 at 0s", 1, nil},
		"slow is overtaken": {[]behaviour{after(second, honest), honest}, "1 at 0s, 2 at 750ms", 2, nil},
		"slow wins all the same": {[]behaviour{after(second, honest), after(second, honest)},
			"1 at 0s, 2 at 750ms", 1, nil},
		"servfail goes on":     {[]behaviour{rcode(dns.RcodeServerFailure), honest}, "1 at 0s, 2 at 0s", 2, nil},
		"refused goes on":      {[]behaviour{rcode(dns.RcodeRefused), honest}, "1 at 0s, 2 at 0s", 2, nil},
		"dial error goes on":   {[]behaviour{nil, honest}, "2 at 0s", 2, nil},
		"all refuse":           {[]behaviour{rcode(dns.RcodeRefused), rcode(dns.RcodeServerFailure)}, "1 at 0s, 2 at 0s", 0, ErrFailed},
		"one silent":           {[]behaviour{silent}, "1 at 0s, 1 at 750ms, 1 at 1.5s", 0, ErrTimeout},
		"silent and refusing":  {[]behaviour{silent, rcode(dns.RcodeRefused)}, "1 at 0s, 2 at 750ms, 1 at 750ms", 0, ErrFailed},
		"more than three":      {[]behaviour{silent, silent, silent, honest}, "1 at 0s, 2 at 750ms, 3 at 1.5s, 4 at 2.25s", 4, nil},
		"refusal, then silent": {[]behaviour{rcode(dns.RcodeRefused), silent, honest}, "1 at 0s, 2 at 0s, 3 at 750ms", 3, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newMemory(t, c.servers...)
				p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
				if c.kind != nil {
					wantError(t, p, c.kind, n.servers()[0].String()+": ", n.servers()[len(c.servers)-1].String()+": ")
				} else {
					wantHonestOrNoName(t, p, n.servers()[c.from-1])
				}
				p.Close()
				synctest.Wait()
				if got := n.log(); got != c.asked {
					t.Errorf("asked: %s\nwant:  %s", got, c.asked)
				}
			})
		})
	}
}

func wantHonestOrNoName(t *testing.T, p *Pool, from Server) {
	t.Helper()
	reply, err := p.Ask(t.Context(), mailA)
	if err != nil || reply.Server != from {
		t.Fatalf("%+v, %v; want an answer of %v", reply, err, from)
	}
}

// A server that takes longer than usual is overtaken sooner, and given more
// time when that goes on.
func TestUsualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t, after(20*time.Millisecond, honest), honest)
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
		wantHonest(t, p, n.servers()[0])
		n.become(1, after(300*time.Millisecond, honest))
		n.log()
		for _, want := range []string{"1 at 0s, 2 at 80ms", "1 at 0s, 2 at 160ms", "1 at 0s, 2 at 320ms"} {
			if _, err := p.Ask(t.Context(), mailA); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := n.log(); got != want && !(strings.HasPrefix(want, got) && strings.Contains(want, "320")) {
				t.Errorf("asked %s, want %s", got, want)
			}
		}
		wantHonest(t, p, n.servers()[0]) // has its 300 ms now
	})
}

// A black hole in front: its failures are found out although it is overtaken
// each time, it is left alone for 2 s, then 4 s, …, then probed by one at a time,
// and comes back.
func TestDownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		n := newMemory(t, silent, honest)
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial, Hooks: told.hooks()})
		first, second := n.servers()[0], n.servers()[1]
		ask := func(from Server, asked string) {
			t.Helper()
			n.log()
			wantHonest(t, p, from)
			synctest.Wait()
			if got := n.log(); got != asked {
				t.Errorf("asked %s, want %s", got, asked)
			}
		}
		for range 3 {
			ask(second, "1 at 0s, 2 at 750ms")
		}
		if told.all() != "down 10.0.0.1" {
			t.Fatalf("told: %s", told.all())
		}
		for _, pause := range []time.Duration{2, 4, 8, 16, 30, 30} {
			time.Sleep(pause*time.Second - time.Nanosecond)
			ask(second, "2 at 0s")
			time.Sleep(time.Nanosecond)
			ask(second, "1 at 0s, 2 at 187.5ms") // the probe
			ask(second, "2 at 0s")
		}
		n.become(1, honest)
		time.Sleep(30 * time.Second)
		ask(first, "1 at 0s")
		if told.all() != "down 10.0.0.1, up 10.0.0.1" {
			t.Errorf("told: %s", told.all())
		}
	})
}

// Names whose own servers are silent put no server down that answers for others,
// unless it has answered nothing for a while; that nobody listens any more does at
// once.
func TestSilentNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		n := newMemory(t, func(query []byte, send func([]byte)) {
			if query[headerLen] == byte(len("mail")) { // not "lost0"
				honest(query, send)
			}
		})
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial, Attempts: 1, Hooks: told.hooks()})
		silence := func(want string) {
			t.Helper()
			var asking sync.WaitGroup
			for i := range failuresToDown + 1 {
				asking.Go(func() {
					if _, err := p.Ask(t.Context(), Question{Name: fmt.Sprintf("lost%d.example", i), Type: dns.TypeA}); !errors.Is(err, ErrTimeout) {
						t.Error(err)
					}
				})
			}
			asking.Wait()
			if told.all() != want {
				t.Errorf("told: %s; want %s", told.all(), want)
			}
		}
		wantHonest(t, p, n.servers()[0])
		silence("") // 1.5 s after an answer
		wantHonest(t, p, n.servers()[0])
		time.Sleep(lately - 1500*time.Millisecond)
		silence("down 10.0.0.1")
		wantHonest(t, p, n.servers()[0])

		n.become(1, nil)
		for range failuresToDown {
			wantError(t, p, ErrFailed, "refused")
		}
		if want := "down 10.0.0.1, up 10.0.0.1, down 10.0.0.1"; told.all() != want {
			t.Errorf("told: %s; want %s", told.all(), want)
		}
	})
}

// When all are down they are asked all the same, and asking them so often does
// not keep them down.
func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		n := newMemory(t, nil, nil)
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial, Hooks: told.hooks()})
		for range 20 {
			wantError(t, p, ErrFailed, "10.0.0.1: refused", "10.0.0.2: refused")
		}
		if told.all() != "down 10.0.0.1, down 10.0.0.2" {
			t.Errorf("told: %s", told.all())
		}
		n.become(2, honest)
		wantHonest(t, p, n.servers()[1])
		n.become(1, honest)
		time.Sleep(firstPause)
		wantHonest(t, p, n.servers()[0])
	})
}

// A refusal, whatever its name is, puts no server out.
func TestRefusalsAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		n := newMemory(t, rcode(dns.RcodeServerFailure))
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial, Hooks: told.hooks()})
		for range 10 {
			wantError(t, p, ErrFailed, "SERVFAIL")
		}
		if told.all() != "" {
			t.Errorf("told: %s", told.all())
		}
	})
}

func TestReasonOfARefusal(t *testing.T) {
	bogus := says(func(m *dns.Msg) {
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		m.SetEdns0(ednsSize, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "\x1b[31m"}}
	})
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t, bogus)
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
		wantError(t, p, ErrFailed, "10.0.0.1: SERVFAIL (DNSSEC Bogus)")
	})
}

// More questions than there are places wait, as long as they may.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t, after(100*time.Millisecond, honest))
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
		p.places = make(chan struct{}, 2)
		began := time.Now()
		var asking sync.WaitGroup
		for range 6 {
			asking.Go(func() { wantHonestHere(t, p) })
		}
		synctest.Wait()
		if strings.Count(n.log(), "1 at") != 2 {
			t.Error("not two at a time")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Ask(ctx, mailA); !isAll(err, ErrTimeout, context.DeadlineExceeded) {
			t.Errorf("waited in vain: %v", err)
		}
		asking.Wait()
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("six in %v", took)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t, silent)
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
		p.places = make(chan struct{}, 1)
		var asking sync.WaitGroup
		for range 3 { // one is asking, two wait
			asking.Go(func() {
				if _, err := p.Ask(t.Context(), mailA); !isAll(err, ErrFailed, ErrClosed) {
					t.Errorf("closed under way: %v", err)
				}
			})
		}
		synctest.Wait()
		p.Close()
		asking.Wait()
		if _, err := p.Ask(t.Context(), mailA); !isAll(err, ErrFailed, ErrClosed) {
			t.Errorf("closed before: %v", err)
		}
		p.Close()
	})
}

func TestAskRefusesQuestions(t *testing.T) {
	p := pool(t, Config{Servers: []Server{{Network: "udp", Addr: netip.MustParseAddrPort("10.0.0.1:53")}}})
	if _, err := p.Ask(t.Context(), Question{Name: "Mail.", Type: dns.TypeA}); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// Every hostile server that there is, in front of an honest one.
func TestHonestServerBehindHostileOnes(t *testing.T) {
	a := newAuthority(t)
	lies := func(lie func([]byte) []byte) Server {
		return serve(t, func(q []byte, send func([]byte)) { send(lie(answerTo(q, forged))) }, nil).over("udp")
	}
	expired, _ := serveTLS(t, a.leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), says(forged))
	misnamed, _ := serveTLS(t, a.leaf(nil), says(forged))
	misnamed.Name = "other.corp.example"
	cut := says(func(m *dns.Msg) { m.Truncated = true; forged(m) })
	hostile := []Server{
		lies(wrongID), lies(wrongQuestion), lies(wrongCase), lies(garbage),
		serve(t, cut, nil).over("udp"),
		serve(t, nil, nil).over("udp"),
		serve(t, silent, nil).over("udp"),
		serve(t, rcode(dns.RcodeRefused), nil).over("udp"),
		rawServer(t, func(conn net.Conn) { conn.Read(make([]byte, 512)); conn.Write([]byte{0, 99}) }),
		rawServer(t, func(conn net.Conn) { conn.(*net.TCPConn).CloseWrite() }),
		expired, misnamed,
		serveHTTPS(t, a.leaf(nil), true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }),
		serveHTTPS(t, a.leaf(nil), true, func(w http.ResponseWriter, r *http.Request) {
			query, _ := io.ReadAll(r.Body)
			w.Write(answerTo(query, forged))
		}),
		serveHTTPS(t, &tls.Config{Certificates: a.leaf(nil).Certificates}, false, func(http.ResponseWriter, *http.Request) {}),
	}
	if len(hostile) != maxServers-1 {
		t.Fatalf("%d hostile servers", len(hostile))
	}
	good := serve(t, honest, honest)
	p := pool(t, Config{Servers: append(hostile, good.over("udp")), RootCAs: a.pool(), Timeout: 5 * time.Second})
	for _, m := range p.members {
		m.health.usual = time.Millisecond // or each would be waited for as long as it may take
	}
	for range 2 {
		wantHonest(t, p, good.over("udp"))
	}
}
