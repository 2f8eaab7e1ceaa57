package quic

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// attackedMark has the name of the test whose gateway another process is to be.
const attackedMark = "SALLYPORT_TEST_ATTACKED"

// condition is how a gateway under attack is, as its process tells it.
type condition struct {
	Held        int64          // bytes of heap and stacks, without garbage
	Resident    int64          // bytes of memory that the process has
	Connections int            // handshakes included
	Unproven    int            // handshakes with whoever may not be there
	Largest     int            // connections without a tunnel of the source that has the most of them
	Tally       map[string]int // what has happened so far
}

// beAttacked is the gateway's process. It tells its address, and its condition
// whenever it gets a line, with its memory if the line is not empty; at the end of its
// input it ends, and must leave nothing.
func beAttacked(t *testing.T, attack *attack) {
	g := serveAs(t, attack.config, attack.tunnels, attack.limits, map[string]any{
		"echo":  relayed(echo),
		"pours": relayed(pours),
	})
	out := json.NewEncoder(os.Stdout)
	fmt.Println(g.addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		c := g.condition()
		if lines.Text() != "" {
			c.measure()
		}
		if err := out.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
}

// pours is a service that sends for ever.
func pours(conn *net.TCPConn) {
	_, _ = io.Copy(conn, noise())
	_ = conn.Close()
}

func (g *testGateway) condition() condition {
	g.forget()
	c := condition{Tally: g.tally.now()}
	gate := g.listener.gate
	gate.mu.Lock()
	defer gate.mu.Unlock()
	c.Connections, c.Unproven = gate.all, gate.unproven
	for _, n := range gate.sources {
		c.Largest = max(c.Largest, n)
	}
	return c
}

// forget drops what no test listens for here.
func (g *testGateway) forget() {
	for {
		select {
		case <-g.tunnels:
		case <-g.results:
		case <-g.peers:
		case <-g.refusals:
		case <-g.closed:
		default:
			return
		}
	}
}

func (c *condition) measure() {
	debug.FreeOSMemory() // collects garbage as well
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Held = int64(m.HeapAlloc + m.StackInuse)
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages int64
		_, _ = fmt.Sscan(string(statm), &size, &pages)
		c.Resident = pages * int64(os.Getpagesize())
	}
}

// attacked is the gateway, seen from here.
type attacked struct {
	addr netip.AddrPort
	say  io.WriteCloser
	hear *bufio.Reader
}

// startAttacked runs the test once more, as beAttacked.
func startAttacked(t *testing.T) *attacked {
	t.Helper()
	other := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^")+"$", "-test.count=1")
	other.Env = append(os.Environ(), attackedMark+"="+t.Name(), "GORACE=atexit_sleep_ms=0")
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	other.Stderr = &complaints
	say, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	hear, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	a := &attacked{say: say, hear: bufio.NewReader(hear)}
	t.Cleanup(func() {
		_ = say.Close()
		rest, _ := io.ReadAll(a.hear)
		if err := other.Wait(); err != nil {
			t.Errorf("the gateway: %v\n%s%s", err, rest, &complaints)
		}
	})
	line, err := a.hear.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if a.addr, err = netip.ParseAddrPort(line[:len(line)-1]); err != nil {
		t.Fatal(err)
	}
	return a
}

// now asks for the gateway's condition.
func (a *attacked) now(t *testing.T, memory bool) condition {
	t.Helper()
	question := "\n"
	if memory {
		question = "memory\n"
	}
	if _, err := io.WriteString(a.say, question); err != nil {
		t.Fatal(err)
	}
	line, err := a.hear.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var c condition
	if err := json.Unmarshal(line, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// until asks again and again, until what is wanted is so.
func (a *attacked) until(t *testing.T, memory bool, wanted func(condition) bool) condition {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); ; <-again.C {
		c := a.now(t, memory)
		if wanted(c) {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about: %+v", c)
		}
	}
}

// attack is one, with the limits of the gateway that it is made on.
type attack struct {
	name    string
	config  Config
	tunnels tunnel.Config
	limits  tunnel.Limits
	// make makes it, calls peak while it is at its height, and tells what it was
	// answered. Whatever it holds is let go when it returns.
	make func(t *testing.T, s *siege) (answer string)
	most int64 // KiB that the gateway may hold for it
}
