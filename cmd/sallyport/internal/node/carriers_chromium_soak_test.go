//go:build soak

package node_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/bench/standin"
	"github.com/sallyport/sallyport/certs"
)

// browsed is file with an HTTPS proxy. The split tunnel is on: what is not listed goes
// straight out, but for names without a dot, which mean something inside only.
var browsed = strings.NewReplacer(
	"  setup_timeout", "  https_proxy: true\n  setup_timeout",
	"    exchange_server", "    split_tunnel: \"on\"\n    exchange_server",
	"{mail.example.com: [127.0.0.1]}", "{mail.example.com: [127.77.1.1], intranet: [127.77.1.3]}",
).Replace(file)

// browserWorld is a node with the stand-in mail server behind it, and the program
// beside it.
type browserWorld struct {
	*world
	mail    *standin.Server
	program string
	file    string   // the node's configuration, with its ports
	known   []string // what a browser can look up: the gateway, and ews.example.com
	trusted []string
	inside  atomic.Int32 // connections to intranet, where nobody may go
}

// TestCarriersSoakChromium has a real browser go by the PAC files that we write: to the
// gateway as an HTTPS proxy, with the ticket as its password, and to connect on the
// same machine. It needs Debian's chromium:
//
//	apt-get install chromium
//	go test -tags soak -run SoakChromium -v -timeout 3m ./cmd/sallyport/internal/node
func TestCarriersSoakChromium(t *testing.T) {
	w := newBrowserWorld(t)
	t.Run("gateway", w.browseByGateway)
	t.Run("connect", w.browseByConnect)
}

func newBrowserWorld(t *testing.T) *browserWorld {
	t.Helper()
	w := &browserWorld{world: newWorldOf(t, browsed)}
	w.serveMail(t)
	w.serveIntranet(t)
	at := w.GatewayAddr().String()
	w.known = []string{fqdn + " 127.0.0.1", "ews.example.com 127.77.1.2"}
	w.trusted = []string{spkiOf(t, at), spkiOf(t, "127.77.1.1:"+w.port)}

	w.file = filepath.Join(w.dir, "sallyport.yaml")
	text := strings.ReplaceAll(browsed, "PORT", w.port)
	text = strings.Replace(text, "127.0.0.1:0", w.AuthorityAddr().String(), 1)
	text = strings.Replace(text, "127.0.0.1:0", at, 1)
	must(t, os.WriteFile(w.file, []byte(text), 0o600))
	w.program = filepath.Join(t.TempDir(), "sallyport")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return w
}

// serveMail has the mail server listen inside, and as ews.example.com outside.
func (w *browserWorld) serveMail(t *testing.T) {
	t.Helper()
	identity, err := certs.OpenDev(t.TempDir(), []string{"mail.example.com", "ews.example.com"})
	must(t, err)
	w.mail = standin.New(standin.Config{TLS: &tls.Config{GetCertificate: identity.GetCertificate}})
	served := make(chan error, 2)
	for _, at := range []string{"127.77.1.1", "127.77.1.2"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(at, w.port))
		must(t, err)
		go func() { served <- w.mail.Serve(listener) }()
	}
	t.Cleanup(func() {
		must(t, w.mail.Shutdown(context.Background()))
		must(t, <-served)
		must(t, <-served)
	})
}

// serveIntranet has a server where no tunnel leads, which counts.
func (w *browserWorld) serveIntranet(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort("127.77.1.3", w.port))
	must(t, err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.inside.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); accepting.Wait() })
}

// browseByGateway goes by what policy export writes.
func (w *browserWorld) browseByGateway(t *testing.T) {
	proxy := fmt.Sprintf("HTTPS %s:%d", fqdn, w.GatewayAddr().Port())
	pac, err := exec.CommandContext(t.Context(), w.program, "policy", "export", "--config", w.file, "--format", "pac", "--proxy", proxy).Output()
	must(t, err)
	b := startBrowser(t, "data:application/x-ns-proxy-autoconfig;base64,"+base64.StdEncoding.EncodeToString(pac), w.known, w.trusted...)
	b.user, b.password = "anybody", w.issue().Handle.Reveal()

	mark := w.log.mark()
	w.wantPage(t, b, "mail.example.com", "mail stand-in: ")
	t.Logf("asked for the proxy's password %d times", b.asked)
	if log := w.log.String()[mark:]; !strings.Contains(log, `"to":"mail.example.com"`) || !strings.Contains(log, `"carrier":"h2"`) {
		t.Errorf("not by HTTP/2, or not through the gateway:\n%s", log)
	}
	mark = w.log.mark()
	w.wantPage(t, b, "ews.example.com", "mail stand-in: ")
	if log := w.log.String()[mark:]; strings.Contains(log, "ews.example.com") {
		t.Errorf("what is not listed came to the gateway:\n%s", log)
	}
	w.wantNoTunnel(t, b)
	// In plain HTTP a browser asks the proxy itself, which fetches nothing.
	text, failure := b.visit(t, "http://intranet:"+w.port+"/")
	t.Logf("plain HTTP: %q %s", text, failure)
	if !strings.HasPrefix(text, "The gateway does not fetch pages by http://.") || w.inside.Load() > 0 {
		t.Errorf("%q %s", text, failure)
	}
}

// browseByConnect goes by the file that connect serves.
func (w *browserWorld) browseByConnect(t *testing.T) {
	ticket := filepath.Join(t.TempDir(), "phone.ticket")
	must(t, os.WriteFile(ticket, []byte(w.issue().Handle.Reveal()+"\n"), 0o600))
	connect := exec.Command(w.program, "connect", "--config", w.file, "--ticket-file", ticket,
		"--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--json")
	connect.Stderr = t.Output()
	out, err := connect.StdoutPipe()
	must(t, err)
	must(t, connect.Start())
	t.Cleanup(func() {
		must(t, connect.Process.Signal(syscall.SIGTERM))
		must(t, connect.Wait())
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	must(t, err)
	var told struct{ User, Password, PAC string }
	must(t, json.Unmarshal(line, &told))

	b := startBrowser(t, told.PAC, w.known, w.trusted...)
	b.user, b.password = told.User, told.Password
	mark := w.log.mark()
	w.wantPage(t, b, "mail.example.com", "mail stand-in: ")
	if log := w.log.String()[mark:]; !strings.Contains(log, `"to":"mail.example.com"`) || !strings.Contains(log, `"carrier":"socks5"`) {
		t.Errorf("not through the gateway:\n%s", log)
	}
	w.wantNoTunnel(t, b)
	// In plain HTTP connect's own words reach the page.
	text, failure := b.visit(t, "http://intranet:"+w.port+"/")
	if strings.TrimSpace(text) != "The gateway does not allow this destination." || w.inside.Load() > 0 {
		t.Errorf("%q %s", text, failure)
	}
}

// wantPage wants the mail server's first page, from a host of its.
func (w *browserWorld) wantPage(t *testing.T, b *browser, host, begins string) {
	t.Helper()
	before := w.mail.Stats().Requests[standin.Page]
	text, failure := b.visit(t, "https://"+host+":"+w.port+"/")
	if !strings.HasPrefix(text, begins) || w.mail.Stats().Requests[standin.Page] != before+1 {
		t.Errorf("%s: %q %s", host, text, failure)
	}
}

// wantNoTunnel asks for what goes to the gateway and is not listed. A browser shows no
// page of a proxy that refuses a tunnel, but one of its own.
func (w *browserWorld) wantNoTunnel(t *testing.T, b *browser) {
	t.Helper()
	mark := w.log.mark()
	text, failure := b.visit(t, "https://intranet:"+w.port+"/")
	t.Logf("not listed: %q %s", text, failure)
	if failure != "net::ERR_TUNNEL_CONNECTION_FAILED" || w.inside.Load() > 0 {
		t.Errorf("%q %s", text, failure)
	}
	if log := w.log.String()[mark:]; !strings.Contains(log, `"reason":"not_listed"`) || !strings.Contains(log, `"to":"intranet"`) {
		t.Errorf("the gateway was not asked:\n%s", log)
	}
}
