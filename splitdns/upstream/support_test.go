package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var mailA = Question{Name: "mail.corp.example", Type: dns.TypeA}

const honestAddr = "10.0.0.25"

// behaviour answers a query: with as many messages as it calls send for.
type behaviour func(query []byte, send func([]byte))

// nameServer is a DNS server on loopback, over UDP and TCP at one port.
type nameServer struct {
	t       testing.TB
	packets net.PacketConn
	streams net.Listener

	mu      sync.Mutex // guards the rest
	udp     [][]byte   // queries as they came
	tcp     [][]byte
	ports   map[string]bool // where they came from, over UDP
	dialled int
	conns   []net.Conn
	running sync.WaitGroup
}

// serve starts a server; nil as a behaviour is no server on that side.
func serve(t testing.TB, overUDP, overTCP behaviour) *nameServer {
	t.Helper()
	s := &nameServer{t: t, ports: make(map[string]bool)}
	for range 20 { // the port that UDP got may be taken over TCP
		var err error
		if s.packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if s.streams, err = net.Listen("tcp", s.packets.LocalAddr().String()); err == nil {
			break
		}
		s.packets.Close()
	}
	if s.streams == nil {
		t.Fatal("no port is free over both UDP and TCP")
	}
	t.Cleanup(s.stop)
	if overUDP != nil {
		s.running.Go(func() { s.servePackets(overUDP) })
	} else {
		s.packets.Close()
	}
	if overTCP != nil {
		s.running.Go(func() { s.serveStreams(overTCP) })
	} else {
		s.streams.Close()
	}
	return s
}

func (s *nameServer) stop() {
	s.packets.Close()
	s.streams.Close()
	s.hangUp()
	s.running.Wait()
}

// hangUp closes every connection that was accepted so far.
func (s *nameServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

func (s *nameServer) servePackets(do behaviour) {
	buf := make([]byte, 65535)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		query := append([]byte(nil), buf[:n]...)
		s.mu.Lock()
		s.udp = append(s.udp, query)
		s.ports[from.String()] = true
		s.mu.Unlock()
		do(query, func(answer []byte) { s.packets.WriteTo(answer, from) })
	}
}

func (s *nameServer) serveStreams(do behaviour) {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.dialled++
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.running.Go(func() {
			defer conn.Close()
			serveStream(conn, func(query []byte, send func([]byte)) {
				s.mu.Lock()
				s.tcp = append(s.tcp, query)
				s.mu.Unlock()
				do(query, send)
			})
		})
	}
}

func serveStream(conn net.Conn, do behaviour) {
	var mu sync.Mutex
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		do(query, func(answer []byte) {
			mu.Lock()
			defer mu.Unlock()
			conn.Write(framed(answer))
		})
	}
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func (s *nameServer) addr() netip.AddrPort {
	return netip.MustParseAddrPort(s.packets.LocalAddr().String())
}

func (s *nameServer) over(network string) Server {
	return Server{Network: network, Addr: s.addr()}
}

// queries returns how many came over UDP and TCP.
func (s *nameServer) queries() (udp, tcp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.udp), len(s.tcp)
}

// connections returns how many were accepted.
func (s *nameServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialled
}

// answerTo makes the honest answer to a query, changed by edit.
func answerTo(query []byte, edit func(*dns.Msg)) []byte {
	asked := new(dns.Msg)
	if err := asked.Unpack(query); err != nil {
		panic(err) // only what the pool sends comes here
	}
	answer := new(dns.Msg)
	answer.SetReply(asked)
	answer.RecursionAvailable = true
	answer.Compress = true
	answer.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: asked.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
		A:   net.ParseIP(honestAddr),
	}}
	if edit != nil {
		edit(answer)
	}
	wire, err := answer.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func honest(query []byte, send func([]byte)) { send(answerTo(query, nil)) }

func silent([]byte, func([]byte)) {}

// says answers like an honest server, but for what edit does to the answer.
func says(edit func(*dns.Msg)) behaviour {
	return func(query []byte, send func([]byte)) { send(answerTo(query, edit)) }
}

func rcode(code int) behaviour {
	return says(func(m *dns.Msg) { m.Rcode, m.Answer = code, nil })
}

// forged answers with another address.
func forged(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.ParseIP("6.6.6.6") }

// unasked drops the question of an answer that has no records.
func unasked(wire []byte) []byte {
	wire[5] = 0
	return wire[:headerLen]
}

// record keeps what the hooks of a pool tell.
type record struct {
	mu     sync.Mutex
	lies   map[Lie]int
	events []string
}

func (r *record) hooks() Hooks {
	r.lies = make(map[Lie]int)
	return Hooks{
		Lied: func(_ Server, about Lie) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lies[about]++
		},
		Down: func(s Server, cause error) { r.event("down " + s.String()) },
		Up:   func(s Server) { r.event("up " + s.String()) },
	}
}

func (r *record) event(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, what)
}

func (r *record) count(about Lie) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lies[about]
}

func (r *record) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events, ", ")
}

// pool makes a pool that the test closes.
func pool(t testing.TB, c Config) *Pool {
	t.Helper()
	p, err := NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// wantHonest asks, and takes no answer but the honest one.
func wantHonest(t testing.TB, p *Pool, from Server) {
	t.Helper()
	reply, err := p.Ask(t.Context(), mailA)
	if err != nil {
		t.Fatalf("asked: %v", err)
	}
	if reply.Server != from {
		t.Errorf("answered by %v, want %v", reply.Server, from)
	}
	if got := reply.Msg.Question[0].Name; got != mailA.Name+"." {
		t.Errorf("the question came back as %s", got)
	}
	if len(reply.Msg.Answer) == 0 {
		t.Fatalf("an answer without records: %v", reply.Msg)
	}
	a, ok := reply.Msg.Answer[0].(*dns.A)
	if !ok || a.A.String() != honestAddr || a.Hdr.Name != mailA.Name+"." {
		t.Errorf("the answer is %v", reply.Msg.Answer[0])
	}
}

func wantError(t testing.TB, p *Pool, kind error, parts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reply, err := p.Ask(ctx, mailA)
	if !errors.Is(err, kind) {
		t.Fatalf("got %+v, %v, want %v", reply, err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func isAll(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			return false
		}
	}
	return true
}

// wantHonestHere is wantHonest for goroutines other than the test's.
func wantHonestHere(t testing.TB, p *Pool) {
	reply, err := p.Ask(t.Context(), mailA)
	if err != nil || len(reply.Msg.Answer) != 1 || reply.Msg.Answer[0].(*dns.A).A.String() != honestAddr {
		t.Errorf("asked: %v, %v", reply, err)
	}
}

func addrPort(listener net.Listener) netip.AddrPort {
	return netip.MustParseAddrPort(listener.Addr().String())
}
