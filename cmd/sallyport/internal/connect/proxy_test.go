package connect

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// A tunnel through the gateway and a connection straight out behave alike:
// early bytes arrive, and half-close is kept both ways.
func TestProxyBothWays(t *testing.T) {
	g := startGateway(t)
	service := startService(t)
	g.routes["mail.example.com:443"] = service.String()
	p, told := startProxy(t, g.config(On))
	tests := []struct {
		name    string
		host    string
		port    uint16
		via     Via
		visits  int
		logLine string
	}{
		{"gateway", "mail.example.com", 443, Gateway, 1, "AG policy Intercepting mail.example.com:443 for STA tunneling"},
		{"direct", service.Addr().String(), service.Port(), Direct, 1, service.String() + " goes straight out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := dialProxy(t, p, tt.host, tt.port)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, conn, "hello")
			got := <-told
			if got.Via != tt.via || got.Err != nil || got.Listed != (tt.via == Gateway) || got.String() != tt.logLine {
				t.Errorf("told %+v, %q", got, got.String())
			}
			if n := len(g.visits()); n != tt.visits {
				t.Errorf("the gateway saw %d streams", n)
			}
		})
	}
}

func TestEarlyBytes(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	p, _ := startProxy(t, g.config(Off))
	conn := rawProxy(t, p)
	all := "\x05\x01\x02" +
		"\x01\x09" + LocalUser + string(rune(len(localSecret))) + localSecret +
		"\x05\x01\x00\x03\x10mail.example.com\x01\xbb" + "early"
	if _, err := io.WriteString(conn, all); err != nil {
		t.Fatal(err)
	}
	answers := make([]byte, 2+2+10)
	if _, err := io.ReadFull(conn, answers); err != nil {
		t.Fatal(err)
	}
	if want := "\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"; string(answers) != want {
		t.Fatalf("answered %x, want %x", answers, want)
	}
	finish(t, conn, "early")
}

// What the gateway says reaches the application unchanged.
func TestRepliesArePassedOn(t *testing.T) {
	g := startGateway(t)
	p, told := startProxy(t, g.config(Off))
	for reply := socks.GeneralFailure; reply <= socks.AddressNotSupported; reply++ {
		g.mu.Lock()
		g.reply["mail.example.com:443"] = reply
		g.mu.Unlock()
		_, err := dialProxy(t, p, "mail.example.com", 443)
		var got *socks.ReplyError
		if !errors.As(err, &got) || got.Reply != reply {
			t.Errorf("got %v, want %v", err, reply)
		}
		if tn := <-told; !errors.As(tn.Err, &got) {
			t.Errorf("told %v", tn.Err)
		}
	}
	_, err := dialProxy(t, p, "unlisted.example.com", 443)
	var got *socks.ReplyError
	if !errors.As(err, &got) || got.Reply != socks.NotAllowed {
		t.Errorf("unlisted: %v", err)
	}
	if tn := <-told; tn.Listed || tn.Via != Gateway || !strings.Contains(tn.String(), "and is not on the list") {
		t.Errorf("told %+v", tn)
	}
}

// Where there is no list, nothing is said of it.
func TestNoList(t *testing.T) {
	c := startGateway(t).config(Off)
	c.Services = nil
	p, told := startProxy(t, c)
	if _, err := dialProxy(t, p, "mail.example.com", 443); err == nil {
		t.Error("opened")
	}
	if line := (<-told).String(); !strings.HasPrefix(line, "mail.example.com:443 goes to the gateway: ") {
		t.Errorf("told %q", line)
	}
}

// An application has less time to say what it wants than the tunnel has to be
// made.
func TestRequestLimit(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	p, err := New(g.config(Off))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	spy := &deadlines{pipeStream: pipeStream{ours}}
	served := make(chan struct{})
	began := time.Now()
	go func() { defer close(served); p.serveSOCKS(t.Context(), spy) }()
	if err := socks.ClientHandshake(t.Context(), theirs, socks.Auth{User: LocalUser, Password: localSecret}, "mail.example.com", 443); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	<-served
	took := time.Since(began)
	for n, want := range []time.Duration{requestLimit, setUpLimit} {
		if got := spy.set[n].Sub(began); got < want || got > want+took {
			t.Errorf("deadline %d is after %v, want %v", n, got, want)
		}
	}
}

// deadlines notes those for both directions.
type deadlines struct {
	pipeStream
	set []time.Time
}

func (d *deadlines) SetDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return d.pipeStream.SetDeadline(t)
}

func TestRefusedTicketIsTold(t *testing.T) {
	c := startGateway(t).config(Off)
	c.Ticket = func() (string, error) { return strings.Repeat("X", 32), nil }
	p, told := startProxy(t, c)
	_, err := dialProxy(t, p, "mail.example.com", 443)
	var got *socks.ReplyError
	if !errors.As(err, &got) || got.Reply != socks.NotAllowed {
		t.Errorf("answered %v", err)
	}
	tn := <-told
	if !errors.Is(tn.Err, ErrTicketRefused) || !strings.HasSuffix(tn.String(), "for STA tunneling: ticket refused by the gateway") {
		t.Errorf("told %q", tn)
	}
}

func TestLocalRefusals(t *testing.T) {
	refused := make(chan error, 1)
	g := startGateway(t)
	c := g.config(Off)
	c.Hooks.Refused = func(err error) { refused <- err }
	p, _ := startProxy(t, c)
	good := "\x01\x09" + LocalUser + string(rune(len(localSecret))) + localSecret
	tests := []struct {
		name, say, want string
		err             error
	}{
		{"no authentication", "\x05\x01\x00", "\x05\xff", socks.NoMethod},
		{"SOCKS4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "", socks.BadVersion},
		{"wrong password", "\x05\x01\x02\x01\x09" + LocalUser + "\x05wrong", "\x05\x02\x01\x01", errPassword},
		{"no password", "\x05\x01\x02\x01\x09" + LocalUser + "\x00", "\x05\x02\x01\x01", errPassword},
		{"wrong user", "\x05\x01\x02\x01\x01u" + good[11:], "\x05\x02\x01\x01", errPassword},
		{"BIND", "\x05\x01\x02" + good + "\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x02\x01\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", socks.BadCommand},
		{"address type", "\x05\x01\x02" + good + "\x05\x01\x00\x02\x00", "\x05\x02\x01\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", socks.BadAddressType},
		{"half a request", "\x05\x01\x02" + good + "\x05\x01\x00", "\x05\x02\x01\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := rawProxy(t, p)
			if _, err := io.WriteString(conn, tt.say); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != tt.want {
				t.Errorf("answered %x, %v; want %x", got, err, tt.want)
			}
			if err := <-refused; !errors.Is(err, tt.err) {
				t.Errorf("told %v, want %v", err, tt.err)
			}
		})
	}
	if n := len(g.visits()); n != 0 {
		t.Errorf("the gateway saw %d streams", n)
	}
}

func TestReplyFor(t *testing.T) {
	tests := []struct {
		err  error
		want socks.Reply
	}{
		{&socks.ReplyError{Reply: socks.TTLExpired}, socks.TTLExpired},
		{&socks.ReplyError{Reply: 0x5B}, 0x5B},
		{ErrTicketRefused, socks.NotAllowed},
		{errNoHost, socks.NotAllowed},
		{errors.Join(ErrTLS, context.DeadlineExceeded), socks.GeneralFailure},
		{errors.Join(ErrUnreachable, context.DeadlineExceeded), socks.TTLExpired},
		{errors.Join(ErrUnreachable, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}), socks.TTLExpired},
		{errors.Join(ErrUnreachable, syscall.ECONNREFUSED), socks.ConnectionRefused},
		{errors.Join(ErrUnreachable, syscall.EHOSTUNREACH), socks.NetworkUnreachable},
		{errors.Join(ErrUnreachable, &net.DNSError{IsNotFound: true}), socks.NetworkUnreachable},
		{syscall.ENETUNREACH, socks.NetworkUnreachable},
		{syscall.EHOSTUNREACH, socks.HostUnreachable},
		{&net.DNSError{IsNotFound: true}, socks.HostUnreachable},
		{&net.DNSError{IsTimeout: true}, socks.TTLExpired},
		{socks.BadCommand, socks.CommandNotSupported},
		{ErrNoTicket, socks.GeneralFailure},
		{io.ErrUnexpectedEOF, socks.GeneralFailure},
	}
	for _, tt := range tests {
		if got := replyFor(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

// serveAlone runs Serve by hand; the caller ends it.
func serveAlone(t *testing.T, c Config) (running *runningProxy, cancel context.CancelFunc, served chan error) {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served = make(chan error, 1)
	go func() { served <- p.Serve(ctx, ln) }()
	return &runningProxy{p, ln.Addr()}, cancel, served
}

// wantCut expects the connection to end without an answer from the service.
func wantCut(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	if n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v", n, err)
	}
}

// The end of the context ends a live tunnel, and one that waits for a silent
// gateway, at once.
func TestEndingAtOnce(t *testing.T) {
	t.Run("live tunnel", func(t *testing.T) {
		g := startGateway(t)
		g.routes["mail.example.com:443"] = startService(t).String()
		p, cancel, served := serveAlone(t, g.config(Off))
		defer cancel()
		conn, err := dialProxy(t, p, "mail.example.com", 443)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		wantCut(t, conn)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Run("during set-up", func(t *testing.T) {
		c := idleConfig(t, Off)
		reached, release := make(chan struct{}), make(chan struct{})
		c.Gateway = misfit(t, func(net.Conn) {
			close(reached)
			<-release
		})
		defer close(release)
		p, cancel, served := serveAlone(t, c)
		defer cancel()
		conn := rawProxy(t, p)
		handshake := make(chan error, 1)
		go func() {
			handshake <- socks.ClientHandshake(t.Context(), conn, socks.Auth{User: LocalUser, Password: localSecret}, "mail.example.com", 443)
		}()
		<-reached
		cancel()
		if err := <-handshake; err == nil {
			t.Error("the application was told of success")
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// stubListener fails as it is told.
type stubListener struct {
	addr   net.Addr
	accept func() (net.Conn, error)
	closed bool
}

func (l *stubListener) Accept() (net.Conn, error) { return l.accept() }
func (l *stubListener) Close() error              { l.closed = true; return nil }
func (l *stubListener) Addr() net.Addr            { return l.addr }

func TestServeOnlyOnLoopback(t *testing.T) {
	p, err := New(idleConfig(t, Off))
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []net.IP{net.IPv4zero, net.IPv6unspecified, net.IPv4(192, 0, 2, 1)} {
		ln := &stubListener{addr: &net.TCPAddr{IP: ip, Port: 1080}, accept: func() (net.Conn, error) {
			t.Error("accepted")
			return nil, net.ErrClosed
		}}
		if err := p.Serve(t.Context(), ln); err == nil || !ln.closed {
			t.Errorf("%v: %v, closed %t", ip, err, ln.closed)
		}
	}
}

func TestAcceptBacksOff(t *testing.T) {
	c := idleConfig(t, Off)
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		c.Hooks.AcceptError = func(err error, d time.Duration) {
			if !errors.Is(err, syscall.EMFILE) {
				t.Errorf("told %v", err)
			}
			pauses = append(pauses, d)
		}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		failures := 0
		ln := &stubListener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, accept: func() (net.Conn, error) {
			if failures++; failures <= 10 {
				return nil, syscall.EMFILE
			}
			return nil, net.ErrClosed
		}}
		if err := p.Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if len(pauses) != 10 || pauses[0] != firstBackoff || pauses[1] != 2*firstBackoff || pauses[9] != lastBackoff {
			t.Errorf("waited %v", pauses)
		}
		// 5 + 10 + … + 640 ms, then twice a second.
		if took := time.Since(began); took != 1275*time.Millisecond+2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
