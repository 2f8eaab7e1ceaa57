package node_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// carried is file with every way in, and services that behave in different ways.
var carried = strings.NewReplacer(
	"  setup_timeout", `  quic: true
  https_proxy: true
  record_layer: LAYER
  inside: {listen: 127.0.0.1:0, sources: [127.0.0.0/8], services: 'LIST'}
  setup_timeout`,
	"background_services: mail.example.com:PORT", "background_services: 'LIST'",
	"splitdns:\n  hosts: {mail.example.com: [127.0.0.1]}", `splitdns:
  public: ['SERVER']
  zones: [{suffix: example.com, servers: ['SERVER'], allow: [10.20.0.0/16]}]
  hosts:
    mail.example.com: [127.77.0.6]
    last.example.com: [127.77.0.7]
    reset.example.com: [127.77.0.1]
    web.example.com: [127.77.0.8]
    first.example.com: [127.77.0.2]
    sink.example.com: [127.77.0.3]
    unlisted.example.com: [127.77.0.4]
    shut.example.com: [127.77.0.5]`,
).Replace(file)

const listed = "web.example.com:PORT,mail.example.com:PORT,last.example.com:PORT,reset.example.com:PORT,first.example.com:PORT,sink.example.com:PORT,shut.example.com:PORT,gone.example.com:PORT"

// carriers are two nodes, by whose record layer carries TLS over TCP.
type carriers struct {
	std, direct *carriersWorld
	remark      string // what a case adds to green in the table
}

func newCarriers(t *testing.T) *carriers {
	t.Helper()
	return &carriers{std: newCarriersWorld(t, "std"), direct: newCarriersWorld(t, "direct")}
}

// at is the node that a way leads to.
func (c *carriers) at(v *way) *carriersWorld {
	if v.direct {
		return c.direct
	}
	return c.std
}

// both are the nodes.
func (c *carriers) both() []*carriersWorld { return []*carriersWorld{c.std, c.direct} }

// carriersWorld is a node with all ways in.
type carriersWorld struct {
	*world
	first    chan string   // what a service heard that had said all before
	sunk     chan ended    // what a service heard that says nothing
	unlisted *atomic.Int32 // connections to where nobody may go
}

// ended is how a device's direction came to an end at the service.
type ended struct {
	text  string
	reset bool
}

func newCarriersWorld(t *testing.T, layer string) *carriersWorld {
	t.Helper()
	server := newNameServer(t, nil) // which knows no name
	text := strings.NewReplacer("LAYER", layer, "LIST", listed, "SERVER", server.addr).Replace(carried)
	w := &carriersWorld{
		world: newWorldOf(t, text), first: make(chan string, 100), sunk: make(chan ended, 100), unlisted: &atomic.Int32{},
	}
	w.serves(t, "127.77.0.1", func(c *net.TCPConn) { // ends with a reset, amid a sentence
		_, _ = io.ReadFull(c, make([]byte, 5))
		_, _ = io.WriteString(c, "half a sen")
		_ = c.SetLinger(0)
	})
	w.serves(t, "127.77.0.2", func(c *net.TCPConn) { // has said all before it listens
		_, _ = io.WriteString(c, "all said")
		_ = c.CloseWrite()
		text, _ := io.ReadAll(c)
		w.first <- string(text)
	})
	w.serves(t, "127.77.0.3", func(c *net.TCPConn) { // listens
		text, err := io.ReadAll(c)
		w.sunk <- ended{string(text), errors.Is(err, syscall.ECONNRESET)}
	})
	w.serves(t, "127.77.0.6", func(c *net.TCPConn) { _, _ = io.Copy(c, c) }) // echoes
	w.serves(t, "127.77.0.7", func(c *net.TCPConn) {                         // has heard all before it answers
		text, _ := io.ReadAll(c)
		_, _ = io.WriteString(c, "heard: "+string(text))
	})
	w.serves(t, "127.77.0.4", func(*net.TCPConn) { w.unlisted.Add(1) })
	return w
}

// serves makes a service at the common port.
func (w *carriersWorld) serves(t *testing.T, at string, serve func(*net.TCPConn)) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(at, w.port))
	must(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer conn.Close(); serve(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); conns.Wait() })
}

func (w *carriersWorld) to(host string) target {
	port, _ := strconv.Atoi(w.port)
	return target{host: host, port: port}
}

// issueFor makes a ticket of a device's own.
func (w *carriersWorld) issueFor(t *testing.T, device string, lifetime time.Duration) sta.Issued {
	t.Helper()
	issued, err := w.client.Issue(t.Context(), sta.IssueRequest{User: "user2", Device: device, App: "Secure Mail", Lifetime: lifetime})
	must(t, err)
	return issued
}

func urlOf(to target) *url.URL { return &url.URL{Scheme: "https", Host: to.String()} }

// mark is where the log ends now.
func (b *logBuffer) mark() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Len()
}

// next waits for the first line after mark about a client of the way's, with one of
// these events.
func (b *logBuffer) next(t *testing.T, mark int, v *way, client string, events ...string) map[string]any {
	t.Helper()
	timeout := time.After(wait)
	for {
		b.mu.Lock()
		if b.news == nil {
			b.news = make(chan struct{})
		}
		news, text := b.news, string(b.text.Bytes()[mark:])
		b.mu.Unlock()
		for line := range strings.Lines(text) {
			var fields map[string]any
			must(t, json.Unmarshal([]byte(line), &fields))
			carrier, told := fields["carrier"]
			if fields["client"] != client || told && carrier != v.carrier {
				continue
			}
			for _, event := range events {
				if fields["event"] == event {
					return fields
				}
			}
		}
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("no line about %s with %v in:\n%s", client, events, text)
		}
	}
}

// within waits for something that is to happen soon.
func within[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(wait):
		t.Fatalf("%s: nothing", what)
		panic("unreachable")
	}
}

// echoes sends text and wants it back.
func (h *heard) echoes(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(h, text)
	must(t, err)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(h, got); err != nil || string(got) != text {
		t.Fatalf("echo: %q, %v", got, err)
	}
}

// ends reads until nothing more comes.
func (h *heard) ends() <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, h.Reader)
		done <- err
	}()
	return done
}
