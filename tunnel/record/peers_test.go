package record

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests here are against other implementations, as their own programs:
// OpenSSL's s_client and s_server, and GnuTLS's gnutls-cli and gnutls-serv.

const programBound = 10 * time.Second

// program is one that is talked with.
type program struct {
	t     *testing.T
	name  string
	stdin io.WriteCloser
	wait  func() error

	mu    sync.Mutex // guards what follows
	more  sync.Cond
	out   bytes.Buffer
	heard int // of out
	done  bool
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: apt-get install openssl gnutls-bin", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), programBound)
	cmd := exec.CommandContext(ctx, path, args...)
	p := &program{t: t, name: name}
	p.more.L = &p.mu
	cmd.Stdout, cmd.Stderr = p, p
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.wait = sync.OnceValue(func() error {
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done = true
		p.more.Broadcast()
		return err
	})
	var reaped sync.WaitGroup
	reaped.Go(func() { p.wait() })
	t.Cleanup(func() {
		cancel()
		reaped.Wait()
		if t.Failed() {
			t.Logf("%s %q said:\n%s", name, args, p.out.String())
		}
	})
	return p
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.more.Broadcast()
	return p.out.Write(b)
}

func (p *program) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// hear waits for what the program says next, whatever comes before it, and
// returns what is behind it in the line.
func (p *program) hear(text string) string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		said := p.out.String()[p.heard:]
		if before, behind, ok := strings.Cut(said, text); ok {
			if line, _, ok := strings.Cut(behind, "\n"); ok {
				p.heard += len(before) + len(text) + len(line)
				return strings.TrimSpace(line)
			}
		}
		if p.done {
			p.t.Fatalf("%s ended without saying %q", p.name, text)
		}
		p.more.Wait()
	}
}

// pemFiles writes a certificate and its key.
func pemFiles(t *testing.T, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// echoServer takes one client over, and echoes what it sends until it ends. The
// first answer is preceded by a request for a KeyUpdate.
type echoServer struct {
	addr string
	wait func() (updates uint16, suite uint16, err error)
}

func serveEcho(t *testing.T, config *tls.Config) *echoServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	var updates, suite uint16
	done.Go(func() {
		err = func() error {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(programBound))
			tap := NewTap(conn)
			config := config.Clone()
			config.KeyLogWriter = tap.KeyLog()
			over := tls.Server(tap, config)
			if err := over.Handshake(); err != nil {
				return err
			}
			state := over.ConnectionState()
			l := new(Layer)
			ahead, ok, err := tap.Take(Server, &state, l)
			if err != nil || !ok {
				return fmt.Errorf("take: %t, %w", ok, err)
			}
			suite = state.CipherSuite
			l.due.Or(dueAsk)
			c := NewConn(conn, l, ahead)
			_, err = io.Copy(struct{ io.Writer }{c}, c)
			updates = l.updates
			return errors.Join(err, c.Close())
		}()
	})
	t.Cleanup(func() {
		listener.Close()
		done.Wait()
	})
	return &echoServer{addr: listener.Addr().String(), wait: func() (uint16, uint16, error) {
		done.Wait()
		return updates, suite, err
	}}
}

var peerSuites = []struct {
	id      uint16
	openssl string
	gnutls  string
}{
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM"},
	{tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM"},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"},
}

func TestOpenSSLClient(t *testing.T) {
	for _, suite := range peerSuites {
		for _, withCert := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cert=%t", suite.openssl, withCert), func(t *testing.T) {
				cert := testCertificate(t)
				certFile, keyFile := pemFiles(t, cert)
				config := &tls.Config{Certificates: []tls.Certificate{cert}}
				args := []string{"s_client", "-tls1_3", "-ciphersuites", suite.openssl, "-CAfile", certFile, "-verify_return_error"}
				if withCert {
					config.ClientAuth = tls.RequireAnyClientCert
					args = append(args, "-cert", certFile, "-key", keyFile)
				}
				server := serveEcho(t, config)
				p := start(t, "openssl", append(args, "-connect", server.addr)...)
				p.hear("Verify return code: 0")
				p.say("first line")
				p.hear("first line")
				for _, command := range []string{"k", "K", "K"} {
					p.say(command)
					p.hear("KEYUPDATE") // or it reads the next line together with this one
					p.say("behind " + command)
					p.hear("behind " + command)
				}
				p.say("Q")
				updates, id, err := server.wait()
				// Its own three; ours it answers with one of them, if one is under way.
				if err != nil || updates < 3 || id != suite.id {
					t.Errorf("%d KeyUpdates, suite %#x, %v", updates, id, err)
				}
				if err := p.wait(); err != nil {
					t.Errorf("openssl: %v", err)
				}
			})
		}
	}
}

func TestGnuTLSClient(t *testing.T) {
	for _, suite := range peerSuites {
		t.Run(suite.openssl, func(t *testing.T) {
			cert := testCertificate(t)
			certFile, _ := pemFiles(t, cert)
			server := serveEcho(t, &tls.Config{Certificates: []tls.Certificate{cert}})
			_, port, _ := net.SplitHostPort(server.addr)
			p := start(t, "gnutls-cli", "--priority", suite.gnutls, "--x509cafile", certFile, "--sni-hostname", "localhost",
				"--verify-hostname", "localhost", "--inline-commands", "--port", port, "127.0.0.1")
			p.hear("Handshake was completed")
			p.say("first line")
			p.hear("first line")
			for _, command := range []string{"^rekey^", "^rekey1^"} {
				p.say(command)
				p.say("behind " + command[1:5])
				p.hear("behind " + command[1:5])
			}
			p.stdin.Close()
			updates, id, err := server.wait()
			if err != nil || updates < 2 || id != suite.id {
				t.Errorf("%d KeyUpdates, suite %#x, %v", updates, id, err)
			}
			if err := p.wait(); err != nil {
				t.Errorf("gnutls-cli: %v", err)
			}
		})
	}
}

// dialTaken makes a client's connection to a program, and takes it over.
func dialTaken(t *testing.T, addr string, cert tls.Certificate) (*Conn, uint16) {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(programBound))
	tap := NewTap(conn)
	over := tls.Client(tap, &tls.Config{RootCAs: roots, ServerName: "localhost", KeyLogWriter: tap.KeyLog()})
	if err := over.Handshake(); err != nil {
		t.Fatal(err)
	}
	return take(t, tap, over, Client), over.ConnectionState().CipherSuite
}

func wantLine(t *testing.T, c *Conn, line string) {
	t.Helper()
	b := make([]byte, len(line)+1)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != line+"\n" {
		t.Fatalf("%q, %v; want %q", b, err, line)
	}
}

func TestOpenSSLServer(t *testing.T) {
	for _, suite := range peerSuites {
		t.Run(suite.openssl, func(t *testing.T) {
			cert := testCertificate(t)
			certFile, keyFile := pemFiles(t, cert)
			p := start(t, "openssl", "s_server", "-tls1_3", "-ciphersuites", suite.openssl, "-cert", certFile, "-key", keyFile,
				"-accept", "127.0.0.1:0", "-naccept", "1", "-num_tickets", "3")
			c, id := dialTaken(t, p.hear("ACCEPT "), cert)
			if id != suite.id {
				t.Errorf("suite %#x", id)
			}
			say := func(line string) {
				t.Helper()
				if _, err := io.WriteString(c, line+"\n"); err != nil {
					t.Fatal(err)
				}
				p.hear(line)
			}
			say("first line")
			p.say("first answer")
			wantLine(t, c, "first answer")
			for i, command := range []string{"k", "K"} {
				p.say(command)
				// Or it reads the next line together with this one.
				var update [keyUpdateSize]byte
				if _, err := io.ReadFull(c.Conn, update[:]); err != nil {
					t.Fatal(err)
				}
				mustOpen(t, c.layer, update[:], "")
				answer := fmt.Sprint("answer ", i)
				p.say(answer)
				wantLine(t, c, answer)
				say(fmt.Sprint("line ", i))
			}
			c.layer.due.Or(dueAsk)
			say("behind our own")
			p.say("last answer")
			wantLine(t, c, "last answer")
			if c.layer.updates != 3 {
				t.Errorf("%d KeyUpdates", c.layer.updates)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
			if err := p.wait(); err != nil {
				t.Errorf("openssl: %v", err)
			}
		})
	}
}

func TestGnuTLSServer(t *testing.T) {
	for _, suite := range peerSuites {
		t.Run(suite.openssl, func(t *testing.T) {
			cert := testCertificate(t)
			certFile, keyFile := pemFiles(t, cert)
			// The program cannot choose a port. One that was free a moment ago
			// mostly still is.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			l.Close()
			p := start(t, "gnutls-serv", "--echo", "--priority", suite.gnutls, "--x509certfile", certFile, "--x509keyfile", keyFile,
				"--disable-client-cert", "--port", port)
			p.hear("listening on IPv4")
			c, id := dialTaken(t, "127.0.0.1:"+port, cert)
			if id != suite.id {
				t.Errorf("suite %#x", id)
			}
			for i := range 3 {
				line := fmt.Sprint("line ", i)
				if _, err := io.WriteString(c, line+"\n"); err != nil {
					t.Fatal(err)
				}
				wantLine(t, c, line)
				c.layer.due.Or(dueAsk)
			}
			if c.layer.updates != 2 {
				t.Errorf("%d KeyUpdates", c.layer.updates)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}
