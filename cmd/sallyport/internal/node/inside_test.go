package node_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// insideFile is file with an inside door that has a list of its own.
var insideFile = strings.NewReplacer(
	"  setup_timeout", "  inside: {listen: 127.0.0.1:0, sources: [127.0.0.1], services: 'ews.example.com:PORT', max_tunnels: 2}\n  setup_timeout",
	"hosts: {", "hosts: {ews.example.com: [127.0.0.1], ",
).Replace(file)

// knock asks the inside door for a tunnel.
func (w *world) knock(from, to string) (net.Conn, int) {
	w.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(w.t.Context(), "tcp", w.InsideAddr().String())
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	_, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to)
	must(w.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return conn, 0
	}
	return conn, response.StatusCode
}

// A server within reaches its own list without a ticket, and the log tells it from a
// device; devices' names are not open to it.
func TestInside(t *testing.T) {
	w := newWorldOf(t, insideFile)
	conn, status := w.knock("127.0.0.1", "ews.example.com:"+w.port)
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	echo(t, conn)
	if n := w.Live(); n != 1 {
		t.Errorf("%d live", n)
	}
	conn.Close()
	for _, event := range []string{"tunnel_opened", "tunnel_closed"} {
		line := w.log.await(t, conn.LocalAddr().String(), event)
		if line["carrier"] != "inside" || line["to"] != "ews.example.com" || line["ticket"] != nil || line["user"] != nil || line["tls"] != nil {
			t.Errorf("%v", line)
		}
	}
	conn, status = w.knock("127.0.0.1", "mail.example.com:"+w.port)
	line := w.log.await(t, conn.LocalAddr().String(), "tunnel_refused")
	if status != 403 || line["status"] != 403.0 || line["reason"] != "not_listed" || line["reply"] != nil || line["policy"] != "inside" ||
		line["fix"] != "add mail.example.com:"+w.port+" to gateway.inside.services" {
		t.Errorf("%d: %v", status, line)
	}
	if conn, status := w.knock("127.0.0.2", "ews.example.com:"+w.port); status != 0 {
		t.Errorf("%s is not among the sources: %d", conn.LocalAddr(), status)
	}
	line = w.log.await(t, "127.0.0.2", "connection_refused")
	if line["reason"] != "not_a_source" || line["carrier"] != "inside" || line["fix"] != "if this is a server within, add 127.0.0.2 to gateway.inside.sources" ||
		line["why"] != "127.0.0.2 is in none of gateway.inside.sources" {
		t.Errorf("%v", line)
	}
	w.knock("127.0.0.2", "ews.example.com:"+w.port)
	w.knock("127.0.0.3", "ews.example.com:"+w.port) // whose line comes behind any of the one before
	w.log.await(t, "127.0.0.3", "connection_refused")
	if n := strings.Count(w.log.String(), "127.0.0.2 is in none"); n != 1 {
		t.Errorf("%d lines about one address", n)
	}
	for range 2 {
		if _, status = w.knock("127.0.0.1", "ews.example.com:"+w.port); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if _, status = w.knock("127.0.0.1", "ews.example.com:"+w.port); status != 503 {
		t.Errorf("over max_tunnels: %d", status)
	}
	if !strings.Contains(w.log.String(), "gateway.inside.max_tunnels are taken") {
		t.Error("nobody says so")
	}
}

// No tunnel leads to the inside door: no device's, by whatever listed name, and none
// of the door's own.
func TestInsideIsOwn(t *testing.T) {
	w := newWorldOf(t, insideFile)
	port := strconv.Itoa(int(w.InsideAddr().Port()))
	text := strings.NewReplacer("mail.example.com:PORT", "mail.example.com:PORT,mail.example.com:"+port+",127.0.0.1:"+port,
		"'ews.example.com:PORT'", "'ews.example.com:PORT,ews.example.com:"+port+"'").Replace(insideFile)
	must(t, w.Reload(w.config(text)))
	for _, host := range []string{"mail.example.com", "127.0.0.1"} {
		line := w.refusedLine(t, w.issue().Handle.Reveal(), host, w.InsideAddr().Port())
		if line["reason"] != "address_own" {
			t.Errorf("%s: %v", host, line)
		}
	}
	conn, status := w.knock("127.0.0.1", "ews.example.com:"+port)
	if line := w.log.await(t, conn.LocalAddr().String(), "tunnel_refused"); status != 403 || line["reason"] != "address_own" {
		t.Errorf("%d: %v", status, line)
	}
}

// A reload changes the list for new tunnels. What it cannot change it names, and a
// door whose section is gone opens nothing.
func TestInsideReload(t *testing.T) {
	w := newWorldOf(t, insideFile)
	live, _ := w.knock("127.0.0.1", "ews.example.com:"+w.port)
	must(t, w.Reload(w.config(strings.ReplaceAll(insideFile, "'ews.example.com:PORT'", "'mail.example.com:PORT'"))))
	if strings.Contains(w.log.String(), "needs_restart") {
		t.Error("a list needs a restart")
	}
	changes := func() int { return strings.Count(w.log.String(), `"event":"inside_in_force"`) }
	if n := changes(); n != 1 {
		t.Errorf("%d lines about a list that changed", n)
	}
	for host, want := range map[string]int{"ews.example.com": 403, "mail.example.com": 200} {
		if _, status := w.knock("127.0.0.1", host+":"+w.port); status != want {
			t.Errorf("%s: %d", host, status)
		}
	}
	echo(t, live)
	must(t, w.Reload(w.config(strings.ReplaceAll(insideFile, "sources: [127.0.0.1]", "sources: [127.0.0.2]"))))
	must(t, w.Reload(w.config(strings.ReplaceAll(insideFile, "sources: [127.0.0.1]", "sources: [127.0.0.2]"))))
	if n := changes(); n != 2 { // it went back, and then stayed
		t.Errorf("%d lines about two changes", n)
	}
	if !strings.Contains(w.log.String(), `"keys":["gateway.inside.sources"]`) {
		t.Error("no needs_restart about sources")
	}
	must(t, w.Reload(w.config(file)))
	if _, status := w.knock("127.0.0.1", "ews.example.com:"+w.port); status != 403 {
		t.Errorf("without a section: %d", status)
	}
	echo(t, live)
}

// Both doors stop accepting at once, and draining waits for the tunnels of either.
func TestInsideDrains(t *testing.T) {
	w := newWorldOf(t, insideFile)
	live, _ := w.knock("127.0.0.1", "ews.example.com:"+w.port)
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(t.Context()) }()
	for deadline := time.Now().Add(wait); ; {
		conn, err := net.Dial("tcp", w.InsideAddr().String())
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a draining door accepts")
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained beside a tunnel: %v", err)
	default:
	}
	echo(t, live)
	live.Close()
	select {
	case err := <-drained:
		must(t, err)
	case <-time.After(wait):
		t.Error("not drained although no tunnel is left")
	}
}

// Whoever speaks SOCKS5 at the inside door, with a good ticket even, is at the wrong one.
func TestInsideIsNoGateway(t *testing.T) {
	w := newWorldOf(t, insideFile)
	conn, err := net.Dial("tcp", w.InsideAddr().String())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(wait)))
	auth := socks.Auth{User: "u", Password: w.issue().Handle.Reveal()}
	if err := socks.ClientHandshake(t.Context(), conn, auth, "mail.example.com", w.portNumber(t)); err == nil {
		t.Error("it opens")
	}
}
