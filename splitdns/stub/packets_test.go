package stub

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

func TestPacketsWithMiekgsClient(t *testing.T) {
	to := servePackets(t, mail)
	client := dns.Client{Timeout: 10 * time.Second}
	answer, _, err := client.Exchange(ask("Mail.Example.com", dns.TypeAAAA).SetEdns0(4096, false), to.String())
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := answer.Answer[0].(*dns.AAAA); !ok || a.AAAA.String() != "2001:db8::25" || answer.Truncated {
		t.Errorf("answer %v", answer)
	}
	if answer, _, err = client.Exchange(ask("example.com", dns.TypeAXFR), to.String()); err != nil || answer.Rcode != dns.RcodeNotImplemented {
		t.Errorf("AXFR: %v, %v", answer, err)
	}
}

// An answer is cut to what the asker takes, on whole records, and says so.
func TestTruncation(t *testing.T) {
	const addresses = 200 // 16 bytes each
	to := servePackets(t, handlerFunc(func(_ context.Context, q *Query) []byte {
		if q.Name == "unreadable" {
			return append(q.Fail(Success), make([]byte, 5000)...)[:5000:5000]
		}
		return q.Addresses(many(addresses), time.Minute)
	}))
	for _, test := range []struct {
		name   string
		size   uint16 // announced; 0: no OPT
		atMost int
		least  int // records
	}{
		{"many", 0, 512, 28},
		{"many", 100, 512, 28},
		{"many", 700, 700, 40},
		{"many", 65535, wire.PacketSize, 70},
	} {
		conn, err := net.DialUDP("udp", nil, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		m := ask(test.name, dns.TypeA)
		if test.size > 0 {
			m.SetEdns0(test.size, false)
		}
		conn.Write(pack(t, m))
		packet := make([]byte, 65535)
		size, err := conn.Read(packet)
		if err != nil {
			t.Fatal(err)
		}
		answer := unpack(t, packet[:size])
		if size > test.atMost || !answer.Truncated || len(answer.Answer) < test.least || answer.Id != m.Id {
			t.Errorf("size %d announced: %d bytes, %d records, TC %v", test.size, size, len(answer.Answer), answer.Truncated)
		}
		if (answer.IsEdns0() != nil) != (test.size > 0) {
			t.Errorf("size %d announced: OPT %v", test.size, answer.IsEdns0())
		}
	}
}

// A handler may bring another server's answer, which may be anything.
func TestTruncationOfForeignAnswers(t *testing.T) {
	q := parse(t, ask("mail.example.com", dns.TypeA).SetEdns0(1232, false))
	readable := q.Addresses(many(200), time.Minute)
	signed := unpack(t, readable).SetTsig("key.", dns.HmacSHA256, 300, 0)
	for name, foreign := range map[string][]byte{
		"cut off":      readable[:2000],
		"zeros":        make([]byte, 5000),
		"with TSIG":    pack(t, signed),
		"length of it": readable,
	} {
		cut := q.truncate(foreign)
		m := unpack(t, cut)
		if len(cut) > wire.PacketSize || !m.Truncated || m.Id != unpack(t, q.Wire()).Id || m.Question[0].Name != "mail.example.com." {
			t.Errorf("%s: %d bytes, %v", name, len(cut), m.MsgHdr)
		}
	}
}

// When 256 are in work, the next is dropped, and the socket serves on.
func TestPacketsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc := newQueue()
		release := make(chan struct{})
		started := make(chan struct{}, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- ServePackets(ctx, pc, handlerFunc(func(_ context.Context, q *Query) []byte {
				started <- struct{}{}
				<-release
				return q.Fail(Success)
			}))
		}()
		wire := pack(t, ask("mail", dns.TypeA))
		for range 500 {
			pc.in <- wire
		}
		synctest.Wait()
		if len(started) != 256 {
			t.Errorf("%d in work, want 256", len(started))
		}
		close(release)
		for range 256 {
			<-pc.out
		}
		synctest.Wait()
		pc.in <- wire
		<-pc.out
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ServePackets: %v", err)
		}
	})
}

// A question keeps its bytes while others come in.
func TestPacketsDoNotMix(t *testing.T) {
	release := make(chan struct{})
	to := servePackets(t, handlerFunc(func(_ context.Context, q *Query) []byte {
		if q.Name == "first" {
			<-release
		} else {
			close(release)
		}
		return q.Fail(Success)
	}))
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	first, second := ask("first", dns.TypeA), ask("other", dns.TypeA)
	conn.Write(pack(t, first))
	conn.Write(pack(t, second))
	names := make(map[uint16]string)
	for range 2 {
		packet := make([]byte, 512)
		size, err := conn.Read(packet)
		if err != nil {
			t.Fatal(err)
		}
		m := unpack(t, packet[:size])
		names[m.Id] = m.Question[0].Name
	}
	if names[first.Id] != "first." || names[second.Id] != "other." {
		t.Errorf("answers: %v", names)
	}
}

// A socket that fails for a while is waited for; one that is closed is the end.
func TestSocketThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc := newQueue()
		pc.failures = 6 // 5, 10, 20, 40, 80, 160 ms
		ended := make(chan error, 1)
		go func() { ended <- ServePackets(t.Context(), pc, mail) }()
		begun := time.Now()
		pc.in <- pack(t, ask("mail", dns.TypeA))
		unpack(t, <-pc.out)
		if took := time.Since(begun); took != 315*time.Millisecond {
			t.Errorf("served after %v", took)
		}
		pc.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ServePackets: %v", err)
		}
	})
}

func TestWhoIsNotAnswered(t *testing.T) {
	ip := net.IPv4(127, 0, 0, 1)
	for port, want := range map[int]bool{0: false, 53: false, 54: true, 5353: true, 65535: true} {
		if got := mayAnswer(&net.UDPAddr{IP: ip, Port: port}); got != want {
			t.Errorf("port %d: %v", port, got)
		}
	}
}

// queue is a socket in memory, for fake time.
type queue struct {
	in, out  chan []byte
	failures int // of ReadFrom, before it works
	closed   chan struct{}
	close    func()
}

func newQueue() *queue {
	ctx, cancel := context.WithCancel(context.Background())
	q := &queue{in: make(chan []byte), out: make(chan []byte), closed: make(chan struct{})}
	context.AfterFunc(ctx, func() { close(q.closed) })
	q.close = cancel
	return q
}

func (q *queue) ReadFrom(p []byte) (int, net.Addr, error) {
	if q.failures > 0 {
		q.failures--
		return 0, nil, &net.OpError{Op: "read", Err: errors.New("no memory")}
	}
	select {
	case packet := <-q.in:
		return copy(p, packet), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}, nil
	case <-q.closed:
		return 0, nil, net.ErrClosed
	}
}

func (q *queue) WriteTo(p []byte, _ net.Addr) (int, error) {
	select {
	case q.out <- append([]byte(nil), p...):
		return len(p), nil
	case <-q.closed:
		return 0, net.ErrClosed
	}
}

func (q *queue) Close() error                     { q.close(); return nil }
func (q *queue) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (q *queue) SetDeadline(time.Time) error      { return nil }
func (q *queue) SetReadDeadline(time.Time) error  { return nil }
func (q *queue) SetWriteDeadline(time.Time) error { return nil }
