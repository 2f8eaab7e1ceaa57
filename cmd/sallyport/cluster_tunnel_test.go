package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// liveTunnel is one through a gateway, to the echo server.
type liveTunnel struct{ net.Conn }

// dial opens a tunnel with a ticket. Whoever gets one closes it.
func (c *cluster) dial(ctx context.Context, gateway *member, handle string) (*liveTunnel, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: c.roots, ServerName: fqdn, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", gateway.addr)
	if err != nil {
		return nil, err
	}
	if err := socks.ClientHandshake(ctx, conn, socks.Auth{User: "device", Password: handle}, echoHost, uint16(c.echo)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &liveTunnel{conn}, nil
}

// open opens n tunnels at a gateway, with these tickets in turn. They are closed
// at the test's end.
func (c *cluster) open(gateway *member, n int, tickets ...sta.Issued) []*liveTunnel {
	c.t.Helper()
	tunnels, errs := make([]*liveTunnel, n), make([]error, n)
	var opening sync.WaitGroup
	slots := make(chan struct{}, 8) // each has 10 s for its set-up, on whatever machine this is
	for i := range n {
		slots <- struct{}{}
		opening.Go(func() {
			tunnels[i], errs[i] = c.dial(c.t.Context(), gateway, tickets[i%len(tickets)].Handle.Reveal())
			<-slots
		})
	}
	opening.Wait()
	c.t.Cleanup(func() {
		for _, t := range tunnels {
			if t != nil {
				_ = t.Close()
			}
		}
	})
	c.check(errors.Join(errs...))
	return tunnels
}

// pass sends bytes to the echo server and wants them back.
func (t *liveTunnel) pass() error {
	sent := []byte(newKey())
	got := make([]byte, len(sent))
	_ = t.SetDeadline(time.Now().Add(patience))
	_, err := t.Write(sent)
	if err == nil {
		_, err = io.ReadFull(t, got)
	}
	if err == nil && !bytes.Equal(got, sent) {
		err = errors.New("other bytes came back")
	}
	return cmp.Or(err, t.SetDeadline(time.Time{}))
}

// awaitEnd waits until the gateway has ended the tunnel; an error says that it
// has not.
func (t *liveTunnel) awaitEnd() error {
	_ = t.SetReadDeadline(time.Now().Add(patience))
	n, err := t.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("bytes came out of a tunnel that should end")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the tunnel lives on")
	}
	return nil
}

// startEcho gives the port of a server that sends back what it gets.
func startEcho(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", loopback("0"))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait() // the gateways have ended, and so have their connections
	})
	return l.Addr().(*net.TCPAddr).Port
}
