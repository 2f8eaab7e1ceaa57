package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// pipeListener accepts what is sent to it: net.Conns, or errors.
type pipeListener struct {
	next   chan any
	once   sync.Once
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{next: make(chan any), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case v := <-l.next:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.next <- server
	return client
}

// refusals collects what Hooks.Refused is told.
func refusals(n int) (Hooks, <-chan *Refusal) {
	c := make(chan *Refusal, n)
	return Hooks{Refused: func(_ Peer, r *Refusal) { c <- r }}, c
}

func unreachable(t *testing.T) Handler {
	return handlerFunc(func(context.Context, Negotiation) { t.Error("came to the handler") })
}

func TestNotTLS(t *testing.T) {
	hooks, refused := refusals(1)
	server := newTestServer(t, Config{Handler: unreachable(t), Hooks: hooks})
	addr := serve(t, server, listenLoopback(t))
	const bad = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct{ name, say, hear, label string }{
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", bad, LabelNotTLS},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\n\r\n", bad, LabelNotTLS},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bad, LabelNotTLS},
		{"HTTP, one letter", "G", bad, LabelNotTLS},
		{"plain SOCKS5, three bytes", "\x05\x01\x00", "", LabelNotTLS},
		{"SOCKS4", "\x04\x01\x01\xbb\x0a\x00\x00\x01\x00", "", LabelNotTLS},
		{"SSH", "SSH-2.0-x\r\n", "", LabelNotTLS},
		{"TLS of no version", "\x16\xff\xff\x00\x01\x00", "", LabelNotTLS},
		{"nothing", "", "", LabelHungUp},
		{"half a ClientHello", "\x16\x03\x01\x02\x00\x01\x00", "", LabelHungUp},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		// The connection stays open for what speaks no TLS: the server must
		// not wait for more.
		if _, err := io.WriteString(conn, tt.say); err != nil {
			t.Fatal(err)
		}
		if tt.label == LabelHungUp {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		heard, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", tt.name, err)
		}
		_ = conn.Close()
		if r := <-refused; string(heard) != tt.hear || r.Label != tt.label {
			t.Errorf("%s: heard %q, refused as %q (%v)", tt.name, heard, r.Label, r)
		}
	}
}

// TestHandshakeFailures: the client gets the alert, the hook the label, and no
// unescaped text of the client.
func TestHandshakeFailures(t *testing.T) {
	hooks, refused := refusals(1)
	server := newTestServer(t, Config{Handler: unreachable(t), Hooks: hooks})
	server.config.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, errors.New("no certificate for " + hello.ServerName)
	}
	addr := serve(t, server, listenLoopback(t))
	client := testClientTLS()
	client.ServerName = "a\x1b[31m" + handle
	_, err := tls.Dial("tcp", addr, client)
	var alert tls.AlertError
	var remote *net.OpError
	if !errors.As(err, &alert) && !(errors.As(err, &remote) && remote.Op == "remote error") {
		t.Errorf("the client heard %v, want an alert", err)
	}
	r := <-refused
	if r.Label != LabelTLS || strings.Contains(r.Error(), "\x1b") || strings.Contains(r.Error(), handle) {
		t.Errorf("%q %q", r.Label, r)
	}
}

// TestSlowClients: whoever is slow at whichever point is gone when the set-up
// time is over, neither earlier nor later.
func TestSlowClients(t *testing.T) {
	dribble := func(w io.Writer) {
		_, _ = w.Write([]byte{5, 255})
		for {
			time.Sleep(time.Second) // the client's own pace, in the bubble's time
			if _, err := w.Write([]byte{1}); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name   string
		client func(t *testing.T, conn net.Conn)
		hooked bool // refused before the handler
	}{
		{"silent", func(t *testing.T, conn net.Conn) {}, true},
		{"a byte a second of a ClientHello", func(t *testing.T, conn net.Conn) {
			for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03................") {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, true},
		{"silent inside TLS", func(t *testing.T, conn net.Conn) {
			if err := tls.Client(conn, testClientTLS()).Handshake(); err != nil {
				t.Error(err)
			}
		}, false},
		{"a byte a second inside TLS", func(t *testing.T, conn net.Conn) { dribble(tls.Client(conn, testClientTLS())) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hooks, refused := refusals(1)
				failed := make(chan error, 1)
				server := newTestServer(t, Config{Hooks: hooks, Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
					_, _, _, err := walk(ctx, n)
					failed <- err
					n.Refuse(err)
				})})
				l := newPipeListener()
				served := make(chan error, 1)
				go func() { served <- server.Serve(t.Context(), l) }()
				began := time.Now()
				conn := l.dial()
				var client sync.WaitGroup
				client.Go(func() { tt.client(t, conn) })
				defer client.Wait()
				defer conn.Close()
				label := ""
				if tt.hooked {
					label = (<-refused).Label
				} else {
					label = labelOf(<-failed)
				}
				if took := time.Since(began); label != LabelTimeout || took != DefaultSetupTimeout {
					t.Errorf("%q after %v", label, took)
				}
				if err := server.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > DefaultSetupTimeout+lingerBound {
					t.Errorf("slot held for %v", took)
				}
			})
		})
	}
}

// TestDeadlineIsLifted: a granted stream outlives the set-up time.
func TestDeadlineIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
			_, _, s, err := walk(ctx, n)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(s, s); err != nil {
				t.Error(err)
			}
			_ = s.Close()
		})})
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(t.Context(), l) }()
		conn := tls.Client(l.dial(), testClientTLS())
		auth := socks.Auth{User: "user", Password: "password"}
		if err := socks.ClientHandshake(t.Context(), conn, auth, "mail.example.com", 443); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour) // of the bubble
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if err := conn.NetConn().Close(); err != nil {
			t.Error(err)
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	})
}

func TestContextEndsAStep(t *testing.T) {
	failed := make(chan error, 1)
	server := newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		_, err := n.Credential(ctx)
		failed <- err
		n.Refuse(err)
	})})
	addr := serve(t, server, listenLoopback(t))
	conn, err := tls.Dial("tcp", addr, testClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-failed; labelOf(err) != LabelCancelled {
		t.Errorf("%v", err)
	}
}

func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		server := newTestServer(t, Config{
			Handler: unreachable(t),
			Hooks:   Hooks{AcceptError: func(_ error, d time.Duration) { pauses = append(pauses, d) }},
		})
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- server.Serve(t.Context(), l) }()
		began := time.Now()
		for range 10 {
			l.next <- syscall.EMFILE
		}
		_ = l.dial().Close() // a good one starts the count anew
		l.next <- syscall.EMFILE
		synctest.Wait()
		want := []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 5}
		for i := range want {
			if i >= len(pauses) || pauses[i] != want[i]*time.Millisecond {
				t.Fatalf("pauses %v", pauses)
			}
		}
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("only %v went by", took)
		}
		if err := server.Close(); err != nil { // in the middle of a pause
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestPanickingHandlerLosesItsStreamOnly(t *testing.T) {
	panics := make(chan any, 1)
	server := newTestServer(t, Config{
		Hooks: Hooks{Panicked: func(_ Peer, v any, stack []byte) {
			if !strings.Contains(string(stack), "TestPanickingHandler") {
				t.Errorf("stack: %s", stack)
			}
			panics <- v
		}},
		Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
			_, _ = n.Credential(ctx)
			panic("oops")
		}),
	})
	addr := serve(t, server, listenLoopback(t))
	for range 2 {
		if hear := converse(t, addr, greeting+userPass+connect); hear != chosen+"\x01\x01" {
			t.Errorf("heard %q", hear)
		}
		if v := <-panics; v != "oops" {
			t.Errorf("%v", v)
		}
	}
}

// TestClientsAreNotProbed reads the options back from the kernel.
func TestClientsAreNotProbed(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	server := newTestServer(t, Config{Handler: handlerFunc(func(context.Context, Negotiation) {
		close(inside)
		<-release
	})})
	var config net.ListenConfig // one that switches keep-alive on
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, server, l)
	conn, err := tls.Dial("tcp", addr, testClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer close(release)
	<-inside
	server.mu.Lock()
	defer server.mu.Unlock()
	for v := range server.crowd.all {
		raw, err := v.conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var alive, noDelay int
		var errs [2]error
		if err := raw.Control(func(fd uintptr) {
			alive, errs[0] = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			noDelay, errs[1] = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
		}); err != nil || errs[0] != nil || errs[1] != nil {
			t.Fatal(err, errs)
		}
		if alive != 0 || noDelay == 0 {
			t.Errorf("SO_KEEPALIVE %d, TCP_NODELAY %d", alive, noDelay)
		}
	}
	if len(server.crowd.all) != 1 {
		t.Errorf("%d connections", len(server.crowd.all))
	}
}
