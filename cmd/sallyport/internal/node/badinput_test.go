package node_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// badInput is something that a client sends to the public port, and what
// becomes of it.
type badInput struct {
	name   string
	plain  bool   // without TLS
	sends  []byte // all at once
	slowly bool   // a byte each 200 ms
	stays  bool   // does not close its side; else it does once it has sent
	answer []byte // everything that comes back
	reason string // in the log
}

// Messages, joined by the cases below.
var (
	greeting    = []byte{5, 1, 2}
	accepted    = []byte{5, 2, 1, 0}
	ticketBad   = []byte{5, 2, 1, 1}
	noneWillDo  = []byte{5, 0xFF}
	httpAnswer  = []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	clientHello = []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3}
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func login(user, password string) []byte {
	m := append([]byte{1, byte(len(user))}, user...)
	return append(append(m, byte(len(password))), password...)
}

func request(command, reserved, kind byte, address []byte, port int) []byte {
	return append(append([]byte{5, command, reserved, kind}, address...), byte(port>>8), byte(port))
}

func named(name string, port int) []byte {
	return request(1, 0, 3, append([]byte{byte(len(name))}, name...), port)
}

// replied is what comes back when the ticket was good and the request was not.
func replied(code byte) []byte {
	return join(accepted, []byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
}

// noAuth is what comes back to a client without authentication.
func noAuth(code byte) []byte {
	return []byte{5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0}
}

func corpus(handle string, port int) []badInput {
	unknown := strings.Repeat("A", 32)
	in := join(greeting, login("user", handle))
	return []badInput{
		{name: "plain HTTP", plain: true, sends: []byte("GET / HTTP/1.1\r\nHost: gateway3.example.com\r\n\r\n"), answer: httpAnswer, reason: "not_tls"},
		{name: "SOCKS5 without TLS", plain: true, sends: []byte{5, 1, 0}, reason: "not_tls"},
		{name: "SSH", plain: true, sends: []byte("SSH-2.0-OpenSSH_9.6\r\n"), reason: "not_tls"},
		{name: "zeros", plain: true, sends: make([]byte, 1024), reason: "not_tls"},
		{name: "nothing, without TLS, and goes", plain: true, reason: "hung_up"},
		{name: "nothing, without TLS, and stays", plain: true, stays: true, reason: "setup_timeout"},
		{name: "half a ClientHello, and goes", plain: true, sends: clientHello, reason: "hung_up"},
		{name: "half a ClientHello, and stays", plain: true, sends: clientHello, stays: true, reason: "setup_timeout"},

		{name: "nothing, and stays", stays: true, reason: "setup_timeout"},
		{name: "nothing, and goes", reason: "hung_up"},
		{name: "a byte now and then", sends: join(in, named("mail.example.com", port)), slowly: true, stays: true, answer: ticketBad, reason: "setup_timeout"},
		{name: "SOCKS4", sends: []byte{4, 1, 0, 80, 127, 0, 0, 1, 0}, stays: true, reason: "bad_version"},
		{name: "HTTP inside TLS", sends: []byte("CONNECT mail.example.com:443 HTTP/1.1\r\n\r\n"), stays: true, reason: "bad_version"},
		{name: "no method", sends: []byte{5, 0}, stays: true, answer: noneWillDo, reason: "no_method"},
		{name: "no authentication, no ticket", sends: join([]byte{5, 1, 0}, named("mail.example.com", port)), stays: true, answer: noAuth(2), reason: "no_credential"},
		{name: "unknown ticket as name", sends: join([]byte{5, 1, 0}, named(";40;STA01;"+unknown, port)), stays: true, answer: noAuth(2), reason: "unknown_ticket"},
		{name: "half a ticket as name", sends: join([]byte{5, 1, 0}, named(";40;STA01;"+handle[:31], port)), stays: true, answer: noAuth(2), reason: "malformed"},
		{name: "two tickets as name", sends: join([]byte{5, 1, 0}, named(";40;STA01;"+handle+";STA01;"+handle, port)), stays: true, answer: noAuth(2), reason: "not_supported"},
		{name: "ticket and unlisted host", sends: join([]byte{5, 1, 0}, named(";40;STA01;"+handle+";intranet.example.com", port)), stays: true, answer: noAuth(2), reason: "not_listed"},
		{name: "ticket and an address", sends: join([]byte{5, 1, 0}, named(";40;STA01;"+handle+";127.0.0.1", port+1)), stays: true, answer: noAuth(2), reason: "address_not_listed"},
		{name: "forged token", sends: join([]byte{5, 1, 0x80, 1, 0, 38}, []byte("a.b.c~"+unknown)), stays: true, answer: []byte{5, 0x80, 1, 1}, reason: "malformed"},
		{name: "GSSAPI and unknown ones", sends: []byte{5, 3, 1, 0x7F, 0xFE}, stays: true, answer: noneWillDo, reason: "no_method"},
		{name: "255 methods, none ours", sends: join([]byte{5, 255}, bytes.Repeat([]byte{9}, 255)), stays: true, answer: noneWillDo, reason: "no_method"},
		{name: "greeting cut short", sends: []byte{5, 200, 2}, reason: "hung_up"},
		{name: "wrong version of RFC 1929", sends: join(greeting, []byte{2, 1, 'u', 1, 'p'}), stays: true, answer: ticketBad, reason: "bad_auth"},
		{name: "user cut short", sends: join(greeting, []byte{1, 255, 'u'}), answer: ticketBad, reason: "hung_up"},
		{name: "password cut short", sends: join(greeting, []byte{1, 1, 'u', 32, 'A'}), answer: ticketBad, reason: "hung_up"},
		{name: "no user, no password", sends: join(greeting, login("", "")), stays: true, answer: ticketBad, reason: "malformed"},
		{name: "255 and 255 bytes", sends: join(greeting, login(strings.Repeat("ü", 127), strings.Repeat("A", 255))), stays: true, answer: ticketBad, reason: "malformed"},
		{name: "umlauts and euro", sends: join(greeting, login("äöü€", unknown)), stays: true, answer: ticketBad, reason: "unknown_ticket"},
		{name: "another authority", sends: join(greeting, login("u", ";40;STA02;"+handle)), stays: true, answer: ticketBad, reason: "wrong_authority"},
		{name: "ticket as user", sends: join(greeting, login(handle, unknown)), stays: true, answer: ticketBad, reason: "unknown_ticket"},
		{name: "request cut short", sends: join(in, []byte{5, 1, 0, 3, 255, 'm'}), answer: replied(1), reason: "hung_up"},
		{name: "request of version 4", sends: join(in, []byte{4, 1, 0, 1, 127, 0, 0, 1, 0, 80}), stays: true, answer: replied(1), reason: "bad_version"},
		{name: "reserved byte set", sends: join(in, request(1, 1, 1, []byte{127, 0, 0, 1}, port)), stays: true, answer: replied(1), reason: "bad_reserved"},
		{name: "BIND", sends: join(in, request(2, 0, 1, []byte{127, 0, 0, 1}, port)), stays: true, answer: replied(7), reason: "bad_command"},
		{name: "UDP ASSOCIATE", sends: join(in, request(3, 0, 1, []byte{0, 0, 0, 0}, 0)), stays: true, answer: replied(7), reason: "bad_command"},
		{name: "unknown address type", sends: join(in, request(1, 0, 2, []byte{127, 0, 0, 1}, port)), stays: true, answer: replied(8), reason: "bad_address_type"},
		{name: "empty name", sends: join(in, named("", port)), stays: true, answer: replied(2), reason: "empty_name"},
		{name: "255 bytes of name", sends: join(in, named(strings.Repeat("a", 255), port)), stays: true, answer: replied(2), reason: "host_too_long"},
		{name: "name with NUL", sends: join(in, named("mail.example.com\x00", port)), stays: true, answer: replied(2), reason: "host_control"},
		{name: "name with a blank", sends: join(in, named("mail.example.com ", port)), stays: true, answer: replied(2), reason: "host_blank"},
		{name: "name in brackets", sends: join(in, named("[::1]", port)), stays: true, answer: replied(2), reason: "host_bracket"},
		{name: "empty label", sends: join(in, named("mail..example.com", port)), stays: true, answer: replied(2), reason: "host_label"},
		{name: "a ticket as name", sends: join(in, named(";40;STA01;"+handle, port)), stays: true, answer: replied(2), reason: "host_credential"},
		{name: "not listed", sends: join(in, named("intranet.example.com", port)), stays: true, answer: replied(2), reason: "not_listed"},
		{name: "another port", sends: join(in, named("mail.example.com", port+1)), stays: true, answer: replied(2), reason: "not_listed"},
	}
}

// Each bad input is answered rightly and noted once with its reason, whatever
// follows it; no goroutine and no tunnel is left, and no secret is in the log.
func TestBadInput(t *testing.T) {
	// One node waits as long as a busy machine may need, the other no longer than the
	// inputs that make it wait.
	patient := newWorld(t)
	hasty := newWorldOf(t, strings.Replace(file, "setup_timeout: 5s", "setup_timeout: 1s", 1))
	good := func(w *world) (handle string, port int) {
		handle = w.issue().Handle.Reveal()
		port, err := strconv.Atoi(w.port)
		must(t, err)
		return handle, port
	}
	handle, port := good(patient)
	slowHandle, slowPort := good(hasty)
	// What a tunnel leaves behind for good (resolver, pools, idle API
	// connections) is there before the count.
	patient.throughAll(t, badInput{name: "a good one", sends: join(greeting, login("u", handle), named("mail.example.com", port)), answer: replied(0)})
	hasty.throughAll(t, badInput{name: "a good one", sends: join(greeting, login("u", slowHandle), named("mail.example.com", slowPort)), answer: replied(0)})
	before, held := runtime.NumGoroutine(), heap()

	t.Run("all", func(t *testing.T) {
		inputs := corpus(handle, port)
		waiting := corpus(slowHandle, slowPort)
		for i, in := range inputs {
			w := patient
			if in.reason == "setup_timeout" {
				w, in = hasty, waiting[i]
			}
			t.Run(in.name, func(t *testing.T) {
				t.Parallel()
				client := w.throughAll(t, in)
				line := w.log.await(t, client, "connection_refused", "tunnel_refused")
				if line["reason"] != in.reason {
					t.Errorf("reason %v (%v), want %s", line["reason"], line["message"], in.reason)
				}
				if line["message"] == "" {
					t.Error("no words for it")
				}
				if lines := w.log.about(client, "connection_refused", "tunnel_refused", "tunnel_opened", "tunnel_closed"); len(lines) != 1 {
					t.Errorf("%d lines: %v", len(lines), lines)
				}
			})
		}
	})
	if n := patient.Live() + hasty.Live(); n != 0 {
		t.Errorf("%d tunnels live", n)
	}
	for deadline := time.Now().Add(wait); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
	for _, w := range []*world{patient, hasty} {
		if strings.Contains(w.log.String(), `"event":"panic"`) {
			t.Error("a panic")
		}
		w.noSecrets(t, handle, slowHandle)
	}
	// All of it together leaves less than one bulk buffer for each client.
	if now := heap(); now > held+4<<20 {
		t.Errorf("%d KiB of heap before, %d after", held>>10, now>>10)
	}
}

// heap is what is live on it.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// throughAll sends and reads to the end, and gives the client's address.
func (w *world) throughAll(t *testing.T, in badInput) string {
	t.Helper()
	conn := w.dial(!in.plain)
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		chunk := len(in.sends)
		if in.slowly {
			chunk = 1
		}
		for rest := in.sends; len(rest) > 0; rest = rest[chunk:] {
			if _, err := conn.Write(rest[:chunk]); err != nil {
				return // it was refused before it had said everything
			}
			if in.slowly {
				time.Sleep(50 * time.Millisecond) // this is the behaviour under test
			}
		}
		if !in.stays {
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	answer, err := io.ReadAll(conn)
	var reset *net.OpError
	if err != nil && !errors.As(err, &reset) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, new(tls.AlertError)) {
		t.Errorf("reading the answer: %v", err)
	}
	if !bytes.Equal(answer, in.answer) {
		t.Errorf("answer % x, want % x", answer, in.answer)
	}
	conn.Close()
	<-sent
	return conn.LocalAddr().String()
}

// noSecrets greps everything that was written for what must not be there.
func (w *world) noSecrets(t *testing.T, handles ...string) {
	t.Helper()
	written := map[string]string{"log": w.log.String()}
	err := filepath.WalkDir(filepath.Join(w.dir, "data"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		written[path] = string(content)
		return err
	})
	must(t, err)
	if len(written) < 4 {
		t.Fatalf("only %d places to look", len(written))
	}
	for place, content := range written {
		for _, secret := range append(handles, w.key) {
			if strings.Contains(content, secret) {
				t.Errorf("a secret is in %s", place)
			}
		}
	}
}
