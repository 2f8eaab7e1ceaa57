package gateway_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
)

// trick is a row of a corpus of package policy.
type trick struct{ kind, value, expect string }

func readTricks(t *testing.T, file string) []trick {
	t.Helper()
	text, err := os.ReadFile("policy/testdata/" + file)
	must(t, err)
	var tricks []trick
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 4 {
			t.Fatalf("%s: %q", file, line)
		}
		value, err := strconv.Unquote(columns[1])
		must(t, err)
		tricks = append(tricks, trick{columns[0], value, columns[2]})
	}
	return tricks
}

// trickWorld lists mail.example.com, which lives at an address of its own; at all
// others on the same port, as at our own, is somebody who must not be reached.
type trickWorld struct {
	*world
	mail    netip.AddrPort
	strayed *atomic.Int32
}

func newTrickWorld(t *testing.T) *trickWorld {
	t.Helper()
	strayed := &atomic.Int32{}
	w := &trickWorld{strayed: strayed, world: newWorld(t, options{serve: func(net.Conn) { strayed.Add(1) }})}
	home := netip.MustParseAddr("127.77.0.1")
	w.mail = netip.AddrPortFrom(home, w.port)
	listener, err := net.Listen("tcp", w.mail.String())
	must(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _, _ = io.Copy(conn, conn); conn.Close() })
		}
	})
	t.Cleanup(func() { listener.Close(); conns.Wait() })
	w.resolver.answers = map[string][]netip.Addr{"mail.example.com": {home}}
	s := w.snapshot("mail.example.com:"+w.service, netip.AddrPort{})
	s.Address = policy.NewAddressRules(policy.AddressConfig{Pinned: map[string][]netip.Addr{"mail.example.com": {home}}})
	w.gateway.Use(s)
	return w
}

// tricky is a carrier, or one of its forms, that wants to go where a trick says. It
// reads the answer to the end, and tells whether it was good. also are what else
// this row may be refused for on that way, since the form's own grammar comes
// first; sent is false if the form cannot say it at all.
type tricky func(trick) (open, sent bool, also []string)

// playTricks sends the whole corpus through a carrier. Each row is refused by the
// label that it must be, or is the listed name in another spelling; nothing else is
// dialled, and no other name is looked up. It returns how many rows were sent.
func (w *trickWorld) playTricks(t *testing.T, carrier tricky) (sent int) {
	t.Helper()
	for _, k := range readTricks(t, "tricks.txt") {
		open, could, also := carrier(k)
		if !could {
			continue
		}
		sent++
		if !open {
			r := next(t, w.refused, "refusal")
			if label := r.why.Label; label != k.expect && !slices.Contains(also, label) {
				t.Errorf("%s %q: refused by %s (%s), want %s", k.kind, k.value, label, r.why.Text, k.expect)
			}
			continue
		}
		a := next(t, w.opened, "opened")
		if k.expect != "same:mail.example.com" || a.To != w.mail || a.Target.Name != "mail.example.com" {
			t.Errorf("%s %q: opens %v at %v, want %s", k.kind, k.value, a.Target, a.To, k.expect)
		}
		next(t, w.accounts, "account")
	}
	for _, name := range w.resolver.asked {
		if name != "mail.example.com" {
			t.Errorf("%q was looked up", name)
		}
	}
	if n := w.strayed.Load(); n > 0 {
		t.Errorf("%d connections where none may lead", n)
	}
	return sent
}

// say sends a message over a connection of its own, and tells whether the answer
// says that there is a tunnel.
func (w *trickWorld) say(message, success []byte) bool {
	w.t.Helper()
	conn := w.connect()
	defer conn.Close()
	_, err := conn.Write(message)
	must(w.t, err)
	must(w.t, conn.CloseWrite())
	answer, err := io.ReadAll(conn)
	must(w.t, err)
	return string(answer) == string(success)
}

var granted = []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}

func (w *trickWorld) port2() []byte { return []byte{byte(w.port >> 8), byte(w.port)} }

// SOCKS5 with a password, the destination in each of its address types.
func TestTricksOverSOCKS5(t *testing.T) {
	t.Parallel()
	w := newTrickWorld(t)
	handle := w.issue(nil).Handle.Reveal()
	login := append([]byte{5, 1, 2, 1, 1, 'u', byte(len(handle))}, handle...)
	sent := w.playTricks(t, func(k trick) (bool, bool, []string) {
		var request []byte
		switch k.kind {
		case "ip4":
			request = append([]byte{5, 1, 0, 1}, netip.MustParseAddr(k.value).AsSlice()...)
		case "ip6":
			request = append([]byte{5, 1, 0, 4}, netip.MustParseAddr(k.value).AsSlice()...)
		default:
			request = append([]byte{5, 1, 0, 3, byte(len(k.value))}, k.value...)
		}
		message := slices.Concat(login, request, w.port2())
		return w.say(message, append([]byte{5, 2, 1, 0}, granted...)), true, []string{"empty_name"}
	})
	if sent < 300 {
		t.Errorf("%d rows only", sent)
	}
}

// SOCKS5 with a ticket in place of the destination, and the host behind it.
func TestTricksBehindATicket(t *testing.T) {
	t.Parallel()
	w := newTrickWorld(t)
	credential := ";40;STA01;" + w.issue(nil).Handle.Reveal() + ";"
	sent := w.playTricks(t, func(k trick) (bool, bool, []string) {
		name := credential + k.value
		if len(name) > 255 {
			return false, false, nil
		}
		var also []string
		switch {
		case k.value == "", strings.Contains(k.value, ";"): // another form of ticket, and a bad one
			also = []string{"malformed", "not_supported", "wrong_authority"}
		case strings.Contains(k.value, ":"): // a port, if it is one, or an IPv6 address, which has no text form here
			also = []string{"no_destination", "not_listed", "host_character", "host_zone", "host_empty", "address_not_listed", "host_numeric", "host_bracket"}
		}
		message := slices.Concat([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(name))}, []byte(name), w.port2())
		return w.say(message, append([]byte{5, 0}, granted...)), true, also
	})
	if sent < 300 {
		t.Errorf("%d rows only", sent)
	}
}

// A ticket that names the destination itself, though no authority would sign that.
func TestTricksInATicket(t *testing.T) {
	t.Parallel()
	w := newTrickWorld(t)
	sent := w.playTricks(t, func(k trick) (bool, bool, []string) {
		name := ";40;STA01;" + w.plant(t, func(c *ticket.Claims) {
			c.Data = []ticket.Value{{Name: "ICAAddress", Value: k.value + ":" + w.service}}
		}, nil)
		var also []string
		switch {
		case k.kind == "ip6":
			also = []string{"host_character"} // it is written without brackets, and with them it would be a name
		case !utf8.ValidString(k.value):
			also = []string{"host_character", "host_idna", "host_control"} // JSON has no such thing
		}
		message := slices.Concat([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(name))}, []byte(name), w.port2())
		return w.say(message, append([]byte{5, 0}, granted...)), true, also
	})
	if sent < 300 {
		t.Errorf("%d rows only", sent)
	}
}

// Whatever a lying DNS answers for a listed name: what may not be dialled is not.
func TestLyingAnswers(t *testing.T) {
	t.Parallel()
	w := newTrickWorld(t)
	handle := w.issue(nil).Handle.Reveal()
	s := w.snapshot("mail.example.com:"+w.service, netip.AddrPort{})
	s.Address = policy.NewAddressRules(policy.AddressConfig{})
	w.gateway.Use(s)
	refused := 0
	for _, k := range readTricks(t, "answers.txt") {
		addr := netip.MustParseAddr(k.value)
		w.resolver.mu.Lock()
		w.resolver.answers["mail.example.com"] = []netip.Addr{addr}
		w.resolver.mu.Unlock()
		j := gateway.Judge(t.Context(), &s, askFor("mail.example.com", w.port))
		if k.expect == "ok" {
			if !j.Allow {
				t.Errorf("%s: %s", k.value, j.Why)
			}
			continue // nothing is dialled outside this machine
		}
		if j.Reason != k.expect {
			t.Errorf("%s: %s (%s), want %s", k.value, j.Reason, j.Why, k.expect)
		}
		if _, err := w.open(handle, "mail.example.com", w.port); err == nil {
			t.Errorf("%s opens", k.value)
		}
		if r := next(t, w.refused, "refusal"); r.why.Label != k.expect {
			t.Errorf("%s: refused by %s, want %s", k.value, r.why.Label, k.expect)
		}
		refused++
	}
	if n := w.strayed.Load(); n > 0 || refused < 60 {
		t.Errorf("%d connections, %d refused", n, refused)
	}
}
