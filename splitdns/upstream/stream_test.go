package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// Questions at the same time share one connection, and each gets its own answer
// although they come in the opposite order.
func TestPipelining(t *testing.T) {
	const many = 20
	var mu sync.Mutex
	var held []func()
	server := serve(t, nil, func(query []byte, send func([]byte)) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, func() {
			send(answerTo(query, func(m *dns.Msg) {
				m.Answer[0].(*dns.A).A = net.IPv4(10, 0, 0, m.Question[0].Name[0])
			}))
		})
		if len(held) == many {
			for i := range held {
				held[many-1-i]()
			}
		}
	})
	p := pool(t, Config{Servers: []Server{server.over("tcp")}, Timeout: 5 * time.Second})
	var asking sync.WaitGroup
	for i := range many {
		asking.Go(func() {
			letter := byte('a' + i)
			reply, err := p.Ask(t.Context(), Question{Name: string(letter) + ".corp.example", Type: dns.TypeA})
			if err != nil || reply.Msg.Answer[0].(*dns.A).A.To4()[3] != letter {
				t.Errorf("%c: %v, %v", letter, reply, err)
			}
		})
	}
	asking.Wait()
	if server.connections() != 1 {
		t.Errorf("%d connections", server.connections())
	}
}

// A kept connection that the server has closed costs nobody his answer.
func TestRedial(t *testing.T) {
	server := serve(t, nil, honest)
	p := pool(t, Config{Servers: []Server{server.over("tcp")}, Attempts: 1})
	for range 3 {
		wantHonest(t, p, server.over("tcp"))
		server.hangUp()
	}
	if server.connections() != 3 {
		t.Errorf("%d connections, want 3", server.connections())
	}
}

// A connection is dialled once more when a kept one ends under a question, and
// not again when that ends too.
func TestRedialOnce(t *testing.T) {
	var server *nameServer
	var queries atomic.Int32
	ready := make(chan struct{})
	server = serve(t, nil, func(query []byte, send func([]byte)) {
		<-ready
		if queries.Add(1) == 1 {
			honest(query, send)
			return
		}
		server.hangUp()
	})
	close(ready)
	p := pool(t, Config{Servers: []Server{server.over("tcp")}, Attempts: 1})
	wantHonest(t, p, server.over("tcp"))
	wantError(t, p, ErrFailed, "the connection has ended")
	if server.connections() != 2 {
		t.Errorf("%d connections, want 2", server.connections())
	}
}

// A peer that vanished says so to nobody: what is silent for half of an attempt
// is not used again.
func TestHalfOpenConnection(t *testing.T) {
	mu := sync.Mutex{}
	gone := make(map[int]bool)
	var server *nameServer
	ready := make(chan struct{})
	server = serve(t, nil, func(query []byte, send func([]byte)) {
		<-ready
		connection := server.connections()
		mu.Lock()
		defer mu.Unlock()
		if gone[connection] {
			return
		}
		gone[connection] = connection == 1 // answers its first query only
		honest(query, send)
	})
	close(ready)
	p := pool(t, Config{Servers: []Server{server.over("tcp")}, Timeout: 400 * time.Millisecond})
	wantHonest(t, p, server.over("tcp"))
	wantHonest(t, p, server.over("tcp"))
	if server.connections() != 2 {
		t.Errorf("%d connections, want 2", server.connections())
	}
}

// Streams of servers that do not keep to the protocol.
func TestHostileStreams(t *testing.T) {
	for name, c := range map[string]struct {
		do      behaviour
		kind    error // nil: the honest answer
		says    string
		about   Lie
		counted int
	}{
		"wrong id first":       {before(wrongID, wrongID), nil, "", lieID, 2},
		"wrong question first": {before(wrongQuestion), nil, "", lieQuestion, 1},
		"garbage first":        {before(nothing), nil, "", lieGarbage, 1},
		"other letters":        {func(q []byte, send func([]byte)) { send(wrongCase(answerTo(q, nil))) }, nil, "", lieCase, 0},
		"only wrong ids":       {func(q []byte, send func([]byte)) { send(wrongID(answerTo(q, nil))) }, ErrTimeout, "no answer", lieID, 1},
		"garbled records":      {func(q []byte, send func([]byte)) { m := answerTo(q, nil); send(m[:len(m)-2]) }, ErrFailed, "cannot be read", "", 0},
		"flood": {func(q []byte, send func([]byte)) {
			for range 2 * maxLies {
				send(wrongID(answerTo(q, nil)))
			}
		}, ErrFailed, "too many answers", lieID, maxLies + 1},
		"large": {says(func(m *dns.Msg) {
			for len(m.Answer) < 4050 {
				m.Answer = append(m.Answer, m.Answer[0])
			}
		}), nil, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var told record
			server := serve(t, nil, c.do)
			patience := 5 * time.Second
			if c.kind == ErrTimeout {
				patience = 100 * time.Millisecond
			}
			p := pool(t, Config{Servers: []Server{server.over("tcp")}, Timeout: patience, Attempts: 1, Hooks: told.hooks()})
			if c.kind == nil {
				wantHonest(t, p, server.over("tcp"))
			} else {
				wantError(t, p, c.kind, c.says)
			}
			p.Close() // the reader has told everything
			if told.count(c.about) != c.counted {
				t.Errorf("lies counted: %v", told.lies)
			}
		})
	}
}

// A query that was given up excuses its late answer, and no flood under its id.
func TestFloodUnderAGivenUpID(t *testing.T) {
	var told record
	var asked atomic.Int32
	var first []byte
	server := serve(t, nil, func(q []byte, send func([]byte)) {
		switch asked.Add(1) {
		case 1:
			first = q
		case 2:
			for range 2 * maxLies {
				send(wrongQuestion(answerTo(first, nil)))
			}
		default: // the next connection
			honest(q, send)
		}
	})
	p := pool(t, Config{Servers: []Server{server.over("tcp")}, Timeout: 5 * time.Second, Attempts: 1, Hooks: told.hooks()})
	ctx, giveUp := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer giveUp()
	if _, err := p.Ask(ctx, mailA); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	wantHonest(t, p, server.over("tcp"))
	p.Close()
	if told.count(lieQuestion) != maxLies+1 {
		t.Errorf("lies counted: %v", told.lies)
	}
}

// rawServer accepts connections, reads the first bytes, and leaves the rest to
// the test.
func rawServer(t *testing.T, do func(conn net.Conn)) Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				do(conn)
				io.Copy(io.Discard, conn) // until the pool is done with it
			})
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	return Server{Network: "tcp", Addr: addrPort(listener)}
}

// TestLengthAndStop covers a message that never comes, one that is cut off, and
// a handshake that is not answered.
func TestLengthAndStop(t *testing.T) {
	length := rawServer(t, func(conn net.Conn) { conn.Read(make([]byte, 512)); conn.Write([]byte{0, 50}) })
	p := pool(t, Config{Servers: []Server{length}, Timeout: 60 * time.Millisecond})
	wantError(t, p, ErrTimeout, length.String())

	half := rawServer(t, func(conn net.Conn) {
		query := make([]byte, 512)
		n, _ := conn.Read(query)
		conn.Write(framed(answerTo(query[2:n], nil))[:30])
		conn.(*net.TCPConn).CloseWrite()
	})
	p = pool(t, Config{Servers: []Server{half}})
	wantError(t, p, ErrFailed, "unexpected EOF")

	mute := rawServer(t, func(net.Conn) {})
	mute.Network = "tls"
	p = pool(t, Config{Servers: []Server{mute}, Timeout: 60 * time.Millisecond})
	wantError(t, p, ErrTimeout, mute.String())
}

// pipeServer answers honestly on every connection that its Dial makes.
type pipeServer struct {
	mu      sync.Mutex
	dialled int
	open    int
}

func (s *pipeServer) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	s.mu.Lock()
	s.dialled++
	s.open++
	s.mu.Unlock()
	go func() {
		serveStream(far, honest)
		far.Close()
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	return near, nil
}

func (s *pipeServer) counts() (dialled, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialled, s.open
}

// A connection is kept for ten seconds after its last question.
func TestIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server pipeServer
		to, _ := ParseServer("tcp://10.0.0.53")
		p := pool(t, Config{Servers: []Server{to}, Dial: server.dial})
		want := func(when string, dialled, open int) {
			t.Helper()
			synctest.Wait()
			if d, o := server.counts(); d != dialled || o != open {
				t.Errorf("%s: %d dialled, %d open, want %d, %d", when, d, o, dialled, open)
			}
		}
		wantHonest(t, p, to)
		time.Sleep(idleLife - time.Millisecond)
		want("just kept", 1, 1)
		wantHonest(t, p, to)
		time.Sleep(idleLife - time.Millisecond)
		want("kept anew", 1, 1)
		time.Sleep(2 * time.Millisecond)
		want("idle", 1, 0)
		wantHonest(t, p, to)
		want("dialled again", 2, 1)
		p.Close()
		want("closed", 2, 0)
	})
}

// A write that the caller gives up in the middle ends the connection, for half
// a message is on it.
func TestGivingUpInsideAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		to, _ := ParseServer("tcp://10.0.0.53")
		p := pool(t, Config{Servers: []Server{to}, Attempts: 1, Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		var length [2]byte
		go far.Read(length[:]) // and no more
		wantError(t, p, ErrTimeout)
		if _, err := near.Write([]byte{0}); err == nil {
			t.Error("the connection is still open")
		}
		if binary.BigEndian.Uint16(length[:]) == 0 {
			t.Error("nothing was sent")
		}
	})
}

func TestBurstDialsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server pipeServer
		to, _ := ParseServer("tcp://10.0.0.53")
		slow := func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(100 * time.Millisecond)
			return server.dial(ctx, network, addr)
		}
		p := pool(t, Config{Servers: []Server{to}, Dial: slow})
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() { wantHonestHere(t, p) })
		}
		asking.Wait()
		if dialled, _ := server.counts(); dialled != 1 {
			t.Errorf("dialled %d times", dialled)
		}
	})
}
