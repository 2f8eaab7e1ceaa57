package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// The namespace of TestSourcePorts: a mail server, and two addresses of the gateway
// with ten ports each.
const (
	poolMail                = "10.1.0.25"
	poolFirst, poolSecond   = "10.1.0.5", "10.1.0.6"
	poolRange, poolPerHouse = "40000 40009", 10
)

const poolConfig = `
node: pool
sta:
  id: STA01
  listen: 127.0.0.1:8442
  clients: [{name: enrolment, key_file: enrolment.key}]
gateway:
  fqdn: gateway3.example.com
  listen: 127.0.0.1:8443
  authorities: [local]
  drain_timeout: 0s
  upstream: {sources: [10.1.0.5, 10.1.0.6]}
  policy: {background_services: "mail.example.com:443"}
splitdns:
  hosts: {mail.example.com: [10.1.0.25]}
certs: {mode: dev, dir: certs}
`

// TestSourcePorts uses up the ports of one source address after the other: each adds
// as many tunnels as it has ports, and the operator hears of it in time.
func TestSourcePorts(t *testing.T) {
	if !alone(t) {
		return
	}
	addresses(t, poolMail, poolFirst, poolSecond)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(poolRange), 0); err != nil {
		t.Fatal(err)
	}
	w := newPoolWorld(t)

	// Somebody else has all ports of the first address: tunnels come from the second.
	others := make([]net.Conn, poolPerHouse)
	for i := range others {
		others[i] = w.take(t, poolFirst)
	}
	for range poolPerHouse {
		w.opens(t, poolSecond)
	}
	w.refuses(t)
	w.toldLow(t, poolSecond)

	// They are free again, and there is room for as many tunnels once more.
	for _, conn := range others {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	for range poolPerHouse {
		w.opens(t, poolFirst)
	}
	w.refuses(t)
	w.toldLow(t, poolSecond, poolFirst)
}

// TestSourceOfAnotherMachine: such a file is sound, but not here.
func TestSourceOfAnotherMachine(t *testing.T) {
	if !alone(t) {
		return
	}
	addresses(t, poolFirst)
	w := &splitWorld{t.TempDir()}
	w.write(t, "sallyport.yaml", poolConfig)
	w.write(t, "enrolment.key", newKey()+"\n")
	w.run(t, exitGood, "check", "--config", "sallyport.yaml")
	p := w.start(t, "serve", "serve", "--config", "sallyport.yaml")
	if err := p.end(exitRuntime); err != nil {
		t.Fatal(err)
	}
	if said := p.stderr.String(); !strings.Contains(said, "gateway.upstream.sources: 10.1.0.6 is no address that connections can come from here") {
		t.Errorf("serve says %s", said)
	}
}

// poolWorld is a gateway with two source addresses, and what came to its service.
type poolWorld struct {
	*splitWorld
	server *process
	came   chan netip.AddrPort // from where each connection came to the mail server
	tls    *tls.Config
	handle string
	device byte // the next device's own address on loopback
}

func newPoolWorld(t *testing.T) *poolWorld {
	t.Helper()
	w := &poolWorld{splitWorld: &splitWorld{t.TempDir()}, came: make(chan netip.AddrPort, 100), device: 10}
	w.hold(t)
	w.write(t, "sallyport.yaml", poolConfig)
	w.write(t, "enrolment.key", newKey()+"\n")
	w.server = w.start(t, "serve", "serve", "--config", "sallyport.yaml")
	w.await(t, w.server, `"event":"gateway_ready"`)
	issue := w.start(t, "issue", "ticket", "issue", "--config", "sallyport.yaml", "--user", "user2", "--device", "iPhone", "--ticket-file", "device.ticket")
	if err := issue.end(exitGood); err != nil {
		t.Fatal(err, issue.stderr.String())
	}
	handle, err := os.ReadFile(w.dir + "/device.ticket")
	if err != nil {
		t.Fatal(err)
	}
	w.handle = strings.TrimSpace(string(handle))
	roots, err := certs.DevRoots(w.dir + "/certs")
	if err != nil {
		t.Fatal(err)
	}
	w.tls = &tls.Config{RootCAs: roots, ServerName: fqdn, MinVersion: tls.VersionTLS12}
	return w
}

// hold is the mail server: it keeps each connection until the test ends.
func (w *poolWorld) hold(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", poolMail+":443")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			w.came <- conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
}

// take connects to the mail server past the gateway.
func (w *poolWorld) take(t *testing.T, from string) net.Conn {
	t.Helper()
	dialer := dialerFrom(netip.MustParseAddr(from))
	conn, err := dialer.DialContext(t.Context(), "tcp", poolMail+":443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	<-w.came
	return conn
}

// dialerFrom gives one that leaves a port to others as long as it can: one that is
// taken by a bind is no other connection's, from whatever address.
func dialerFrom(addr netip.Addr) *net.Dialer {
	return &net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)),
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			called := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return errors.Join(called, err)
		},
	}
}

// open tries a tunnel. Each device has an address of its own, or they would run out
// of ports before the gateway does.
func (w *poolWorld) open(t *testing.T) error {
	t.Helper()
	w.device++
	dialer := tls.Dialer{Config: w.tls, NetDialer: dialerFrom(netip.AddrFrom4([4]byte{127, 0, 0, w.device}))}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:8443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return socks.ClientHandshake(ctx, conn, socks.Auth{User: "device", Password: w.handle}, "mail.example.com", 443)
}

// opens wants a tunnel that comes from an address.
func (w *poolWorld) opens(t *testing.T, from string) {
	t.Helper()
	if err := w.open(t); err != nil {
		t.Fatalf("%v\n%s", err, tail(w.server.stderr.String(), 5))
	}
	if came := <-w.came; came.Addr().String() != from {
		t.Errorf("it comes from %s, and not from %s", came, from)
	}
}

// refuses wants no tunnel, and the log to say why.
func (w *poolWorld) refuses(t *testing.T) {
	t.Helper()
	var reply *socks.ReplyError
	if err := w.open(t); !errors.As(err, &reply) || reply.Reply != socks.GeneralFailure {
		t.Errorf("without a port left: %v", err)
	}
	w.await(t, w.server, `"event":"tunnel_refused","client":"127\.0\.0\.`+strconv.Itoa(int(w.device))+
		`:.*but gateway: no source address with a free port to the service","fix":"add addresses to gateway\.upstream\.sources,.*"reason":"no_ports"`)
}

// toldLow wants the log to have told once of each of these addresses, in order.
func (w *poolWorld) toldLow(t *testing.T, from ...string) {
	t.Helper()
	told := regexp.MustCompile(`"event":"upstream_ports_low","from":"([0-9.]+)","service":"10\.1\.0\.25:443","in_use":9,"ports":10,`).
		FindAllStringSubmatch(w.server.stderr.String(), -1)
	for i := range max(len(told), len(from)) {
		if i >= len(told) || i >= len(from) || told[i][1] != from[i] {
			t.Errorf("told of %q, and not of %q", told, from)
			return
		}
	}
}
