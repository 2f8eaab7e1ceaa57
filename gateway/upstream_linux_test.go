package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// service accepts on loopback, and holds what comes until the client closes or the
// test ends.
func service(t testing.TB) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// dialling is a gateway as far as it dials, and a trial that found addresses good.
func dialling(up *Upstream, port uint16, good ...netip.Addr) (*Gateway, *trial) {
	g := &Gateway{config: Config{Upstream: up, Dialer: net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}}}
	rules := policy.NewAddressRules(policy.AddressConfig{Pinned: map[string][]netip.Addr{"mail.example.com": {here, second}}})
	force := &inForce{}
	force.address.Store(rules)
	g.force.Store(force)
	t := newTrial(force, Ask{Host: policy.Host{Name: "mail.example.com"}, Port: port})
	t.good = good
	return g, t
}

func newUpstream(t testing.TB, c UpstreamConfig) *Upstream {
	t.Helper()
	u, err := NewUpstream(c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// open dials, and closes the connection when the test ends.
func open(t *testing.T, g *Gateway, on *trial) *net.TCPConn {
	t.Helper()
	conn, err := g.dial(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// hangUp ends a connection as a tunnel's end does.
func hangUp(g *Gateway, conn *net.TCPConn) {
	_ = conn.Close()
	g.hungUp(addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))
}

// bySource gives the connections by source.
func bySource(g *Gateway) map[netip.Addr]int {
	found := make(map[netip.Addr]int)
	for _, use := range g.Ports() {
		found[use.From] += use.Live
	}
	return found
}

func TestSourcesShareTheLoad(t *testing.T) {
	to := service(t)
	g, on := dialling(newUpstream(t, UpstreamConfig{Sources: []netip.Addr{second, third}}), to.Port(), here)
	var conns []*net.TCPConn
	for range 4 {
		conns = append(conns, open(t, g, on))
	}
	if got := bySource(g); got[second] != 2 || got[third] != 2 {
		t.Errorf("%v", got)
	}
	// The next comes from where one has ended.
	ended := conns[1]
	from := addrPort(ended.LocalAddr()).Addr()
	hangUp(g, ended)
	conns[1] = open(t, g, on)
	if got := addrPort(conns[1].LocalAddr()).Addr(); got != from {
		t.Errorf("comes from %s, and %s has the fewest", got, from)
	}
	for _, conn := range conns {
		hangUp(g, conn)
	}
	if got := g.Ports(); len(got) != 0 {
		t.Errorf("nothing is connected, and %v", got)
	}
	hangUp(g, conns[0]) // one that is unknown does nothing
	if got := g.Ports(); len(got) != 0 {
		t.Errorf("nothing is connected, and %v", got)
	}
}

// Without sources what the kernel chose is counted; without an Upstream nothing is.
func TestWithoutSources(t *testing.T) {
	to := service(t)
	g, on := dialling(newUpstream(t, UpstreamConfig{}), to.Port(), here)
	conn := open(t, g, on)
	want := []PortUse{{From: here, To: to, Live: 1, Ports: portRange()}}
	if got := g.Ports(); !slices.Equal(got, want) || want[0].Ports == 0 {
		t.Errorf("%v, want %v", got, want)
	}
	hangUp(g, conn)
	if got := g.Ports(); len(got) != 0 {
		t.Errorf("nothing is connected, and %v", got)
	}
	g, on = dialling(nil, to.Port(), here)
	hangUp(g, open(t, g, on))
	if got := g.Ports(); got != nil {
		t.Errorf("%v", got)
	}
}

func TestSourcesThatThisMachineLacks(t *testing.T) {
	for _, addr := range []netip.Addr{nobody, netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1"), {}} {
		if _, err := NewUpstream(UpstreamConfig{Sources: []netip.Addr{here, addr}}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%v: %v", addr, err)
		}
	}
	if _, err := NewUpstream(UpstreamConfig{Sources: slices.Repeat([]netip.Addr{here}, MaxSources+1)}); err == nil {
		t.Error("more sources than there may be")
	}

	// One that it has lost is passed over, until none is left.
	to := service(t)
	up := newUpstream(t, UpstreamConfig{Sources: []netip.Addr{here, second}})
	up.config.Sources[0] = nobody
	g, on := dialling(up, to.Port(), here)
	if from := addrPort(open(t, g, on).LocalAddr()).Addr(); from != second {
		t.Errorf("comes from %s", from)
	}
	up.config.Sources = up.config.Sources[:1]
	if _, err := g.dial(t.Context(), on); asRefusal(err).Label != labelSourceGone {
		t.Errorf("refused by %v", err)
	}
	if got := bySource(g); len(got) != 1 || got[second] != 1 {
		t.Errorf("%v", got)
	}
}

func TestSourcesOfTheOtherFamily(t *testing.T) {
	var p ports
	to := netip.MustParseAddrPort("[2001:db8::25]:443")
	if n, _ := p.enterFewest([]netip.Addr{second}, 0, to); n != -1 || len(p.used) != 0 {
		t.Errorf("source %d to %s", n, to)
	}
	if n, _ := p.enterFewest([]netip.Addr{second, netip.MustParseAddr("2001:db8::5")}, 0, to); n != 1 {
		t.Errorf("source %d to %s", n, to)
	}
}

func TestSocketOptions(t *testing.T) {
	to := service(t)
	for _, want := range []time.Duration{0, 90 * time.Second} {
		up := newUpstream(t, UpstreamConfig{Sources: []netip.Addr{second}, UserTimeout: want})
		g, on := dialling(up, to.Port(), here)
		raw, err := open(t, g, on).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range []struct {
			name               string
			level, value, want int
		}{
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(want.Milliseconds())},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
			{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1},
		} {
			var got int
			var failed error
			if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), option.level, option.value) }); err != nil {
				t.Fatal(err)
			}
			if failed != nil || got != option.want {
				t.Errorf("%s is %d, %v, want %d", option.name, got, failed, option.want)
			}
		}
	}
}

// Warned that a range is small, an operator widens it: the hook goes by what there
// is then.
func TestPortsLowGoesByTheRangeOfNow(t *testing.T) {
	var told []PortUse
	up := newUpstream(t, UpstreamConfig{PortsLow: func(use PortUse) { told = append(told, use) }})
	size := up.ports.size
	up.ports.size = 1
	g, on := dialling(up, service(t).Port(), here)
	open(t, g, on)
	if up.ports.size != size || len(told) != 0 {
		t.Errorf("%d ports, and told of %v", up.ports.size, told)
	}
	up.ports.used[pair{here, netip.AddrPortFrom(here, on.ask.Port)}] = portCount{live: size*9/10 + 1}
	open(t, g, on)
	if len(told) != 1 || told[0].Ports != size || told[0].Live != size*9/10+2 || told[0].From != here {
		t.Errorf("told of %v", told)
	}
}

// Several addresses: one that fails brings the next one forward, and one that loses
// is not counted.
func TestRace(t *testing.T) {
	to := service(t)
	g, on := dialling(newUpstream(t, UpstreamConfig{}), to.Port(), second, here) // nobody listens at the first
	conn := open(t, g, on)
	if got := addrPort(conn.RemoteAddr()); got != to {
		t.Errorf("connected to %s", got)
	}
	if got := bySource(g); len(got) != 1 || got[here] != 1 {
		t.Errorf("%v", got)
	}
	outcomes := make(chan outcome, 2)
	loser := open(t, g, on)
	outcomes <- outcome{conn: loser}
	outcomes <- outcome{err: errDefect}
	g.dismissLosers(2, outcomes)
	if got := bySource(g); got[here] != 1 {
		t.Errorf("after the loser was dismissed: %v", got)
	}
	if _, err := loser.Write([]byte("?")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the loser is open: %v", err)
	}
}

// Whatever was judged before, what the kernel is about to connect to is judged in
// the end. Nothing of what fails is counted.
func TestDialChecksOnceMore(t *testing.T) {
	to := service(t)
	for _, sources := range [][]netip.Addr{nil, {second, third}} {
		g, on := dialling(newUpstream(t, UpstreamConfig{Sources: sources}), to.Port(), third)
		if _, err := g.dial(t.Context(), on); asRefusal(err).Label != "address_pinned_only" {
			t.Errorf("to what was not judged: %v", err)
		}
		on.good = []netip.Addr{second}
		if _, err := g.dial(t.Context(), on); asRefusal(err).Label != labelDialRefused {
			t.Errorf("to where nobody listens: %v", err)
		}
		told := 0
		on.on.panicked = func(any, []byte) { told++ }
		on.good, on.address = []netip.Addr{here}, nil
		if _, err := g.dial(t.Context(), on); asRefusal(err).Label != labelDialFailed || !errors.Is(err, errDefect) || told != 1 {
			t.Errorf("with a defect: %v, told %d times", err, told)
		}
		if got := g.Ports(); len(got) != 0 {
			t.Errorf("nothing is connected, and %v", got)
		}
	}
}

// A process that may open no more files says so. It is another process, since the
// limit is for the whole of it.
func TestOutOfDescriptors(t *testing.T) {
	const mark = "SALLYPORT_TEST_DESCRIPTORS"
	if os.Getenv(mark) == "" {
		again := exec.Command(os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1")
		again.Env = append(os.Environ(), mark+"=1")
		if out, err := again.CombinedOutput(); err != nil || !regexp.MustCompile(`(?m)^--- PASS: `+t.Name()).Match(out) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	to := service(t)
	g, on := dialling(newUpstream(t, UpstreamConfig{Sources: []netip.Addr{second}}), to.Port(), here)
	open(t, g, on) // whatever the runtime opens but once is open now
	next, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(next.Fd()), Max: uint64(next.Fd())}
	_ = next.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	_, err = g.dial(t.Context(), on)
	var refusal *tunnel.Refusal
	if !errors.As(err, &refusal) || refusal.Label != labelNoDescriptors || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%v", err)
	}
	if got := bySource(g); got[second] != 1 {
		t.Errorf("%v", got)
	}
}

// Every label of a dial that failed has something to be done about it.
func TestDialFixes(t *testing.T) {
	_, on := dialling(nil, 443, here)
	for _, cause := range []error{
		os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ECONNREFUSED, syscall.ENETUNREACH,
		syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EACCES,
	} {
		label := refuseDial(cause).Label
		if on.fix(&Judgement{Reason: label}) == "" {
			t.Errorf("nothing for %s", label)
		}
		if _, taken := ticketFixes[ticket.Reason(label)]; taken {
			t.Errorf("%s is a ticket's reason too", label)
		}
	}
}
