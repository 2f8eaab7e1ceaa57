package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fqdn = "gateway3.example.com"
	wait = 10 * time.Second
)

// file is a configuration with holes: PORT is the service's, and the last lines
// are the test's own.
const file = `
node: gw-1
log: {level: debug}
sta:
  id: STA01
  listen: 127.0.0.1:0
  clients:
    - {name: enrolment, key_file: enrolment.key, may: [issue, renew, redeem, revoke, list]}
gateway:
  fqdn: gateway3.example.com
  listen: 127.0.0.1:0
  authorities: [local]
  setup_timeout: 5s
  policy:
    exchange_server: mail.example.com
    background_services: mail.example.com:PORT
splitdns:
  hosts: {mail.example.com: [127.0.0.1]}
certs: {mode: dev}
`

// world is a running node, with a service behind it that echoes.
type world struct {
	dials atomic.Uint32 // each from an address of its own, by which the log tells them apart
	*node.Node
	t       *testing.T
	dir     string
	port    string
	key     string
	log     *logBuffer
	roots   *x509.CertPool
	client  *api.Client
	service net.Listener
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, file)
}

func newWorldOf(t *testing.T, text string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: &logBuffer{}}
	w.startService()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	w.key = base64.StdEncoding.EncodeToString(raw)
	must(t, os.WriteFile(filepath.Join(w.dir, "enrolment.key"), []byte(w.key+"\n"), 0o600))

	c := w.config(text)
	var err error
	w.Node, err = node.Start(t.Context(), c, zerolog.New(w.log))
	must(t, err)
	t.Cleanup(func() { must(t, w.Close(context.Background())) })
	w.roots, err = certs.DevRoots(c.Certs.Dir)
	must(t, err)
	keys, err := sta.ReadKeyFile(filepath.Join(w.dir, "enrolment.key"))
	must(t, err)
	w.client, err = api.NewClient(api.ClientConfig{
		URL: "https://" + w.AuthorityAddr().String(), Key: keys[0], TLS: &tls.Config{RootCAs: w.roots},
	})
	must(t, err)
	t.Cleanup(w.client.Close)
	return w
}

func (w *world) config(text string) *config.Config {
	w.t.Helper()
	text = strings.ReplaceAll(text, "PORT", w.port)
	c, diagnostics := config.Parse("test.yaml", []byte(text), w.dir, config.AllowPortZero)
	if len(diagnostics) > 0 {
		w.t.Fatal(diagnostics)
	}
	return c
}

func (w *world) startService() {
	var err error
	w.service, err = net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	_, w.port, _ = net.SplitHostPort(w.service.Addr().String())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := w.service.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	w.t.Cleanup(func() { w.service.Close(); conns.Wait() })
}

func (w *world) issue() sta.Issued {
	w.t.Helper()
	issued, err := w.client.Issue(w.t.Context(), sta.IssueRequest{User: "user2", Device: "iPhone", App: "Secure Mail"})
	must(w.t, err)
	return issued
}

// dial opens TCP to the gateway, with TLS if secured.
func (w *world) dial(secured bool) net.Conn {
	w.t.Helper()
	n := w.dials.Add(1)
	plain := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 3, byte(n>>8), byte(n))}}
	dial := plain.DialContext
	if secured {
		dial = (&tls.Dialer{NetDialer: plain, Config: &tls.Config{RootCAs: w.roots, ServerName: fqdn}}).DialContext
	}
	conn, err := dial(w.t.Context(), "tcp", w.GatewayAddr().String())
	must(w.t, err)
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	return conn
}

// logBuffer keeps log lines and lets tests wait for one.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news != nil {
		close(b.news)
		b.news = nil
	}
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// about gives the lines with this event that speak of this client address.
func (b *logBuffer) about(client string, events ...string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			panic(fmt.Sprintf("log line %q: %v", line, err))
		}
		for _, event := range events {
			if fields["client"] == client && fields["event"] == event {
				found = append(found, fields)
			}
		}
	}
	return found
}

// await waits for the first such line.
func (b *logBuffer) await(t *testing.T, client string, events ...string) map[string]any {
	t.Helper()
	timeout := time.After(wait)
	for {
		b.mu.Lock()
		if b.news == nil {
			b.news = make(chan struct{})
		}
		news := b.news
		b.mu.Unlock()
		if lines := b.about(client, events...); len(lines) > 0 {
			return lines[0]
		}
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("no line about %s with %v in:\n%s", client, events, b)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
