package connect

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// trick is a line of the corpus that every carrier must withstand.
type trick struct {
	kind, value, expect string
}

func (k trick) isHost() bool { return !strings.HasPrefix(k.expect, "host_") }
func (k trick) isSame() bool { return strings.HasPrefix(k.expect, "same:") }

func readTricks(t *testing.T) []trick {
	t.Helper()
	data, err := os.ReadFile("../../../../gateway/policy/testdata/tricks.txt")
	if err != nil {
		t.Fatal(err)
	}
	var tricks []trick
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) < 3 {
			t.Fatalf("%q has too few columns", line)
		}
		value, err := strconv.Unquote(columns[1])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		tricks = append(tricks, trick{columns[0], value, columns[2]})
	}
	if len(tricks) < 120 {
		t.Fatalf("only %d tricks", len(tricks))
	}
	return tricks
}

// Whatever a host is called, it reaches neither a listener of this machine nor
// the local DNS where it goes to the gateway, or is no host at all. The gateway
// is away, so that nothing may succeed.
func TestTricks(t *testing.T) {
	tricks := readTricks(t)
	// A canary that would sing: the local DNS gives every name its address.
	var sang atomic.Int64
	canary, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			conn, err := canary.Accept()
			if err != nil {
				return
			}
			sang.Add(1)
			_ = conn.Close()
		}
	}()
	defer func() { _ = canary.Close(); <-watched }()
	port := canary.Addr().(*net.TCPAddr).AddrPort().Port()
	outside := startResolver(t, "127.0.0.1")

	for mode := Off; mode <= Reverse; mode++ {
		c := idleConfig(t, mode)
		c.Gateway, c.LocalDNS = closedPort(t), outside.addr
		c.Services = []policy.Service{{Name: "mail.example.com", Port: port}}
		bySOCKS, told := startProxy(t, c)
		byHTTP, toldHTTP := startHTTP(t, c)
		tried := 0
		for _, k := range tricks {
			// On lets what is not listed straight out, and Reverse what is: that is
			// no trick, and leads away from this machine.
			if mode == On && k.isHost() && !k.isSame() || mode == Reverse && k.isSame() {
				continue
			}
			tried++
			if reply := askSOCKS(t, bySOCKS, k, port); reply == socks.Succeeded {
				t.Errorf("%v: %q over SOCKS5 succeeded", mode, k.value)
			}
			for len(told) > 0 {
				tn := <-told
				if want := mode != On || k.isSame(); want != (tn.Via == Gateway) || !want && !errors.Is(tn.Err, errNoHost) {
					t.Errorf("%v: %q: told %v", mode, k.value, tn)
				}
			}
			for _, form := range formsFor(mode, k) {
				if status := askHTTP(t, byHTTP, form, k, port); status == "200" {
					t.Errorf("%v: %q by %s succeeded", mode, k.value, form)
				}
			}
			for len(toldHTTP) > 0 {
				<-toldHTTP
			}
			if asked := outside.takeAsked(); len(asked) > 0 {
				t.Errorf("%v: for %q the local DNS was asked for %v", mode, k.value, asked)
			}
			if n := sang.Swap(0); n > 0 {
				t.Errorf("%v: %q reached a listener of this machine", mode, k.value)
			}
		}
		if tried < 100 {
			t.Errorf("%v: only %d tricks tried", mode, tried)
		}
	}
	// The canary does sing.
	c := idleConfig(t, On)
	c.LocalDNS = outside.addr
	p, _ := startProxy(t, c)
	if reply := askSOCKS(t, p, trick{"name", "evil.example", ""}, port); reply != socks.Succeeded || len(outside.takeAsked()) == 0 {
		t.Errorf("the canary cannot be reached at all: %v", reply)
	}
}

// formsFor are the requests of HTTP in which the trick is a trick: a bracketed
// address is an address there, and a slash ends the host of a URL.
func formsFor(mode Mode, k trick) []string {
	switch {
	case mode == Reverse, mode == On && strings.HasPrefix(k.value, "["):
		return nil
	case mode == On && strings.ContainsAny(k.value, "/?#"):
		return []string{"CONNECT %"}
	}
	return []string{"CONNECT %", "GET http://%/"}
}

// askSOCKS sends a request byte by byte as it must be, whatever is in it. A
// connection that ends without a reply is a refusal too.
func askSOCKS(t *testing.T, p *runningProxy, k trick, port uint16) socks.Reply {
	t.Helper()
	request := []byte("\x05\x01\x02\x01\x09" + LocalUser + string(rune(len(p.Password()))) + p.Password() + "\x05\x01\x00")
	if k.kind == "name" {
		if len(k.value) > maxField {
			t.Fatalf("%q cannot be sent", k.value)
		}
		request = append(append(request, 3, byte(len(k.value))), k.value...)
	} else {
		addr := netip.MustParseAddr(k.value)
		request = append(append(request, map[bool]byte{true: 1, false: 4}[addr.Is4()]), addr.AsSlice()...)
	}
	request = binary.BigEndian.AppendUint16(request, port)
	conn := rawProxy(t, p)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2+2+10)
	if n, err := io.ReadFull(conn, answer); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%q: %v after %d bytes", k.value, err, n)
		}
		return socks.GeneralFailure
	}
	return socks.Reply(answer[5])
}

// askHTTP puts the trick where form has its % and returns the status.
func askHTTP(t *testing.T, p *runningProxy, form string, k trick, port uint16) string {
	t.Helper()
	host := k.value
	if k.kind == "ip6" {
		host = "[" + host + "]"
	}
	target := strings.Replace(form, "%", host+":"+strconv.Itoa(int(port)), 1)
	conn := rawProxy(t, p)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, target+" HTTP/1.1\r\nHost: x\r\n"+basic(p.Password())+"\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 2 {
		t.Fatalf("%q by %s: %q, %v", k.value, form, line, err)
	}
	return words[1]
}
