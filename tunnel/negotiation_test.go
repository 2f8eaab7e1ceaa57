package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/tunnel/socks"
)

type handlerFunc func(context.Context, Negotiation)

func (f handlerFunc) ServeTunnel(ctx context.Context, n Negotiation) { f(ctx, n) }

// walk goes through the negotiation until an error, and returns it with what
// was learnt. The stream is nil unless all went well.
func walk(ctx context.Context, n Negotiation) (c Credential, d Destination, s Stream, err error) {
	if c, err = n.Credential(ctx); err != nil {
		return
	}
	if d, err = n.Destination(ctx); err != nil {
		return
	}
	s, err = n.Succeed()
	return
}

// hearOut closes a stream once the client has: a close with bytes unread may
// cost the client an answer.
func hearOut(s Stream) {
	_, _ = io.Copy(io.Discard, s)
	_ = s.Close()
}

const (
	greeting = "\x05\x02\x00\x02"
	userPass = "\x01\x04user\x08password"
	connect  = "\x05\x01\x00\x03\x10mail.example.com\x01\xbb"
	// what the server says to them
	chosen    = "\x05\x02"
	welcome   = "\x01\x00"
	connected = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
)

func refusal(code byte) string { return "\x05" + string(code) + "\x00\x01\x00\x00\x00\x00\x00\x00" }

// converse sends bytes over TLS, says that no more will come, and returns all
// that comes back.
func converse(t *testing.T, addr, say string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, testClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	heard, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", say, err)
	}
	return string(heard)
}

func newTestServer(t *testing.T, c Config) *Server {
	t.Helper()
	c.TLS = testServerTLS()
	s, err := NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func labelOf(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Label
	}
	return ""
}

// Each method hands up what it read, and where it stood; the best one that the
// client offers is taken.
func TestPresented(t *testing.T) {
	type seen struct {
		credential  Credential
		destination Destination
	}
	result := make(chan seen, 1)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		var s seen
		var err error
		if s.credential, err = n.Credential(ctx); err == nil {
			s.destination, err = n.Destination(ctx)
		}
		result <- s
		n.Refuse(&Refusal{Reply: socks.NotAllowed, Err: err})
	})})
	addr := serve(t, server, listenLoopback(t))
	token := strings.Repeat("t", socks.MaxToken)
	ticket := ";40;STA01;ABC"
	inPlace := "\x05\x01\x00\x03" + string(rune(len(ticket))) + ticket + "\x01\xbb"
	for _, tt := range []struct {
		name, say, hear string
		want            seen
	}{
		{"password", greeting + userPass + connect, chosen + welcome + refusal(2), seen{
			Credential{User: "user", Secret: "password", By: ByPassword}, Destination{Host: "mail.example.com", Port: 443}}},
		{"token before password", "\x05\x03\x00\x02\x80" + string(socks.AppendToken(nil, token)) + connect, "\x05\x80\x01\x00" + refusal(2), seen{
			Credential{Secret: token, By: ByToken}, Destination{Host: "mail.example.com", Port: 443}}},
		{"in place of a destination", "\x05\x01\x00" + inPlace, "\x05\x00" + refusal(2), seen{
			Credential{Secret: ticket, By: ByDestination}, Destination{InCredential: true, Port: 443}}},
	} {
		hear, got := converse(t, addr, tt.say), <-result
		if hear != tt.hear {
			t.Errorf("%s: heard %q, want %q", tt.name, hear, tt.hear)
		}
		if got != tt.want {
			t.Errorf("%s: %#v by %d", tt.name, got.destination, got.credential.By)
		}
		if printed := fmt.Sprintf("%v %+v", got.credential, got.destination); strings.Contains(printed, ticket) || strings.Contains(printed, token) {
			t.Errorf("%s: printed", tt.name)
		}
	}
}

func TestMalformedNegotiations(t *testing.T) {
	result := make(chan error, 1)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		result <- err
		if err != nil {
			n.Refuse(err)
			return
		}
		hearOut(s)
	})})
	addr := serve(t, server, listenLoopback(t))
	known := greeting + userPass
	for _, tt := range []struct{ name, say, hear, label string }{
		{"good", known + connect, chosen + welcome + connected, ""},
		{"SOCKS4", "\x04\x01\x01\xbb\x0a\x00\x00\x01\x00", "", "bad_version"},
		{"HTTP inside TLS", "GET / HTTP/1.1\r\n\r\n", "", "bad_version"},
		{"no methods", "\x05\x00", "\x05\xff", "no_method"},
		{"no authentication, and gone", "\x05\x01\x00", "\x05\x00" + refusal(1), "hung_up"},
		{"no authentication, no credential", "\x05\x01\x00" + connect, "\x05\x00" + refusal(2), "no_credential"},
		{"no authentication, BIND", "\x05\x01\x00\x05\x02" + connect[2:], "\x05\x00" + refusal(7), "bad_command"},
		{"token of another version", "\x05\x01\x80\x02\x00\x01x", "\x05\x80\x01\x01", "bad_auth"},
		{"empty token", "\x05\x01\x80\x01\x00\x00", "\x05\x80\x01\x01", "bad_auth"},
		{"token over its bound", "\x05\x01\x80\x01\x10\x01x", "\x05\x80\x01\x01", "bad_auth"},
		{"token cut short", "\x05\x01\x80\x01\x00\x09x", "\x05\x80\x01\x01", "hung_up"},
		{"unknown methods", "\x05\x03\x01\x09\xfe", "\x05\xff", "no_method"},
		{"sub-negotiation version", greeting + "\x05\x01u\x01p", chosen + "\x01\x01", "bad_auth"},
		{"request version", known + "\x04" + connect[1:], chosen + welcome + refusal(1), "bad_version"},
		{"BIND", known + "\x05\x02" + connect[2:], chosen + welcome + refusal(7), "bad_command"},
		{"UDP ASSOCIATE", known + "\x05\x03" + connect[2:], chosen + welcome + refusal(7), "bad_command"},
		{"reserved byte", known + "\x05\x01\x01" + connect[3:], chosen + welcome + refusal(1), "bad_reserved"},
		{"ATYP 0", known + "\x05\x01\x00\x00", chosen + welcome + refusal(8), "bad_address_type"},
		{"ATYP 2", known + "\x05\x01\x00\x02", chosen + welcome + refusal(8), "bad_address_type"},
		{"ATYP 5", known + "\x05\x01\x00\x05", chosen + welcome + refusal(8), "bad_address_type"},
		{"empty name", known + "\x05\x01\x00\x03\x00\x01\xbb", chosen + welcome + refusal(2), "empty_name"},
	} {
		hear, err := converse(t, addr, tt.say), <-result
		if hear != tt.hear || labelOf(err) != tt.label {
			t.Errorf("%s: heard %q, label %q; want %q, %q", tt.name, hear, labelOf(err), tt.hear, tt.label)
		}
	}
	// A client that goes away after each byte of a good conversation.
	for n := range len(known + connect) {
		_, err := converse(t, addr, (known + connect)[:n]), <-result
		if labelOf(err) != LabelHungUp {
			t.Errorf("closed after %d bytes: %v", n, err)
		}
	}
}

func TestWhatTheHandlerLearns(t *testing.T) {
	long := strings.Repeat("n", 255)
	type learnt struct {
		c Credential
		d Destination
		p Peer
	}
	results := make(chan learnt, 1)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		c, d, s, err := walk(ctx, n)
		if err != nil {
			t.Error(err)
			return
		}
		results <- learnt{c, d, n.Peer()}
		hearOut(s)
	})})
	addr := serve(t, server, listenLoopback(t))
	for _, tt := range []struct{ user, secret, host string }{
		{"jürgen€", "geheim", "mail.example.com"},
		{"", "", long},
		{"x", "\x00\xff" + long[2:], "a\x00b"},
		{"x", handle, ";40;STA01;" + handle},
	} {
		say := "\x05\x01\x02\x01" + counted(tt.user) + counted(tt.secret) + "\x05\x01\x00\x03" + counted(tt.host) + "\x01\xbb"
		if hear := converse(t, addr, say); hear != chosen+welcome+connected {
			t.Fatalf("%q: heard %q", say, hear)
		}
		got := <-results
		if got.c.User != tt.user || got.c.Secret != tt.secret || got.d.Host != tt.host || got.d.Port != 443 {
			t.Errorf("%+v: got user %q, host %q", tt, got.c.User, got.d.Host)
		}
		p := got.p
		if p.Carrier != CarrierSOCKS5 || p.ServerName != testName || p.TLSVersion != tls.VersionTLS13 ||
			p.CipherSuite == 0 || p.Local.String() != addr || !p.Remote.Addr().IsLoopback() ||
			p.Deadline.Sub(p.Accepted) != DefaultSetupTimeout {
			t.Errorf("peer %+v", p)
		}
	}
}

func counted(s string) string { return string([]byte{byte(len(s))}) + s }

// TestRefusals: what the client hears depends on the step and the reply alone.
func TestRefusals(t *testing.T) {
	var refuse func(ctx context.Context, n Negotiation)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) { refuse(ctx, n) })})
	addr := serve(t, server, listenLoopback(t))
	errs := []error{
		errors.New("plain"), nil,
		&Refusal{Label: "no reply chosen"},
		&Refusal{Reply: socks.NotAllowed, Label: "not_listed"},
		&Refusal{Reply: socks.TTLExpired, Label: "dial_timeout"},
		&Refusal{Reply: 0x42, Label: "unassigned"},
	}
	replies := []byte{1, 1, 1, 2, 6, 1}
	for i, err := range errs {
		for step, want := range []string{"", chosen + "\x01\x01", chosen + welcome + refusal(replies[i])} {
			refuse = func(ctx context.Context, n Negotiation) {
				if step > 0 {
					if _, err := n.Credential(ctx); err != nil {
						t.Error(err)
					}
				}
				if step > 1 {
					if _, err := n.Destination(ctx); err != nil {
						t.Error(err)
					}
				}
				n.Refuse(err)
				n.Refuse(err) // must not answer twice
				if _, err := n.Succeed(); err == nil {
					t.Error("Succeed after Refuse")
				}
			}
			if hear := converse(t, addr, greeting+userPass+connect); hear != want {
				t.Errorf("%v at step %d: heard %q, want %q", err, step, hear, want)
			}
		}
	}
}

func TestStepsOutOfOrderWriteNothing(t *testing.T) {
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		if _, err := n.Succeed(); !errors.Is(err, errOrder) {
			t.Errorf("Succeed first: %v", err)
		}
		if _, err := n.Destination(ctx); !errors.Is(err, errOrder) {
			t.Errorf("Destination first: %v", err)
		}
		if _, err := n.Credential(ctx); err != nil {
			t.Error(err)
		}
		if _, err := n.Credential(ctx); !errors.Is(err, errOrder) {
			t.Errorf("Credential twice: %v", err)
		}
		if _, err := n.Succeed(); !errors.Is(err, errOrder) {
			t.Errorf("Succeed before Destination: %v", err)
		}
		// And it returns without a word, so the client is refused.
	})})
	addr := serve(t, server, listenLoopback(t))
	if hear := converse(t, addr, greeting+userPass+connect); hear != chosen+"\x01\x01" {
		t.Errorf("heard %q", hear)
	}
}

// TestEarlyBytes: what a client sends ahead of every reply comes out of the
// stream, in order, whatever its size, and after success only.
func TestEarlyBytes(t *testing.T) {
	received := make(chan []byte, 1)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := io.ReadAll(s)
		if err != nil {
			t.Error(err)
		}
		if stream := s.(*tlsStream); stream.in.buf != nil {
			t.Error("the set-up buffer is still held")
		}
		received <- b
		_ = s.Close()
	})})
	addr := serve(t, server, listenLoopback(t))
	for _, size := range []int{0, 1, 100, aheadSize - len(greeting+userPass+connect), aheadSize, 16 << 10, 100 << 10} {
		early := bytes.Repeat([]byte("early"), size/5+1)[:size]
		if hear := converse(t, addr, greeting+userPass+connect+string(early)); hear != chosen+welcome+connected {
			t.Errorf("%d bytes: heard %q", size, hear)
		}
		if got := <-received; !bytes.Equal(got, early) {
			t.Errorf("%d bytes: got %d, or others", size, len(got))
		}
	}
}

func TestTooMuchBeforeAuthentication(t *testing.T) {
	result := make(chan error, 1)
	server := newTestServer(t, Config{MaxPreAuthBytes: 64, Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		result <- err
		if err != nil {
			n.Refuse(err)
			return
		}
		hearOut(s)
	})})
	addr := serve(t, server, listenLoopback(t))
	fits := greeting + userPass
	if hear := converse(t, addr, fits+connect); hear != chosen+welcome+connected || <-result != nil {
		t.Errorf("within the limit: heard %q", hear)
	}
	long := "\x05\x01\x00\x03\xff" + strings.Repeat("n", 255) + "\x01\xbb"
	if hear := converse(t, addr, fits+long); hear != chosen+welcome+connected || <-result != nil {
		t.Errorf("more once authenticated: heard %q", hear)
	}
	hear := converse(t, addr, greeting+"\x01\xff"+strings.Repeat("u", 255)+"\x01p")
	if err := <-result; hear != chosen+"\x01\x01" || labelOf(err) != LabelTooMuch || !errors.Is(err, errTooMuch) {
		t.Errorf("over the limit: heard %q, %v", hear, err)
	}
}

// TestRefusalArrives sends much more than anybody reads behind a request that
// is refused: the answer must not be lost to a reset.
func TestRefusalArrives(t *testing.T) {
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		if _, err := n.Credential(ctx); err != nil {
			t.Error(err)
		}
		n.Refuse(&Refusal{Label: "bad_ticket"})
	})})
	addr := serve(t, server, listenLoopback(t))
	if hear := converse(t, addr, greeting+userPass+strings.Repeat("x", 40<<10)); hear != chosen+"\x01\x01" {
		t.Errorf("heard %q", hear)
	}
}

func TestRefusalErrors(t *testing.T) {
	cause := errors.New("secret cause")
	err := error(&Refusal{Label: "l", Text: "for the log", Err: cause})
	if !errors.Is(err, cause) || err.Error() != "for the log" {
		t.Errorf("%v", err)
	}
	got := refuse(context.Background(), "step", &net.OpError{Op: "read", Err: errors.New("odd\n" + handle)})
	if got.Label != LabelConnection || strings.ContainsAny(got.Text, "\n") || strings.Contains(got.Text, handle) {
		t.Errorf("%q %q", got.Label, got.Text)
	}
}
