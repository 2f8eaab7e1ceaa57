package stub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// miekg's server is the peer, so that both ends are not of one mind.
func TestExchangeWithMiekgsServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		answer := new(dns.Msg).SetReply(m)
		for range 100 {
			answer.Answer = append(answer.Answer, &dns.TXT{
				Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET},
				Txt: []string{string(bytes.Repeat([]byte("x"), 250))},
			})
		}
		w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.ActivateAndServe() }()
	defer func() { server.Shutdown(); <-done }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 { // the stream serves again and again
		q := ask(fmt.Sprintf("Host%d.example.com", i), dns.TypeTXT)
		wire, err := Exchange(t.Context(), conn, pack(t, q))
		if err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, wire); m.Id != q.Id || len(m.Answer) != 100 {
			t.Errorf("answer %v", m.MsgHdr)
		}
	}
}

// exchangeWith asks for Mail.Example.com where the other end says what it wants.
func exchangeWith(t *testing.T, say func(query []byte) []byte) ([]byte, error) {
	t.Helper()
	client, server := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		query, err := readMessage(server, maxMessage)
		if err != nil {
			t.Errorf("the query: %v", err)
			return
		}
		server.Write(say(query))
	}()
	defer func() { client.Close(); <-done }()
	return Exchange(t.Context(), client, question(dns.TypeA, dns.ClassINET, "Mail", "Example", "com"))
}

func TestAnswersThatAreTaken(t *testing.T) {
	for name, say := range map[string]func([]byte) []byte{
		"the question in lower case": func(query []byte) []byte {
			return framed(with(with(with(query, 2, flagQR), 13, 'm'), 18, 'e'))
		},
		"a failure without a question": func(query []byte) []byte {
			return framed(with(with(with(query[:headerSize], 2, flagQR), 3, dns.RcodeFormatError), 5, 0))
		},
		"a byte more behind it": func(query []byte) []byte {
			return append(framed(with(query, 2, flagQR)), 0)
		},
	} {
		answer, err := exchangeWith(t, say)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, asked := range unpack(t, answer).Question {
			if asked.Name != "Mail.Example.com." {
				t.Errorf("%s: the question comes back as %q", name, asked.Name)
			}
		}
	}
}

func TestAnswersThatAreNot(t *testing.T) {
	for name, test := range map[string]struct {
		say  func(query []byte) []byte
		want error
	}{
		"the query itself":  {framed, ErrMessage},
		"another id":        {func(q []byte) []byte { return framed(with(with(q, 2, flagQR), 1, ^q[1])) }, ErrMessage},
		"another operation": {func(q []byte) []byte { return framed(with(q, 2, flagQR|2<<3)) }, ErrMessage},
		"another name":      {func(q []byte) []byte { return framed(with(with(q, 2, flagQR), 13, 'n')) }, ErrMessage},
		"another type":      {func(q []byte) []byte { return framed(with(with(q, 2, flagQR), len(q)-3, 28)) }, ErrMessage},
		"another class":     {func(q []byte) []byte { return framed(with(with(q, 2, flagQR), len(q)-1, 3)) }, ErrMessage},
		"two questions":     {func(q []byte) []byte { return framed(with(with(q, 2, flagQR), 5, 2)) }, ErrMessage},
		"good, and no question": {func(q []byte) []byte {
			return framed(with(with(q[:headerSize], 2, flagQR), 5, 0))
		}, ErrMessage},
		"half a question":  {func(q []byte) []byte { return framed(with(q, 2, flagQR)[:20]) }, ErrMessage},
		"half a header":    {func(q []byte) []byte { return framed(q[:8]) }, ErrMessage},
		"length, then end": {func(q []byte) []byte { return []byte{1, 0, 7} }, io.ErrUnexpectedEOF},
		"half a length":    {func(q []byte) []byte { return []byte{1} }, io.ErrUnexpectedEOF},
		"nothing":          {func(q []byte) []byte { return nil }, io.ErrUnexpectedEOF},
	} {
		if answer, err := exchangeWith(t, test.say); answer != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %x, %v", name, answer, err)
		}
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	client, server := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		readMessage(server, maxMessage)
		cancel()
	}()
	if _, err := Exchange(ctx, client, question(dns.TypeA, dns.ClassINET, "mail")); !errors.Is(err, context.Canceled) {
		t.Errorf("Exchange: %v", err)
	}
	client, _ = tcpPair(t)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Exchange(ctx, client, question(dns.TypeA, dns.ClassINET, "mail")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Exchange: %v", err)
	}
}

// A context that ends a moment after the answer has come leaves a good stream.
func TestExchangeThatJustMadeIt(t *testing.T) {
	conn, _ := serveStream(t, t.Context(), mail)
	query := question(dns.TypeA, dns.ClassINET, "mail")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Exchange(ctx, &lastRead{Conn: conn, then: cancel}, query); err != nil || ctx.Err() == nil {
		t.Fatalf("Exchange: %v, its context: %v", err, ctx.Err())
	}
	if _, err := Exchange(t.Context(), conn, query); err != nil {
		t.Errorf("the next Exchange: %v", err)
	}
}

// lastRead calls then at the end of the second read: that of the message, after
// that of its length.
type lastRead struct {
	net.Conn
	reads int
	then  func()
}

func (l *lastRead) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.reads++; l.reads == 2 {
		l.then()
	}
	return n, err
}

func TestRcode(t *testing.T) {
	q := parse(t, ask("mail", dns.TypeA))
	for want, answer := range map[int][]byte{Refused: q.Fail(Refused), NameError: q.Fail(NameError), ServerFailure: nil} {
		if got := Rcode(answer); got != want {
			t.Errorf("rcode %d, want %d", got, want)
		}
	}
}

// FuzzIsAnswer: whatever is taken for an answer, miekg reads as one to the same
// question.
func FuzzIsAnswer(f *testing.F) {
	query := question(dns.TypeA, dns.ClassINET, "Mail", "Example", "com")
	f.Add(with(query, 2, flagQR))
	f.Add(with(query, 2, flagQR)[:20])
	f.Add(append(with(query, 2, flagQR)[:headerSize], 0xc0, 0x0c, 0, 1, 0, 1))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) < headerSize || !IsAnswer(answer, query) {
			return
		}
		var m dns.Msg
		if m.Unpack(answer) != nil {
			return // what follows the question is the reader's matter
		}
		asked := unpack(t, query).Question[0]
		if m.Id != 0xabcd || !m.Response {
			t.Fatalf("taken for an answer: %v", &m)
		}
		if len(m.Question) == 0 {
			if m.Rcode&maskRcode == Success {
				t.Fatalf("taken for an answer: %v", &m)
			}
			return
		}
		got := m.Question[0]
		if len(got.Name) != len(asked.Name) || got.Qtype != asked.Qtype || got.Qclass != asked.Qclass {
			t.Fatalf("taken for an answer: %v", &m)
		}
	})
}
