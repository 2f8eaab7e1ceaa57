package upstream

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// before sends what lies make of the honest answer with a forged address, and
// then the honest one.
func before(lies ...func(answer []byte) []byte) behaviour {
	return func(query []byte, send func([]byte)) {
		for _, lie := range lies {
			send(lie(answerTo(query, forged)))
		}
		honest(query, send)
	}
}

func wrongID(m []byte) []byte       { m[0] ^= 0x55; return m }
func wrongQuestion(m []byte) []byte { m[headerLen+1] ^= 1; return m }
func wrongType(m []byte) []byte     { m[headerLen+len(mailA.Name)+3] ^= 1; return m }
func aQuery(m []byte) []byte        { m[2] &^= 0x80; return m }
func garbage([]byte) []byte         { return []byte("220 mail.example ESMTP") }
func nothing([]byte) []byte         { return nil }

// wrongCase turns every letter of the name over.
func wrongCase(m []byte) []byte {
	for i := range len(mailA.Name) + 1 {
		if c := m[headerLen+i]; wire.Lower(c) >= 'a' && wire.Lower(c) <= 'z' {
			m[headerLen+i] ^= 0x20
		}
	}
	return m
}

// A liar neither wins nor stops the honest answer, whatever is wrong.
func TestLiesAreDropped(t *testing.T) {
	for name, c := range map[string]struct {
		lie   func([]byte) []byte
		about Lie
	}{
		"id":       {wrongID, lieID},
		"question": {wrongQuestion, lieQuestion},
		"type":     {wrongType, lieQuestion},
		"case":     {wrongCase, lieCase},
		"a query":  {aQuery, lieGarbage},
		"garbage":  {garbage, lieID},
		"empty":    {nothing, lieGarbage},
		"refusal":  {func(m []byte) []byte { m[3] |= dns.RcodeRefused; return unasked(m) }, lieQuestion},
	} {
		t.Run(name, func(t *testing.T) {
			var told record
			server := serve(t, before(c.lie, c.lie), nil)
			p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1, Hooks: told.hooks()})
			wantHonest(t, p, server.over("udp"))
			if told.count(c.about) != 2 {
				t.Errorf("lies counted: %v", told.lies)
			}
		})
	}
}

// The first of two right answers counts; the other finds nobody.
func TestTwoAnswers(t *testing.T) {
	server := serve(t, func(query []byte, send func([]byte)) {
		honest(query, send)
		send(answerTo(query, forged))
	}, nil)
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1})
	for range 5 {
		wantHonest(t, p, server.over("udp"))
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.ports) < 4 {
		t.Errorf("5 queries came from %d ports", len(server.ports))
	}
}

// A right answer from another address never arrives.
func TestOtherSource(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var server *nameServer
	ready := make(chan struct{})
	server = serve(t, func(query []byte, send func([]byte)) {
		<-ready
		server.mu.Lock()
		for from := range server.ports {
			to, _ := net.ResolveUDPAddr("udp", from)
			other.WriteTo(answerTo(query, forged), to)
		}
		server.mu.Unlock()
		honest(query, send)
	}, nil)
	close(ready)
	var told record
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1, Hooks: told.hooks()})
	wantHonest(t, p, server.over("udp"))
	if len(told.lies) != 0 {
		t.Errorf("a stranger was heard: %v", told.lies)
	}
}

// A server that does not keep the case is asked over TCP, and from then on over
// TCP at once.
func TestCaselessServer(t *testing.T) {
	server := serve(t, func(query []byte, send func([]byte)) { send(wrongCase(answerTo(query, forged))) }, honest)
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1})
	for range 3 {
		wantHonest(t, p, server.over("udp"))
	}
	if udp, tcp := server.queries(); udp != 1 || tcp != 3 || server.connections() != 1 {
		t.Errorf("%d queries over UDP, %d over TCP on %d connections", udp, tcp, server.connections())
	}
}

func TestTruncatedGoesToTCP(t *testing.T) {
	cut := says(func(m *dns.Msg) { m.Truncated = true; forged(m) })
	server := serve(t, cut, honest)
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1})
	wantHonest(t, p, server.over("udp"))

	// Cut short there too, it is no answer.
	server = serve(t, cut, cut)
	p = pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1})
	wantError(t, p, ErrFailed, "cuts its answer short", server.over("udp").String())
}

// A server that knows no EDNS is asked without, and that is remembered.
func TestServerWithoutEDNS(t *testing.T) {
	for name, refuse := range map[string]func([]byte) []byte{
		"form error":      func(m []byte) []byte { m[3] |= dns.RcodeFormatError; return m },
		"bare form error": func(m []byte) []byte { m[3] |= dns.RcodeFormatError; return unasked(m) },
		"not implemented": func(m []byte) []byte { m[3] |= dns.RcodeNotImplemented; return m },
	} {
		old := func(query []byte, send func([]byte)) {
			if query[11] != 0 {
				send(refuse(answerTo(query, nil)))
				return
			}
			honest(query, send)
		}
		for _, network := range []string{"udp", "tcp"} {
			t.Run(name+" over "+network, func(t *testing.T) {
				server := serve(t, old, old)
				p := pool(t, Config{Servers: []Server{server.over(network)}, Attempts: 1})
				wantHonest(t, p, server.over(network))
				wantHonest(t, p, server.over(network))
				if udp, tcp := server.queries(); udp+tcp != 3 {
					t.Errorf("%d queries, want 3", udp+tcp)
				}
			})
		}
	}
}

// As much as a datagram on loopback holds is taken, and not needed twice.
func TestLargeDatagram(t *testing.T) {
	large := func(query []byte, send func([]byte)) {
		send(answerTo(query, func(m *dns.Msg) {
			for len(m.Answer) < 4050 {
				m.Answer = append(m.Answer, m.Answer[0])
			}
		}))
	}
	server := serve(t, large, nil)
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Attempts: 1})
	reply, err := p.Ask(t.Context(), mailA)
	if err != nil || len(reply.Msg.Answer) != 4050 {
		t.Fatalf("%v, %v", reply, err)
	}
}

// Silence is asked again, in another message each time.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		came := make(chan []byte, 10)
		n := newMemory(t, func(query []byte, _ func([]byte)) { came <- query })
		p := pool(t, Config{Servers: n.servers(), Dial: n.dial})
		wantError(t, p, ErrTimeout, n.servers()[0].String(), "no answer in 1.5s")
		if len(came) != 3 {
			t.Fatalf("asked %d times, want 3", len(came))
		}
		if first, second := <-came, <-came; bytes.Equal(first, second) {
			t.Error("a query was sent again as it was")
		}
	})
}

func TestClosedPorts(t *testing.T) {
	closed := serve(t, nil, nil)
	for _, network := range []string{"udp", "tcp", "tls"} {
		p := pool(t, Config{Servers: []Server{closed.over(network)}})
		wantError(t, p, ErrFailed, closed.over(network).String(), "refused")
	}
}

func TestCallerGivesUp(t *testing.T) {
	asked := make(chan struct{}, 3)
	server := serve(t, func([]byte, func([]byte)) { asked <- struct{}{} }, nil)
	p := pool(t, Config{Servers: []Server{server.over("udp")}, Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := p.Ask(ctx, mailA); !isAll(err, ErrFailed, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Ask(ctx, mailA); !isAll(err, ErrTimeout, context.DeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
}
