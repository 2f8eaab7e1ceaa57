package quic

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// What a gateway under attack has of its limits.
const (
	maxUnproven  = DefaultMaxUnproven / scale
	maxPerSource = DefaultMaxPerSource / scale
)

// attacksOfStrangers are those of whoever need not be where he says he is, and of one
// who is and goes no further than his first packet.
func attacksOfStrangers() []attack {
	return []attack{
		{"half-open_handshakes", Config{MaxUnproven: maxUnproven}, noTunnels, noLimits, halfOpen, 64 << 10},
		{"half-open,_long_certificates", Config{MaxUnproven: maxUnproven, TLS: longChain(6 << 10)}, noTunnels, noLimits, halfOpen, 64 << 10},
		{"half-open_and_proven", Config{MaxUnproven: 1, MaxPerSource: maxPerSource}, noTunnels, noLimits, halfOpenProven, 128 << 10},
		{"the_same_Initials_again", Config{}, noTunnels, noLimits, repeatedInitials, 4 << 10},
		{"crumbs_of_ClientHello", Config{MaxUnproven: maxUnproven}, noTunnels, noLimits, crumbsOfHello, 64 << 10},
		{"forged_and_stolen_tokens", Config{MaxUnproven: 1}, noTunnels, noLimits, badTokens, 2 << 10},
		{"version_negotiation", Config{}, noTunnels, noLimits, flood(30, "version", func(p []byte) []byte {
			p[0] |= 0xc0
			p[5], p[6+int(p[5]%20)] = p[5]%20, 8
			return p
		}), 2 << 10},
		{"datagrams_of_noise", Config{}, noTunnels, noLimits, flood(10, "", func(p []byte) []byte { return p }), 2 << 10},
		{"Initials_of_noise", Config{MaxUnproven: maxUnproven}, noTunnels, noLimits, flood(100, "retry", func(p []byte) []byte {
			copy(p, "\xc3\x00\x00\x00\x01\x08")
			copy(p[14:], "\x08")
			copy(p[23:], "\x00\x44\x80")
			return p
		}), 16 << 10},
		{"packets_of_no_connection", Config{}, noTunnels, noLimits, flood(99, "short", func(p []byte) []byte {
			p[0] = p[0]&0x3f | 0x40
			return p[:60]
		}), 2 << 10},
	}
}

// origin is an address that packets come from, with all that goes to it.
type origin struct {
	*net.UDPConn
	out, in atomic.Int64
	kinds   [256]atomic.Int64 // of answers, by kindOf
	closed  chan struct{}
}

// kinds of answers.
const (
	kindInitial = iota
	kindHandshake
	kindRetry
	kindVersion
	kindShort
)

var kindNames = map[string]int{"retry": kindRetry, "version": kindVersion, "short": kindShort}

func kindOf(p []byte) int {
	switch {
	case p[0]&0x80 == 0:
		return kindShort
	case binary.BigEndian.Uint32(p[1:]) == 0:
		return kindVersion
	}
	return [4]int{kindInitial, kindInitial, kindHandshake, kindRetry}[p[0]>>4&3]
}

// newOrigin is at one of the loopback's addresses; what comes to it goes to hear, which
// may be nil, on a goroutine of its own.
func newOrigin(t *testing.T, from string, to netip.AddrPort, hear func([]byte)) *origin {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	s := &origin{UDPConn: conn, closed: make(chan struct{})}
	go func() {
		defer close(s.closed)
		p := make([]byte, 2048)
		for {
			n, err := conn.Read(p)
			if err != nil {
				return
			}
			s.in.Add(int64(n))
			s.kinds[kindOf(p)].Add(1)
			if hear != nil {
				hear(p[:n])
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-s.closed })
	return s
}

func (s *origin) send(t *testing.T, p []byte) {
	t.Helper()
	n, err := s.Write(p)
	if err != nil {
		t.Fatal(err)
	}
	s.out.Add(int64(n))
}

// worst is how many bytes went to that source which got most for its own.
func worst(sources []*origin) float64 {
	var most float64
	for _, s := range sources {
		most = max(most, float64(s.in.Load())/float64(s.out.Load()))
	}
	return most
}

func answers(sources []*origin, kind int) (n int64) {
	for _, s := range sources {
		n += s.kinds[kind].Load()
	}
	return n
}

// paced calls send so many times, not faster than a server's queue empties: what is
// merely lost is no attack.
func paced(count int, send func(i int)) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for i := range count {
		if i%8 == 7 {
			<-again.C
		}
		send(i)
	}
}

// hello is a ClientHello, and the connection ID that is in it.
func hello(t *testing.T) (id, data []byte) {
	t.Helper()
	x := newIntruder(nil)
	if err := x.startTLS(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer x.tls.Close()
	for {
		switch e := x.tls.NextEvent(); e.Kind {
		case tls.QUICWriteData:
			return x.here, append([]byte(nil), e.Data...)
		case tls.QUICNoEvent:
			t.Fatal("no ClientHello")
		}
	}
}

// caller is a client that says hello and no more.
func caller(s *origin, id, token []byte) *intruder {
	x := newIntruder(s)
	x.here, x.token = id, token
	return x
}

// hangUp ends a handshake by its client, in plain sight.
func hangUp(t *testing.T, s *origin, callers []*intruder) {
	t.Helper()
	paced(len(callers), func(i int) { s.send(t, callers[i].packet(0, numbers(nil, frameClose, 0, 0, 0))) })
}

// Clients that say hello and nothing after it, from addresses that are not theirs: few
// are held, the others are asked for a proof, and nobody gets more than amplification
// times what he sent until all of it has been given up. Some of them send a little more
// than they must, so that a multiple of it ends within a packet.
func halfOpen(t *testing.T, s *siege) string {
	const count, addresses, once = 10_000 / scale, 250 / scale, maxUnproven / 2
	var sources []*origin
	for i := range addresses {
		sources = append(sources, newOrigin(t, fmt.Sprintf("127.1.0.%d:0", 1+i), s.addr, nil))
	}
	id, data := hello(t)
	paced(count, func(i int) {
		from := sources[i%addresses]
		if i >= once { // the first ones call once, so that no other call pays for the answer
			from = sources[once+i%(addresses-once)]
		}
		x := caller(from, id, nil)
		x.longer = []int{0, 1, 52}[i%3]
		from.send(t, x.packet(0, cryptoFrame(nil, 0, data)))
	})
	s.until(t, false, func(condition) bool { return answers(sources, kindRetry) > 0 })
	c := s.look(t)
	if c.Unproven > maxUnproven || c.Connections > c.Unproven+1 {
		t.Errorf("%d handshakes are held, %d connections", c.Unproven, c.Connections)
	}
	retries := answers(sources, kindRetry)
	if retries > count {
		t.Errorf("%d retries", retries)
	}
	over := s.until(t, false, func(c condition) bool { return c.Connections <= 1 })
	if got := over.Tally["refused "+tunnel.LabelTimeout]; got < c.Unproven {
		t.Errorf("%d of %d have timed out: %v", got, c.Unproven, over.Tally)
	}
	w := worst(sources)
	if w > amplification || w < 0.5 {
		t.Errorf("%.2f bytes for one", w)
	}
	return fmt.Sprintf("%d held, %d retries, %s; at most %.2f bytes for one", c.Unproven, retries, happened(over, "refused "+tunnel.LabelTimeout), w)
}

// begun is how many handshakes are half open, or were.
func (c *condition) begun() int { return c.Unproven + c.Tally["refused "+tunnel.LabelTimeout] }

// proof is a token for a source. One handshake is left half open.
func proof(t *testing.T, from string, to netip.AddrPort) (token []byte, first *intruder, s *origin) {
	t.Helper()
	tokens := make(chan []byte, 1)
	s = newOrigin(t, from, to, func(p []byte) {
		if kindOf(p) == kindRetry {
			x := newIntruder(nil)
			x.split(p)
			tell(tokens, x.token)
		}
	})
	id, data := hello(t)
	for range 2 {
		x := caller(s, id, nil)
		s.send(t, x.packet(0, cryptoFrame(nil, 0, data)))
		if first == nil {
			first = x
		}
	}
	return receive(t, tokens), first, s
}

// The same from an address that is the client's, who shows it: his share and no more.
func halfOpenProven(t *testing.T, s *siege) string {
	const count = 10_000 / scale
	token, first, from := proof(t, "127.1.1.1:0", s.addr)
	id, data := hello(t)
	callers := []*intruder{first}
	paced(count, func(int) {
		x := caller(from, id, token)
		callers = append(callers, x)
		from.send(t, x.packet(0, cryptoFrame(nil, 0, data)))
	})
	s.until(t, false, func(c condition) bool { return c.Tally["refused "+LabelSource] > 0 })
	c := s.look(t)
	if c.Largest > maxPerSource || c.Connections > c.Largest+2 {
		t.Errorf("%d handshakes of one source are held, %d connections", c.Largest, c.Connections)
	}
	hangUp(t, from, callers[:min(len(callers), maxPerSource*5/4)]) // that is all who are held
	return fmt.Sprintf("%d held, %s", c.Largest, happened(c, "refused "+LabelSource))
}

// One Initial, and the same again and again.
func repeatedInitials(t *testing.T, s *siege) string {
	const addresses, times = 16, 8
	id, data := hello(t)
	var sources []*origin
	var callers []*intruder
	for i := range addresses {
		from := newOrigin(t, fmt.Sprintf("127.1.2.%d:0", 1+i), s.addr, nil)
		x := caller(from, id, nil)
		p := x.packet(0, cryptoFrame(nil, 0, data))
		for range 1 + i%times {
			from.send(t, p)
		}
		sources, callers = append(sources, from), append(callers, x)
	}
	s.until(t, false, func(c condition) bool { return c.begun() >= addresses })
	c := s.look(t)
	if c.Unproven > addresses {
		t.Errorf("%d handshakes", c.Unproven)
	}
	w := worst(sources)
	if w > amplification || w == 0 {
		t.Errorf("%.2f bytes for one", w)
	}
	for i, from := range sources {
		hangUp(t, from, callers[i:i+1])
	}
	return fmt.Sprintf("%d handshakes for %d addresses; at most %.2f bytes for one", c.Unproven, addresses, w)
}

// A ClientHello whose every other byte never comes.
func crumbsOfHello(t *testing.T, s *siege) string {
	const count, crumbs, each = maxUnproven, 900, 180
	from := newOrigin(t, "127.1.3.1:0", s.addr, nil)
	var callers []*intruder
	for range count {
		x := caller(from, randomID(), nil)
		callers = append(callers, x)
	}
	paced(count*crumbs/each, func(i int) {
		var frames []byte
		for n := range each {
			frames = cryptoFrame(frames, uint64(1+2*(i/count*each+n)), []byte{1})
		}
		from.send(t, callers[i%count].packet(0, frames))
	})
	s.until(t, false, func(c condition) bool { return c.begun() >= count })
	c := s.look(t)
	hangUp(t, from, callers)
	return fmt.Sprintf("%d held, %d bytes out and %d back", c.Unproven, from.out.Load(), from.in.Load())
}

// Proofs that are none, or of another address.
func badTokens(t *testing.T, s *siege) string {
	const count = 1000 / scale
	token, first, owner := proof(t, "127.1.4.1:0", s.addr)
	thief := newOrigin(t, "127.1.4.2:0", s.addr, nil)
	id, data := hello(t)
	paced(count, func(i int) {
		try := token
		if i%2 == 0 {
			try = make([]byte, len(token))
			_, _ = rand.Read(try)
		}
		thief.send(t, caller(thief, id, try).packet(0, cryptoFrame(nil, 0, data)))
	})
	c := s.look(t)
	if c.Unproven > 1 || c.Largest > 0 {
		t.Errorf("%d connections are held, %d with an address", c.Connections, c.Largest)
	}
	refused, retries := thief.kinds[kindInitial].Load(), thief.kinds[kindRetry].Load()
	if retries == 0 || retries > count/2 || refused == 0 || refused > count/2 {
		t.Errorf("%d refused, %d retries", refused, retries)
	}
	hangUp(t, owner, []*intruder{first})
	return fmt.Sprintf("%d asked for a proof, %d refused (INVALID_TOKEN)", retries, refused)
}

// flood sends packets that are made of noise. The answers are of the named kind and of
// no other, and have at most so many bytes for 100 of the flood's.
func flood(percent int64, kind string, shape func([]byte) []byte) func(*testing.T, *siege) string {
	return func(t *testing.T, s *siege) string {
		from := newOrigin(t, "127.1.5.1:0", s.addr, nil)
		var begun []*intruder
		paced(10_000/scale, func(int) {
			p := make([]byte, packetSize)
			_, _ = rand.Read(p)
			from.send(t, shape(p))
			if kind == "retry" && len(begun) < 2*maxUnproven {
				x := newIntruder(nil)
				x.there = p[6:14]
				x.spaces[0].ours, _ = initialProtection(x.there)
				begun = append(begun, x)
			}
		})
		s.look(t)
		defer hangUp(t, from, begun)
		in, out := from.in.Load(), from.out.Load()
		if in*100 > out*percent || kind != "" && in == 0 {
			t.Errorf("%d bytes for %d", in, out)
		}
		if kind != "" {
			for k := range from.kinds {
				if n := from.kinds[k].Load(); n > 0 && k != kindNames[kind] {
					t.Errorf("%d answers of kind %d", n, k)
				}
			}
		}
		return fmt.Sprintf("%d KiB, answered with %d (%s)", out>>10, in>>10, kind)
	}
}
