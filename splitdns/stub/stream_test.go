package stub

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// framed puts its length in front of a message.
func framed(wire []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
}

// readAnswer reads one message off a stream.
func readAnswer(t testing.TB, conn net.Conn) *dns.Msg {
	t.Helper()
	wire, err := readMessage(conn, maxMessage)
	if err != nil {
		t.Fatalf("reading an answer: %v", err)
	}
	return unpack(t, wire)
}

func TestStreamWithMiekgsClient(t *testing.T) {
	conn, ended := serveStream(t, t.Context(), mail)
	client := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	for i := range 20 { // one stream, many questions
		m := ask(fmt.Sprintf("Host%d.Example.com", i), dns.TypeA).SetEdns0(4096, false)
		answer, _, err := client.ExchangeWithConn(m, &dns.Conn{Conn: conn})
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := answer.Answer[0].(*dns.A); !ok || a.A.String() != "192.0.2.25" || a.Hdr.Name != m.Question[0].Name {
			t.Fatalf("answer %v", answer)
		}
	}
	conn.Close()
	if err := <-ended; err != nil {
		t.Errorf("ServeStream: %v", err)
	}
}

// The first question is answered last: the second waits for nobody.
func TestAnswersOutOfOrder(t *testing.T) {
	release := make(chan struct{})
	conn, _ := serveStream(t, t.Context(), handlerFunc(func(ctx context.Context, q *Query) []byte {
		if q.Name == "slow" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return q.Fail(NameError)
	}))
	slow, quick := ask("slow", dns.TypeA), ask("quick", dns.TypeA)
	if _, err := conn.Write(append(framed(pack(t, slow)), framed(pack(t, quick))...)); err != nil {
		t.Fatal(err)
	}
	if got := readAnswer(t, conn); got.Id != quick.Id || got.Question[0].Name != "quick." {
		t.Fatalf("first answer: %v", got)
	}
	close(release)
	if got := readAnswer(t, conn); got.Id != slow.Id || got.Question[0].Name != "slow." {
		t.Fatalf("second answer: %v", got)
	}
}

// An asker may pour in what it likes: eight are worked on, the ninth waits.
func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		started, release := 0, make(chan struct{})
		mu := make(chan struct{}, 1)
		h := handlerFunc(func(_ context.Context, q *Query) []byte {
			mu <- struct{}{}
			started++
			<-mu
			<-release
			return q.Fail(Success)
		})
		ended := make(chan error, 1)
		go func() { ended <- ServeStream(t.Context(), server, h) }()
		wire := framed(pack(t, ask("mail", dns.TypeA)))
		go client.Write(bytes.Repeat(wire, 20))
		synctest.Wait()
		if started != 8 {
			t.Errorf("%d questions in work, want 8", started)
		}
		close(release)
		for range 20 {
			readAnswer(t, client)
		}
		client.Close()
		if err := <-ended; err != nil {
			t.Errorf("ServeStream: %v", err)
		}
	})
}

// An asker that has said its last word still gets every answer, and then the
// stream ends.
func TestHalfClose(t *testing.T) {
	release := make(chan struct{})
	conn, ended := serveStream(t, t.Context(), handlerFunc(func(ctx context.Context, q *Query) []byte {
		<-release
		if ctx.Err() != nil {
			t.Error("the half-close ended the look-ups")
		}
		return q.Fail(Success)
	}))
	for i := range 3 {
		if _, err := conn.Write(framed(pack(t, ask(fmt.Sprintf("host%d", i), dns.TypeA)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(release)
	for range 3 {
		readAnswer(t, conn)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last answer: %d bytes, %v", n, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("ServeStream: %v", err)
	}
}

// The same where the two directions are pipes, of which one is gone: it takes no
// deadline any more, and what had come through it is answered all the same.
func TestHalfCloseOfPipes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toServer, fromClient := net.Pipe()
		toClient, fromServer := net.Pipe()
		release := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- ServeStream(t.Context(), pipes{in: fromClient, out: toClient}, handlerFunc(func(_ context.Context, q *Query) []byte {
				<-release
				return q.Fail(Success)
			}))
		}()
		query := framed(question(dns.TypeA, dns.ClassINET, "m"))
		if _, err := toServer.Write(bytes.Repeat(query, 12)); err != nil { // four wait behind the eight in flight
			t.Fatal(err)
		}
		toServer.Close()
		synctest.Wait()
		close(release)
		for range 12 {
			readAnswer(t, fromServer)
		}
		if err := <-ended; err != nil {
			t.Errorf("ServeStream: %v", err)
		}
	})
}

// pipes is a stream of two pipes, one each way.
type pipes struct{ in, out net.Conn }

func (p pipes) Read(b []byte) (int, error)         { return p.in.Read(b) }
func (p pipes) Write(b []byte) (int, error)        { return p.out.Write(b) }
func (p pipes) Close() error                       { return errors.Join(p.in.Close(), p.out.Close()) }
func (p pipes) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p pipes) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }
func (p pipes) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}
func (p pipes) LocalAddr() net.Addr  { return p.in.LocalAddr() }
func (p pipes) RemoteAddr() net.Addr { return p.in.RemoteAddr() }

// A stream without deadlines is not trusted with a message that is incomplete.
func TestStreamWithoutDeadlines(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	ended := make(chan error, 1)
	go func() { ended <- ServeStream(t.Context(), timeless{server}, mail) }()
	wire := framed(pack(t, ask("mail", dns.TypeA)))
	client.Write(wire)
	readAnswer(t, client)
	client.Write(wire[:5])
	if err := <-ended; !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("ServeStream: %v", err)
	}
}

type timeless struct{ net.Conn }

func (timeless) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// Rejected messages are answered, and the stream goes on.
func TestRejectionKeepsTheStream(t *testing.T) {
	conn, _ := serveStream(t, t.Context(), mail)
	for _, test := range []struct {
		wire  []byte
		rcode int
	}{
		{question(dns.TypeAXFR, dns.ClassINET, "example", "com"), dns.RcodeNotImplemented},
		{make([]byte, headerSize), dns.RcodeFormatError},
		{question(dns.TypeA, dns.ClassINET, "mail"), Success},
	} {
		if _, err := conn.Write(framed(test.wire)); err != nil {
			t.Fatal(err)
		}
		if got := readAnswer(t, conn); got.Rcode != test.rcode {
			t.Errorf("%x is answered with %d, want %d", test.wire, got.Rcode, test.rcode)
		}
	}
}

// What is no DNS ends the stream at once, with no byte said.
func TestGarbageEndsTheStream(t *testing.T) {
	good := pack(t, ask("mail", dns.TypeA))
	for name, sent := range map[string][]byte{
		"no message in it":      {0, 0, 1, 2},
		"eleven bytes":          framed(good[:11]),
		"longer than any query": append(binary.BigEndian.AppendUint16(nil, maxQuery+1), good...),
		"an HTTP request":       []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"an answer":             framed(with(good, 2, flagQR)),
	} {
		t.Run(name, func(t *testing.T) {
			conn, ended := serveStream(t, t.Context(), mail)
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, ErrMessage) {
				t.Errorf("ServeStream: %v", err)
			}
			if n, _ := conn.Read(make([]byte, 64)); n != 0 {
				t.Errorf("%d bytes were said", n)
			}
		})
	}
}

// A length that promises more than comes is an error, not a silent end.
func TestMessageCutOff(t *testing.T) {
	whole := framed(pack(t, ask("mail.example.com", dns.TypeA)))
	for _, size := range []int{1, 2, 3, len(whole) - 1} {
		conn, ended := serveStream(t, t.Context(), mail)
		conn.Write(whole[:size])
		conn.CloseWrite()
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", size, err)
		}
	}
}

// Silence between messages is the relay's matter; within one it ends the
// stream after ten seconds, however steadily the bytes drip.
func TestSlowAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		ended := make(chan error, 1)
		var end time.Time
		go func() {
			err := ServeStream(t.Context(), server, mail)
			end = time.Now()
			ended <- err
		}()
		wire := framed(pack(t, ask("mail.example.com", dns.TypeA)))

		time.Sleep(time.Hour)
		if _, err := client.Write(wire); err != nil {
			t.Fatalf("after an hour of silence: %v", err)
		}
		readAnswer(t, client)

		time.Sleep(time.Hour)
		begun := time.Now()
		for _, b := range wire {
			if _, err := client.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ServeStream: %v", err)
		}
		if took := end.Sub(begun); took != patience {
			t.Errorf("it took %v", took)
		}
	})
}

// A query whose bytes were already there costs no patience of the next one.
func TestPatienceStartsWithEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- ServeStream(t.Context(), server, mail) }()
		wire := framed(pack(t, ask("mail", dns.TypeA)))
		go client.Write(append(bytes.Clone(wire), wire[:5]...))
		readAnswer(t, client)
		time.Sleep(patience - time.Second)
		go client.Write(append(bytes.Clone(wire[5:]), wire[:5]...))
		readAnswer(t, client)
		time.Sleep(patience - time.Second)
		go client.Write(wire[5:])
		readAnswer(t, client)
		client.Close()
		if err := <-ended; err != nil {
			t.Errorf("ServeStream: %v", err)
		}
	})
}

func TestAnswersThatAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		ended := make(chan error, 1)
		go func() { ended <- ServeStream(t.Context(), server, mail) }()
		wire := framed(pack(t, ask("mail", dns.TypeA)))
		client.Write(bytes.Repeat(wire, 3))
		begun := time.Now()
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ServeStream: %v", err)
		}
		if took := time.Since(begun); took != patience {
			t.Errorf("it took %v", took)
		}
	})
}

// The context ends reads, look-ups and writes that wait.
func TestContextEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- ServeStream(ctx, server, handlerFunc(func(ctx context.Context, q *Query) []byte {
				if q.Name == "forever" {
					<-ctx.Done()
				}
				return q.Fail(Success)
			}))
		}()
		for _, name := range []string{"forever", "untaken"} {
			client.Write(framed(pack(t, ask(name, dns.TypeA))))
		}
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ServeStream: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the stream is open: %v", err)
		}
	})
}

// nil is no answer, and costs nobody else theirs.
func TestNoAnswer(t *testing.T) {
	conn, _ := serveStream(t, t.Context(), handlerFunc(func(_ context.Context, q *Query) []byte {
		if q.Name == "silent" {
			return nil
		}
		return q.Fail(Success)
	}))
	silent, loud := ask("silent", dns.TypeA), ask("loud", dns.TypeA)
	conn.Write(append(framed(pack(t, silent)), framed(pack(t, loud))...))
	conn.CloseWrite()
	if got := readAnswer(t, conn); got.Id != loud.Id {
		t.Errorf("answer %v", got)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("then %d bytes, %v", n, err)
	}
}
