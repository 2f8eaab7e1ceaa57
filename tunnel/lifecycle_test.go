package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

func TestServeEndsWithAListenerClosedByOthers(t *testing.T) {
	server := newTestServer(t, Config{Handler: unreachable(t)})
	l := listenLoopback(t)
	_ = l.Close()
	if err := server.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := server.Serve(t.Context(), listenLoopback(t)); err == nil {
		t.Error("a stopped server serves")
	}
}

// holding returns a server with one client whose stream is granted and held
// until its end.
func holding(t *testing.T, ctx context.Context) (server *Server, client *tls.Conn, served chan error, ended chan error) {
	inside := make(chan struct{})
	ended, served = make(chan error, 1), make(chan error, 1)
	server = newTestServer(t, Config{Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, _, s, err := walk(ctx, n)
		if err != nil {
			t.Error(err)
		}
		close(inside)
		_, err = io.Copy(s, s)
		ended <- err
		_ = s.Close()
	})})
	l := listenLoopback(t)
	go func() { served <- server.Serve(ctx, l) }()
	client, err := tls.Dial("tcp", l.Addr().String(), testClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := io.WriteString(client, greeting+userPass+connect); err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, len(chosen+welcome+connected))
	if _, err := io.ReadFull(client, heard); err != nil {
		t.Fatal(err)
	}
	<-inside
	return server, client, served, ended
}

func TestShutdownWaitsForStreams(t *testing.T) {
	server, client, served, ended := holding(t, t.Context())
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Shutdown(done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a stream open: %v", err)
	}
	if _, err := net.Dial("tcp", client.RemoteAddr().String()); err == nil {
		t.Error("a draining server takes connections")
	}
	echo := make([]byte, 5)
	if _, err := client.Write([]byte("alive")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, echo); err != nil || string(echo) != "alive" {
		t.Errorf("while draining: %q, %v", echo, err)
	}
	_ = client.Close()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream: %v", err)
	}
}

func TestCloseEndsStreams(t *testing.T) {
	server, _, served, ended := holding(t, t.Context())
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the stream: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, _, served, ended := holding(t, ctx)
	why := errors.New("why")
	cancel(why)
	<-ended
	if err := <-served; !errors.Is(err, why) {
		t.Errorf("Serve: %v", err)
	}
}
