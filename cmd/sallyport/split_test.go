package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// The namespace of TestSplit. Two DNS servers give different answers for the same
// names, as they do inside and outside of a company, and every address that they
// give has a service that says which it is.
const (
	insideDNS, outsideDNS = "10.1.0.53", "11.0.0.53"

	mailInside, mailOutside   = "10.1.0.25", "11.0.0.25"
	wikiInside, wikiOutside   = "10.1.0.80", "11.0.0.80" // not listed
	labelInside, labelOutside = "10.1.0.81", "11.0.0.81" // intranet, a single label
	push                      = "11.0.0.6"               // outside, whoever asks
	ourselves                 = "11.0.0.3"               // the gateway's own name
)

const splitConfig = `
node: split
sta:
  id: STA01
  listen: 127.0.0.1:8442
  clients: [{name: enrolment, key_file: enrolment.key}]
gateway:
  fqdn: gateway3.example.com
  listen: 127.0.0.1:8443
  authorities: [local]
  drain_timeout: 0s
  policy:
    exchange_server: mail.corp.example
    background_services: mail.corp.example:443,eu-west-1.pushreg.xm.citrix.com:443,intranet:443
    push_region: emea
splitdns:
  public: [11.0.0.53]
  zones:
    - {suffix: corp.example, servers: [10.1.0.53], allow: [10.1.0.0/16]}
    - {suffix: intranet, servers: [10.1.0.53], allow: [10.1.0.0/16]}
certs: {mode: dev}
`

// where is one cell of the matrix: whose answer an app gets for a name, and what
// it reaches by it. Both are addresses, or "" for none.
type where struct{ answer, reached string }

// The matrix: split tunnel, split DNS, destination. What goes straight out leads to
// the very address that an app gets for the name.
var splitMatrix = map[string]map[string]map[string]where{
	"off": {
		"local": {
			"listed": {mailOutside, mailInside}, "unlisted": {wikiOutside, ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"remote": {
			"listed": {mailInside, mailInside}, "unlisted": {"", ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"both": {
			"listed": {mailInside, mailInside}, "unlisted": {wikiOutside, ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
	},
	"on": {
		"local": {
			"listed": {mailOutside, mailInside}, "unlisted": {wikiOutside, wikiOutside}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"remote": {
			"listed": {mailInside, mailInside}, "unlisted": {"", ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"both": {
			"listed": {mailInside, mailInside}, "unlisted": {wikiOutside, wikiOutside}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
	},
	"reverse": {
		"local": {
			"listed": {mailOutside, mailOutside}, "unlisted": {wikiOutside, ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"remote": {
			"listed": {mailInside, mailInside}, "unlisted": {"", ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
		"both": {
			"listed": {mailInside, mailInside}, "unlisted": {wikiOutside, ""}, "pushreg": {push, push},
			"gateway": {ourselves, ourselves}, "label": {labelInside, labelInside},
		},
	},
}

// ways is which way each destination goes, whatever split DNS says: what the
// device's log tells.
var ways = map[string]map[string]string{
	"off":     {"listed": "Intercepting", "unlisted": "goes to the gateway", "pushreg": "Intercepting", "gateway": "goes straight out", "label": "Intercepting"},
	"on":      {"listed": "Intercepting", "unlisted": "goes straight out", "pushreg": "Intercepting", "gateway": "goes straight out", "label": "Intercepting"},
	"reverse": {"listed": "goes straight out", "unlisted": "goes to the gateway", "pushreg": "goes straight out", "gateway": "goes straight out", "label": "Intercepting"},
}

var splitNames = map[string]string{
	"listed": "mail.corp.example", "unlisted": "wiki.corp.example", "pushreg": "eu-west-1.pushreg.xm.citrix.com",
	"gateway": fqdn, "label": "intranet",
}

// TestSplit is split tunnel × split DNS × destination through real processes: a
// gateway, the device's side, and two DNS servers.
func TestSplit(t *testing.T) {
	if !alone(t) {
		return
	}
	w := newSplitWorld(t)
	for tunnels, byDNS := range splitMatrix {
		for names, cells := range byDNS {
			t.Run(tunnels+" "+names, func(t *testing.T) {
				d := w.connect(t, "--split-tunnel", tunnels, "--split-dns", names)
				for kind, want := range cells {
					name := splitNames[kind]
					if got := d.ask(t, name); got != want.answer {
						t.Errorf("%s: asked for %s and got %q, want %q", kind, name, got, want.answer)
					}
					if got, err := d.reach(name); got != want.reached {
						t.Errorf("%s: %s led to %q, want %q (%v)", kind, name, got, want.reached, err)
					}
					d.saw(t, name+":443 "+ways[tunnels][kind], ways[tunnels][kind], name)
				}
			})
		}
	}
}

// TestOnline looks at names from both sides: check finds what lists and DNS servers
// disagree on, and explain says whom it asked and what came of it.
func TestOnline(t *testing.T) {
	if !alone(t) {
		return
	}
	w := newSplitWorld(t)
	w.write(t, "online.yaml", strings.Replace(splitConfig, "intranet:443", "gone.corp.example:443,www.example:443,wiki.example:443", 1))
	said := w.run(t, 1, "check", "--config", "online.yaml", "--online")
	for _, want := range []string{
		`(?m)^online\.yaml:14:84: gateway\.policy\.background_services: entry 3 gone\.corp\.example is not resolved by the gateway: no such name \(zone corp\.example, 10\.1\.0\.53: NXDOMAIN\); .*\(name-not-resolved\)$`,
		`(?m)^online\.yaml:14:26: warning: .*: entry 1 mail\.corp\.example is 10\.1\.0\.25 inside and 11\.0\.0\.25 outside: .*\(name-differs-outside\)$`,
		`(?m)^online\.yaml:14:106: warning: .*: entry 4 www\.example is 10\.1\.0\.80 in public DNS: .*\(name-private-outside\)$`,
		`(?m)^online\.yaml:14:122: gateway\.policy\.background_services: entry 5 wiki\.example leads to 10\.1\.0\.80, where no tunnel may: .*\(name-leads-nowhere\)$`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("check does not say %s:\n%s", want, said)
		}
	}
	if strings.Contains(said, "pushreg") {
		t.Errorf("check finds fault with what is good:\n%s", said)
	}

	// Servers that do not answer are told once: nobody is there at these addresses.
	w.write(t, "mute.yaml", strings.Replace(splitConfig, "[11.0.0.53]", "[11.0.0.54]", 1))
	said = w.run(t, 1, "check", "--config", "mute.yaml", "--online")
	if strings.Count(said, "name-not-resolved") != 1 || !strings.Contains(said, ": warning: splitdns: inside and outside are not compared, for public DNS gave no answer: no DNS server ") {
		t.Errorf("with public DNS mute, check says:\n%s", said)
	}
	w.write(t, "mute.yaml", strings.NewReplacer("[11.0.0.53]", "[11.0.0.54]", "[10.1.0.53]", "[10.1.0.54]").Replace(splitConfig))
	said = w.run(t, 1, "check", "--config", "mute.yaml", "--online")
	if strings.Count(said, "name-not-resolved") != 1 || !strings.Contains(said, ": splitdns: no name can be resolved: no DNS server ") {
		t.Errorf("with all DNS mute, check says:\n%s", said)
	}

	said = w.run(t, 0, "policy", "explain", "--config", "online.yaml", "--to", "mail.corp.example:443")
	if !strings.Contains(said, "zone corp.example "+insideDNS) || !strings.Contains(said, mailInside+" (private): may be dialled") {
		t.Errorf("explain says %s", said)
	}
	// A public name that points inside: by itself, and by way of a name inside.
	for name, why := range map[string]string{"www.example": "address_private", "wiki.example": "address_private"} {
		said = w.run(t, 1, "policy", "explain", "--config", "online.yaml", "--to", name+":443")
		if !strings.Contains(said, why) {
			t.Errorf("explain says of %s: %s", name, said)
		}
	}
}

// run runs the program to its end and gives what it said on standard output.
func (w *splitWorld) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	p := w.start(t, "run", args...)
	if err := p.end(code); err != nil {
		t.Error(err, p.stdout.String(), p.stderr.String())
	}
	return p.stdout.String()
}

type splitWorld struct{ dir string }

func newSplitWorld(t *testing.T) *splitWorld {
	t.Helper()
	w := &splitWorld{t.TempDir()}
	all := []string{
		insideDNS, outsideDNS, mailInside, mailOutside, wikiInside, wikiOutside, labelInside, labelOutside, push, ourselves,
	}
	addresses(t, all...)
	for _, addr := range all[2:] {
		banner(t, addr+":443")
	}
	dnsServer(t, w.dir, insideDNS,
		"mail.corp.example. 60 A "+mailInside, "wiki.corp.example. 60 A "+wikiInside, "intranet. 60 A "+labelInside)
	dnsServer(t, w.dir, outsideDNS,
		"mail.corp.example. 60 A "+mailOutside, "wiki.corp.example. 60 A "+wikiOutside, "intranet. 60 A "+labelOutside,
		splitNames["pushreg"]+". 60 A "+push, fqdn+". 60 A "+ourselves,
		"www.example. 60 A "+wikiInside, "wiki.example. 60 CNAME wiki.corp.example.")

	w.write(t, "sallyport.yaml", splitConfig)
	w.write(t, "enrolment.key", newKey()+"\n")
	server := w.start(t, "serve", "serve", "--config", "sallyport.yaml")
	w.await(t, server, `"event":"gateway_ready"`)
	issue := w.start(t, "issue", "ticket", "issue", "--config", "sallyport.yaml", "--user", "user2", "--device", "iPhone",
		"--ticket-file", "device.ticket")
	if err := issue.end(0); err != nil {
		t.Fatal(err, issue.stderr.String())
	}
	return w
}

func (w *splitWorld) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the program. It ends with the test, in an orderly way.
func (w *splitWorld) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p, err := startProcess(w.dir, name, os.Environ(), "sallyport", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.hasEnded() {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			if err := p.end(0); err != nil {
				p.kill()
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s%s", name, tail(p.stdout.String(), 20), tail(p.stderr.String(), 60))
		}
	})
	return p
}

func (w *splitWorld) await(t *testing.T, p *process, pattern string) {
	t.Helper()
	if _, err := p.stderr.await(regexp.MustCompile(pattern), 1, p.ended); err != nil {
		t.Fatal(err, p.stderr.String())
	}
}

// splitDevice is the device's side, running.
type splitDevice struct {
	*process
	Listen, Password, HTTP, DNS string
}

func (w *splitWorld) connect(t *testing.T, args ...string) *splitDevice {
	t.Helper()
	p := w.start(t, "connect-"+strings.ReplaceAll(t.Name(), "/", "-"), append([]string{
		"connect", "--config", "sallyport.yaml", "--ticket-file", "device.ticket", "--json",
		"--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--local-dns", outsideDNS + ":53",
	}, args...)...)
	line, err := p.stdout.await(regexp.MustCompile(`(?m)^\{.*\}$`), 1, p.ended)
	if err != nil {
		t.Fatal(err, p.stderr.String())
	}
	d := &splitDevice{process: p}
	if err := json.Unmarshal([]byte(line[0]), d); err != nil {
		t.Fatal(err)
	}
	return d
}

// ask is an app's question for a name: the address it gets, or "".
func (d *splitDevice) ask(t *testing.T, name string) string {
	t.Helper()
	message := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
	client := dns.Client{Net: "udp", Timeout: patience}
	answer, _, err := client.Exchange(message, d.DNS)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var found []string
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			found = append(found, a.A.String())
		}
	}
	return strings.Join(found, " ")
}

// reach is an app's tunnel to a name, port 443: the service that it leads to, or
// "". Both proxies must lead to the same one.
func (d *splitDevice) reach(name string) (string, error) {
	byName, err := d.over(d.Listen, func(ctx context.Context, conn net.Conn) error {
		return socks.ClientHandshake(ctx, conn, socks.Auth{User: "sallyport", Password: d.Password}, name, 443)
	})
	byHTTP, errHTTP := d.over(d.HTTP, func(_ context.Context, conn net.Conn) error { return connectHTTP(conn, name, d.Password) })
	if byName != byHTTP {
		return byName, fmt.Errorf("the HTTP proxy led to %q: %w", byHTTP, errors.Join(errHTTP, err))
	}
	return byName, err
}

func (d *splitDevice) over(proxy string, negotiate func(context.Context, net.Conn) error) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", proxy)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := negotiate(ctx, conn); err != nil {
		return "", err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	at, err := netip.ParseAddrPort(strings.TrimSpace(line))
	return at.Addr().String(), err
}

// saw wants the device's log to tell which way a destination went.
func (d *splitDevice) saw(t *testing.T, what string, words ...string) {
	t.Helper()
	for line := range strings.Lines(d.stderr.String()) {
		if containsAll(line, words) {
			return
		}
	}
	t.Errorf("the log does not tell: %s", what)
}

// connectHTTP asks an HTTP proxy for a tunnel. What follows the answer is left
// unread.
func connectHTTP(conn net.Conn, name, password string) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	credentials := base64.StdEncoding.EncodeToString([]byte("sallyport:" + password))
	if _, err := fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\nProxy-Authorization: Basic %s\r\n\r\n", name, name, credentials); err != nil {
		return err
	}
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if _, err := conn.Read(one); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return errors.New(string(head))
	}
	return nil
}

func containsAll(line string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(line, word) {
			return false
		}
	}
	return true
}
