package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
)

// cluster is an authority of several nodes on one Redis, and gateways that follow
// it, each a process of the real program with a folder of its own:
//
//	device ──tunnel──► gw-1 ──HTTPS──► sta-1 ─┐
//	device ──tunnel──► gw-2 ──HTTPS──► sta-2 ─┴─► Redis
//	                     └─► echo server, mail server (in the test's process)
//
// All of it ends with the test, which fails if a process does not end well.
type cluster struct {
	t        testing.TB
	dir      string
	env      []string
	free     *ports
	redis    *redistest.Server // its own, if it has one
	roots    *x509.CertPool
	mail     *mailServer
	echo     int // the echo server's port
	pin      string
	nodes    []*member // sta-1, …
	gateways []*member // gw-1, …
	secrets  []string  // that nobody may write down
	said     int       // commands that were run
}

// plan is what a cluster is made of.
type plan struct {
	nodes, gateways int
	// redis gives sta.store.redis of a node, 0 for the first, in YAML. nil means
	// a server of the cluster's own, with a password.
	redis func(c *cluster, node int) string
	// deaf says that nodes do not wake one another, so that an answer comes
	// before all have confirmed.
	deaf bool
	// edit changes a process's configuration before it is written.
	edit func(name, text string) string
}

// member is one process of a cluster.
type member struct {
	*process
	name, dir, addr string
	port            int
	api             *api.Client // a node's, for what an enrolment server may do
	starts          int
}

const (
	fqdn     = "gateway3.example.com"
	echoHost = "echo.example.com"
)

// startCluster returns when every gateway follows, and every node knows of that.
func startCluster(t testing.TB, p plan) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), env: os.Environ(), free: newPorts(), echo: startEcho(t)}
	if os.Getenv("GORACE") == "" {
		c.env = append(c.env, "GORACE=atexit_sleep_ms=0")
	}
	var err error
	c.mail, err = startMailServer(filepath.Join(c.dir, "mail"))
	c.check(err)
	t.Cleanup(func() { // after the gateways' end
		if err := c.mail.stop(); err != nil {
			t.Error(err)
		}
	})
	_, err = certs.OpenDev(c.path("certs"), []string{fqdn})
	c.check(err)
	c.roots, err = certs.DevRoots(c.path("certs"))
	c.check(err)
	c.secret("enrolment.key", newKey())
	c.secret("gateway.key", newKey())
	if p.redis == nil {
		p.redis = func(c *cluster, _ int) string { return redisAt(c.startRedis().Addr) }
	}
	for i := range p.nodes {
		c.nodes = append(c.nodes, c.member("sta", i))
		c.configure(c.nodes[i], p, fmt.Sprintf(nodeConfig, c.nodes[i].addr, fqdn, p.redis(c, i)))
	}
	c.init()
	for i := range p.gateways {
		c.gateways = append(c.gateways, c.member("gw", i))
		var urls []string
		for _, n := range c.nodes {
			urls = append(urls, "https://"+n.addr)
		}
		c.configure(c.gateways[i], p, fmt.Sprintf(gatewayConfig, fqdn, c.gateways[i].addr,
			strings.Join(urls, ", "), c.pin, c.mail.port, c.echo))
	}
	for _, m := range c.nodes {
		c.start(m)
	}
	for _, m := range c.gateways {
		c.start(m)
	}
	c.settle(p.deaf)
	return c
}

const nodeConfig = `
sta:
  id: STA01
  listen: %s
  audience: %s
  store: {redis: %s}
  clients:
    - {name: enrolment, key_file: ../enrolment.key, may: [issue, renew, redeem, revoke, list]}
    - {name: gateway, key_file: ../gateway.key, may: [redeem]}
`

const gatewayConfig = `
gateway:
  fqdn: %s
  listen: %s
  drain_timeout: 0s
  authorities:
    - {id: STA01, url: [%s], ca: ../certs/ca.pem, pin: "%s", key_file: ../gateway.key}
  policy:
    exchange_server: mail.example.com
    background_services: mail.example.com:%d,echo.example.com:%d
splitdns:
  hosts: {mail.example.com: [127.0.0.1], echo.example.com: [127.0.0.1]}
`

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// secret writes a file that all share.
func (c *cluster) secret(name, text string) {
	c.t.Helper()
	c.secrets = append(c.secrets, text)
	c.check(os.WriteFile(c.path(name), []byte(text+"\n"), 0o600))
}

// startRedis starts the cluster's own server, unless it runs already.
func (c *cluster) startRedis() *redistest.Server {
	c.t.Helper()
	if c.redis == nil {
		password := strings.NewReplacer("/", "x", "+", "y", "=", "").Replace(newKey())
		c.secret("redis.password", password)
		c.redis = redistest.Start(c.t, redistest.Options{Password: password, Append: true, Config: []string{"rdbcompression no"}})
	}
	return c.redis
}

// redisAt is what a node's file says of the cluster's own server.
func redisAt(addr string) string {
	return fmt.Sprintf("{addrs: [%q], password_file: ../redis.password}", addr)
}

// member gives a process a folder, a port, and the authority behind all
// certificates.
func (c *cluster) member(kind string, i int) *member {
	c.t.Helper()
	m := &member{name: fmt.Sprintf("%s-%d", kind, i+1)}
	m.dir = c.path(m.name)
	var err error
	m.port, err = c.free.free()
	c.check(err)
	m.addr = loopback(strconv.Itoa(m.port))
	c.check(os.MkdirAll(filepath.Join(m.dir, "data", "certs"), 0o700))
	for _, name := range []string{"ca.pem", "ca-key.pem"} {
		c.copy(filepath.Join(c.path("certs"), name), filepath.Join(m.dir, "data", "certs", name))
	}
	return m
}

func (c *cluster) copy(from, to string) {
	c.t.Helper()
	data, err := os.ReadFile(from)
	c.check(err)
	c.check(os.WriteFile(to, data, 0o600))
}

func (c *cluster) configure(m *member, p plan, text string) {
	c.t.Helper()
	text = "node: " + m.name + text + "certs: {mode: dev}\n"
	if p.edit != nil {
		text = p.edit(m.name, text)
	}
	c.check(os.WriteFile(filepath.Join(m.dir, "sallyport.yaml"), []byte(text), 0o600))
}

// init makes the authority's keys at the first node, for all.
func (c *cluster) init() {
	c.t.Helper()
	first := c.nodes[0].dir
	answer := c.run(0, "sta", "init", "--config", filepath.Join(first, "sallyport.yaml"), "--json")
	var made struct{ Pin string }
	c.check(json.Unmarshal([]byte(answer.stdout), &made))
	c.pin = made.Pin
	for _, other := range c.nodes[1:] {
		for _, name := range []string{"sta.key", "sta.key.pin"} {
			c.copy(filepath.Join(first, "data", name), filepath.Join(other.dir, "data", name))
		}
	}
}

// start starts a process, again if it has ended, and waits until it accepts.
func (c *cluster) start(m *member) {
	c.t.Helper()
	m.starts++
	p, err := startProcess(m.dir, fmt.Sprintf("%s-run%d", m.name, m.starts), c.env, "sallyport", "serve", "--config", "sallyport.yaml")
	c.check(err)
	m.process = p
	c.t.Cleanup(func() { c.end(p) })
	c.await(m, `"event":"(authority|gateway)_ready"`, 1)
	if strings.HasPrefix(m.name, "sta") && m.api == nil {
		keys, err := sta.ReadKeyFile(c.path("enrolment.key"))
		c.check(err)
		m.api, err = api.NewClient(api.ClientConfig{
			URL: "https://" + m.addr, Key: keys[0], TLS: &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12},
		})
		c.check(err)
		c.t.Cleanup(m.api.Close)
	}
}

// end ends a process in an orderly way, unless the test has ended it already.
func (c *cluster) end(p *process) {
	if c.t.Failed() {
		p.kill()
		c.t.Logf("%s:\n%s", p.name, tail(p.stderr.String(), 40))
		return
	}
	if p.hasEnded() { // killed, so its exit code says nothing
		if err := checkRaces(p.name, p.stderr.String()); err != nil {
			c.t.Error(err)
		}
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.end(0); err != nil {
		p.kill()
		c.t.Errorf("%v\n%s", err, tail(p.stderr.String(), 40))
	}
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// await waits until a process has logged what matches the pattern n times.
func (c *cluster) await(m *member, pattern string, n int) []string {
	c.t.Helper()
	found, err := m.stderr.await(regexp.MustCompile(pattern), n, m.ended)
	if err != nil {
		c.t.Fatalf("%s: %v", m.name, err)
	}
	return found
}

// settle waits until every node names every gateway, and, unless they are deaf,
// has all others confirm: it revokes a ticket at each that was made for this.
func (c *cluster) settle(deaf bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for _, n := range c.nodes {
		for settled := false; !settled; {
			ticket, err := n.api.Issue(ctx, sta.IssueRequest{User: "settle", Device: n.name})
			c.check(err)
			c.secrets = append(c.secrets, ticket.Handle.Reveal())
			r, err := n.api.Revoke(ctx, sta.RevokeRequest{Ticket: ticket.ID})
			c.check(err)
			settled = len(r.Gateways) == len(c.gateways) && (deaf || r.Copies == len(c.nodes)-1)
			for _, g := range r.Gateways {
				settled = settled && (deaf || g.Answered)
			}
		}
	}
}

// issue requests a ticket at the first node.
func (c *cluster) issue(user, device string) sta.Issued {
	c.t.Helper()
	issued, err := c.nodes[0].api.Issue(c.t.Context(), sta.IssueRequest{User: user, Device: device, App: "Secure Mail"})
	c.check(err)
	c.secrets = append(c.secrets, issued.Handle.Reveal())
	return issued
}

// answer is what a command came to.
type answer struct {
	stdout, stderr string
	code           int
}

// run runs the program to its end, with this exit code; -1 takes any. What it
// says is kept in cli/.
func (c *cluster) run(code int, args ...string) answer {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.Command("sallyport", args...)
	command.Dir, command.Env, command.Stdout, command.Stderr = c.dir, c.env, &stdout, &stderr
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	a := answer{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
	c.said++
	c.check(os.MkdirAll(c.path("cli"), 0o700))
	c.check(os.WriteFile(c.path(fmt.Sprintf("cli/%d.txt", c.said)), []byte(a.stdout+a.stderr), 0o600))
	c.check(checkRaces("sallyport", a.stderr))
	if code >= 0 && a.code != code {
		c.t.Fatalf("sallyport %q: exit code %d, not %d:\n%s%s", args, a.code, code, a.stdout, a.stderr)
	}
	return a
}

// ticket runs sallyport ticket VERB at a node.
func (c *cluster) ticket(n *member, code int, verb string, args ...string) answer {
	c.t.Helper()
	return c.run(code, append([]string{"ticket", verb, "--server", "https://" + n.addr,
		"--ca", c.path("certs/ca.pem"), "--key-file", c.path("enrolment.key")}, args...)...)
}
