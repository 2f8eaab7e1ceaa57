package node_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// open opens a tunnel to mail.example.com.
func (w *world) open(handle string) (net.Conn, error) {
	w.t.Helper()
	conn := w.dial(true)
	port, err := strconv.ParseUint(w.port, 10, 16)
	must(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), wait)
	defer cancel()
	if err := socks.ClientHandshake(ctx, conn, socks.Auth{User: "u", Password: handle}, "mail.example.com", uint16(port)); err != nil {
		conn.Close()
		return nil, err
	}
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	return conn, nil
}

func echo(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.WriteString(conn, "hello\n")
	must(t, err)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("echo: %q, %v", line, err)
	}
}

// The whole of it: a ticket over HTTPS, a tunnel, a revocation that cuts it.
func TestTicketTunnelRevocation(t *testing.T) {
	w := newWorld(t)
	issued := w.issue()
	conn, err := w.open(issued.Handle.Reveal())
	must(t, err)
	defer conn.Close()
	echo(t, conn)
	if w.Live() != 1 {
		t.Errorf("%d live", w.Live())
	}
	result, err := w.client.Revoke(t.Context(), sta.RevokeRequest{Ticket: issued.ID})
	must(t, err)
	if len(result.Gateways) != 1 || result.Gateways[0].Name != "gw-1" || result.Gateways[0].Cut != 1 {
		t.Errorf("%+v", result)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel is alive")
	}
	line := w.log.await(t, conn.LocalAddr().String(), "tunnel_closed")
	if line["reason"] != "revoked" || line["up"] != 6.0 || line["down"] != 6.0 || line["ticket"] != issued.ID {
		t.Errorf("%v", line)
	}
	if _, err := w.open(issued.Handle.Reveal()); err == nil {
		t.Error("the revoked ticket opens")
	}
	w.noSecrets(t, issued.Handle.Reveal())
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	handle := w.issue().Handle.Reveal()
	live, err := w.open(handle)
	must(t, err)
	defer live.Close()
	must(t, w.Reload(w.config(strings.ReplaceAll(file, "background_services: mail.example.com:PORT", "background_services: other.example.com:443"))))
	if _, err := w.open(handle); err == nil {
		t.Error("the old list still allows")
	}
	echo(t, live)
	must(t, w.Reload(w.config(file)))
	conn, err := w.open(handle)
	must(t, err)
	conn.Close()
	// A pin that goes takes the way to loopback with it.
	must(t, w.Reload(w.config(strings.ReplaceAll(file, "hosts: {mail.example.com: [127.0.0.1]}", "hosts: {mail.example.com: [10.0.0.1]}"))))
	if conn, err := w.open(handle); err == nil {
		conn.Close()
		t.Error("reached by a pin that is gone")
	}
}

// While a gateway drains, the authority is there: what lives on can be revoked.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	issued := w.issue()
	live, err := w.open(issued.Handle.Reveal())
	must(t, err)
	defer live.Close()
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(t.Context()) }()
	for deadline := time.Now().Add(wait); ; {
		conn, err := net.Dial("tcp", w.GatewayAddr().String())
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a draining gateway accepts")
		}
	}
	echo(t, live)
	result, err := w.client.Revoke(t.Context(), sta.RevokeRequest{Ticket: issued.ID})
	must(t, err)
	if result.Gateways[0].Cut != 1 {
		t.Errorf("%+v", result)
	}
	select {
	case err := <-drained:
		must(t, err)
	case <-time.After(wait):
		t.Error("not drained although no tunnel is left")
	}
}

// A node that cannot start says why and leaves nothing running: the next one
// gets every file and port.
func TestStartFails(t *testing.T) {
	w := newWorld(t)
	taken := strings.Replace(file, "listen: 127.0.0.1:0\n  authorities", "listen: "+w.GatewayAddr().String()+"\n  authorities", 1)
	other := func(key string) string { return filepath.Join(w.t.TempDir(), key) }
	for name, c := range map[string]struct {
		text   string
		spoil  func(dir string)
		reason string
	}{
		"port taken":      {taken, nil, "cannot listen on"},
		"store not ours":  {file, func(dir string) { write(t, dir, "data/sta.db", "not a database, but as long as one header would be") }, "sta.db"},
		"key without set": {file, func(dir string) { writeKey(t, filepath.Join(dir, "data", "sta.key")) }, "sta.key"},
		"key for everyone": {file, func(dir string) {
			write(t, dir, "data/sta.key", "x")
			must(t, os.Chmod(filepath.Join(dir, "data/sta.key"), 0o644))
		}, "sta.key"},
		"audit is a folder":   {file, func(dir string) { must(t, os.MkdirAll(filepath.Join(dir, "data/audit.log"), 0o700)) }, "audit.log"},
		"certificates spoilt": {file, func(dir string) { write(t, dir, "data/certs/ca.pem", "no certificate") }, "ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := other("node")
			must(t, os.MkdirAll(filepath.Join(dir, "data", "certs"), 0o700))
			copied := &world{t: t, dir: dir, port: w.port}
			key, err := os.ReadFile(filepath.Join(w.dir, "enrolment.key"))
			must(t, err)
			write(t, dir, "enrolment.key", string(key))
			config := copied.config(c.text)
			if c.spoil != nil {
				c.spoil(dir)
			}
			n, err := node.Start(t.Context(), config, zerolog.Nop())
			if err == nil {
				n.Close(context.Background())
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %q does not name %q", err, c.reason)
			}
		})
	}
}

// A node whose signing key the set does not name refuses to start.
func TestStrangeSigningKey(t *testing.T) {
	w := newWorld(t)
	must(t, w.Close(context.Background()))
	path := filepath.Join(w.dir, "data", "sta.key")
	must(t, os.Remove(path))
	writeKey(t, path)
	n, err := node.Start(t.Context(), w.config(file), zerolog.Nop())
	if err == nil {
		n.Close(context.Background())
		t.Fatal("started with a key that the set does not name")
	}
	must(t, os.Remove(path))
	if n, err = node.Start(t.Context(), w.config(file), zerolog.Nop()); err == nil {
		n.Close(context.Background())
		t.Fatal("started without the signing key of a store in use")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("made a new signing key for a store in use")
	}
}

// What was there before a restart is there after it.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	good, gone := w.issue(), w.issue()
	_, err := w.client.Revoke(t.Context(), sta.RevokeRequest{Ticket: gone.ID})
	must(t, err)
	w.client.Close() // or the authority waits for it
	must(t, w.Close(context.Background()))
	w.Node, err = node.Start(t.Context(), w.config(file), zerolog.New(w.log))
	must(t, err)
	conn, err := w.open(good.Handle.Reveal())
	must(t, err)
	conn.Close()
	if _, err := w.open(gone.Handle.Reveal()); err == nil {
		t.Error("a ticket revoked before the restart opens")
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
}

func writeKey(t *testing.T, path string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	must(t, sta.WritePrivateKey(path, key))
}

// No tunnel leads to a listener of ours, by whatever listed and pinned name.
func TestOwnListeners(t *testing.T) {
	w := newWorld(t)
	handle := w.issue().Handle.Reveal()
	list := "mail.example.com:PORT,gateway3.example.com:GATEWAY"
	for _, own := range []netip.AddrPort{w.GatewayAddr(), w.AuthorityAddr()} {
		list += ",mail.example.com:" + strconv.Itoa(int(own.Port()))
	}
	list += ",mail.example.com:19,sta9.example.com:19"
	list = strings.ReplaceAll(list, "GATEWAY", strconv.Itoa(int(w.GatewayAddr().Port())))
	text := strings.ReplaceAll(file, "background_services: mail.example.com:PORT", "background_services: "+list)
	text = strings.ReplaceAll(text, "hosts: {", "hosts: {gateway3.example.com: [127.0.0.1], sta9.example.com: [127.0.0.1], ")
	text = strings.ReplaceAll(text, "[local]", "[local, {id: STA09, url: ['ctxsta+https://127.0.0.1:19', 'ctxsta+https://sta9.example.com:19']}]")
	must(t, w.Reload(w.config(text)))
	for _, target := range []struct {
		host string
		port uint16
	}{
		{"mail.example.com", w.GatewayAddr().Port()},
		{"mail.example.com", w.AuthorityAddr().Port()},
		{fqdn, w.GatewayAddr().Port()},
		{"127.0.0.1", w.AuthorityAddr().Port()},
		{"mail.example.com", 19}, // an authority elsewhere
		{"sta9.example.com", 19},
	} {
		conn := w.dial(true)
		err := socks.ClientHandshake(t.Context(), conn, socks.Auth{User: "u", Password: handle}, target.host, target.port)
		var reply *socks.ReplyError
		if !errors.As(err, &reply) || reply.Reply != socks.NotAllowed {
			t.Errorf("%s:%d: %v", target.host, target.port, err)
		}
		if line := w.log.await(t, conn.LocalAddr().String(), "tunnel_refused"); line["reason"] != "address_own" {
			t.Errorf("%s:%d: reason %v", target.host, target.port, line["reason"])
		}
		conn.Close()
	}
}

// A client whose key was taken out of the file is a stranger after the reload.
func TestReloadClients(t *testing.T) {
	w := newWorld(t)
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	write(t, w.dir, "enrolment.key", base64.StdEncoding.EncodeToString(raw)+"\n")
	must(t, w.Reload(w.config(strings.ReplaceAll(file, "log: {level: debug}", "log: {level: warn}"))))
	_, err := w.client.List(t.Context(), sta.Filter{})
	if ticket.ReasonOf(err) != ticket.Unauthenticated {
		t.Errorf("the old key: %v", err)
	}
	if !strings.Contains(w.log.String(), `"event":"needs_restart","keys":["log.level"]`) {
		t.Error("the log does not name what needs a restart")
	}
}

// The authority speaks no weaker TLS than the gateway.
func TestAuthorityTLS(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]*tls.Config{
		"CBC":     {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"TLS 1.1": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		c.RootCAs = w.roots
		for _, addr := range []netip.AddrPort{w.AuthorityAddr(), w.GatewayAddr()} {
			if conn, err := tls.Dial("tcp", addr.String(), c); err == nil {
				conn.Close()
				t.Errorf("%s accepted at %v", name, addr)
			}
		}
	}
}
