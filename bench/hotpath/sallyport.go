package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	gatewayName = "gateway.bench.example"
	serviceName = "service.bench.example"
)

// configuration is what sallyport serve is given. Whatever is not in it is as
// delivered: a log line for each tunnel, idle limit, watchdogs, authority in the
// same process. The service's name is pinned, since nothing else leads to loopback.
const configuration = `node: hotpath
sta:
  id: STAHOTPATH
  listen: 127.0.0.1:%d
  clients: [{name: enrolment, key_file: enrolment.key}]
gateway:
  fqdn: ` + gatewayName + `
  listen: 127.0.0.1:%d
  authorities: [local]
  record_layer: %s%s
  policy: {exchange_server: ` + serviceName + `, background_services: "` + serviceName + `:%d"}
splitdns:
  hosts: {` + serviceName + `: [127.0.0.1]}
certs:
  files: [{cert: %q, key: %q}]
`

// moreDoors is what carriers need beside.
const moreDoors = "\n  quic: true\n  https_proxy: true"

// node is a folder with what a sallyport process needs.
type node struct {
	binary string
	dir    string
	api    string // the authority's door, once configured
}

// newNode makes the folder, with a key for the enrolment.
func (b *bench) newNode() (*node, error) {
	dir, err := os.MkdirTemp(b.scratch, "node-") // 0700
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	text := base64.StdEncoding.EncodeToString(key) + "\n"
	return &node{binary: b.sallyport, dir: dir}, os.WriteFile(filepath.Join(dir, "enrolment.key"), []byte(text), 0o600)
}

// configure writes the file, for two ports that are free at the moment.
func (n *node) configure(gateway string, service uint16, identity identity) error {
	authority, err := freePort()
	if err != nil {
		return err
	}
	listen, err := freePort()
	if err != nil {
		return err
	}
	n.api = fmt.Sprintf("https://%s:%d", gatewayName, authority)
	layer, more := gateway, ""
	if slices.Contains(carriers(), gateway) {
		layer, more = stdLayer, moreDoors
	}
	text := fmt.Sprintf(configuration, authority, listen, layer, more, service, identity.cert, identity.key)
	return os.WriteFile(filepath.Join(n.dir, "sallyport.yaml"), []byte(text), 0o600)
}

// freePort finds a port below those that the kernel gives to outgoing
// connections, of which there will be many.
func freePort() (int, error) {
	const first, count, tries = 16384, 16384, 64
	for range tries {
		n, err := rand.Int(rand.Reader, big.NewInt(count))
		if err != nil {
			return 0, err
		}
		port := first + int(n.Int64())
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port found on 127.0.0.1")
}

func (n *node) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.binary, args...)
	cmd.Dir = n.dir
	return cmd
}

// check asks the binary what it thinks of the configuration. An error is its
// first mistake, in its words.
func (n *node) check(ctx context.Context) error {
	cmd := n.command(ctx, "check", "--config", "sallyport.yaml")
	cmd.SysProcAttr = ownGroup()
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("sallyport check: %s", first)
	}
	return err
}

// witness reads along in a gateway's log.
type witness struct {
	listening chan string // where, once
	fellBack  atomic.Bool // to crypto/tls, for one tunnel or all
}

func (w *witness) read(line []byte) {
	if !bytes.Contains(line, []byte(`"gateway_ready"`)) && !bytes.Contains(line, []byte(`"record_layer_`)) {
		return // which spares thousands of lines, one a tunnel, the parser
	}
	var entry struct{ Event, Listen string }
	if json.Unmarshal(line, &entry) != nil {
		return
	}
	switch entry.Event {
	case "gateway_ready":
		select {
		case w.listening <- entry.Listen:
		default:
		}
	case "record_layer_refused", "record_layer_not_taken":
		w.fellBack.Store(true)
	}
}

// check makes sure that what was measured is what was asked for.
func (w *witness) check() error {
	if w.fellBack.Load() {
		return errors.New("it fell back to the record layer of crypto/tls")
	}
	return nil
}

// serve starts the process and waits until the gateway listens.
func (n *node) serve(ctx context.Context, w *witness) (c *child, addr string, err error) {
	// Not bound to the context by exec: start does that, for the whole group.
	c, err = start(ctx, "sallyport serve", n.command(context.WithoutCancel(ctx), "serve", "--config", "sallyport.yaml"))
	if err != nil {
		return nil, "", err
	}
	c.said.follow(w.read)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case addr = <-w.listening:
		return c, addr, nil
	case <-c.ended:
		return nil, "", c.end(grace, nil)
	case <-late.C:
		err = fmt.Errorf("sallyport serve did not listen within %s:\n%s", patience, c.said.tail())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, "", errors.Join(err, c.end(grace, func() { c.signalGroup(syscall.SIGKILL) }))
}

// issue has the sallyport command request a ticket.
func (n *node) issue(ctx context.Context, device string) (string, error) {
	cmd := n.command(ctx, "ticket", "issue", "--config", "sallyport.yaml", "--user", "hotpath", "--device", device, "--json")
	cmd.SysProcAttr = ownGroup()
	var said bytes.Buffer
	cmd.Stderr = &said
	answer, err := cmd.Output()
	var issued struct{ Ticket string }
	if err == nil {
		err = json.Unmarshal(answer, &issued)
	}
	if err == nil && issued.Ticket == "" {
		err = errors.New("there is no ticket in the answer")
	}
	if err != nil {
		return "", fmt.Errorf("sallyport ticket issue: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return issued.Ticket, nil
}

// openSallyport starts a gateway of ours, with tickets for the client.
func (b *bench) openSallyport(ctx context.Context, l *lane, setup *clientSetup) error {
	n, err := b.newNode()
	if err != nil {
		return err
	}
	const tries = 3 // somebody else may take a port between the look and the start
	for try := range tries {
		if err = n.configure(l.gateway, setup.Port, b.identity); err != nil {
			return err
		}
		w := &witness{listening: make(chan string, 1)}
		l.check = w.check
		if l.process, setup.Gateway, err = n.serve(ctx, w); err == nil {
			break
		}
		if ctx.Err() != nil || try == tries-1 {
			return err
		}
	}
	l.end = func() error {
		return l.process.end(grace, func() { l.process.signalGroup(syscall.SIGTERM) })
	}
	setup.Name, setup.CA, setup.Host = gatewayName, b.identity.cert, serviceName
	setup.User = "device"
	if slices.Contains(carriers(), l.gateway) {
		setup.Carrier = l.gateway
	}
	setup.Passwords, err = b.tickets(ctx, n)
	return err
}
