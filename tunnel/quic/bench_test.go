package quic

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// The benchmarks measure client and gateway together, since both are in this process:
//
//	go test -run '^$' -bench . -benchtime 3x ./tunnel/quic | tee new.txt
//	benchstat old.txt new.txt
//
// cpu-s/GiB is the processor time of both; the gateway's share is about half of it.

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// resident is the process's memory, after everything that can be given back was.
func resident(b *testing.B) int64 {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(status), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

const bulk = 64 << 20

func perGiB(b *testing.B, began time.Duration) {
	b.ReportMetric((processorTime(b)-began).Seconds()/(float64(b.N)*bulk/(1<<30)), "cpu-s/GiB")
}

func BenchmarkDown(b *testing.B) {
	g := serve(b, Config{}, map[string]any{"source": host(func(s tunnel.Stream) {
		p := make([]byte, 64<<10)
		for sent := 0; sent < bulk; sent += len(p) {
			if _, err := s.Write(p); err != nil {
				return
			}
		}
	})})
	conn := g.dial(b)
	keep := open(b, conn, "source")
	defer keep.Close()
	b.SetBytes(bulk)
	began := processorTime(b)
	for b.Loop() {
		s := open(b, conn, "source")
		if n, err := io.CopyBuffer(onlyWriter{io.Discard}, s, make([]byte, 64<<10)); err != nil || n != bulk {
			b.Fatal(n, err)
		}
	}
	perGiB(b, began)
}

// onlyWriter hides what else a writer can do.
type onlyWriter struct{ io.Writer }

func BenchmarkUp(b *testing.B) {
	g := serve(b, Config{}, map[string]any{"sink": host(func(s tunnel.Stream) {
		_, _ = io.CopyBuffer(onlyWriter{io.Discard}, s, make([]byte, 64<<10))
	})})
	conn := g.dial(b)
	b.SetBytes(bulk)
	began := processorTime(b)
	p := make([]byte, 64<<10)
	for b.Loop() {
		s := open(b, conn, "sink")
		for sent := 0; sent < bulk; sent += len(p) {
			if _, err := s.Write(p); err != nil {
				b.Fatal(err)
			}
		}
		_ = s.CloseWrite()
		if _, err := s.Read(p); err != io.EOF {
			b.Fatal(err)
		}
	}
	perGiB(b, began)
}

// One more tunnel on a connection, with SOCKS5, an exchange and its end.
func BenchmarkNewStream(b *testing.B) {
	g := serve(b, Config{}, map[string]any{"echo": host(func(s tunnel.Stream) { _, _ = io.CopyN(s, s, 5) })})
	conn := g.dial(b)
	began := processorTime(b)
	for b.Loop() {
		s := open(b, conn, "echo")
		say(b, s, "hello")
		hear(b, s, "hello")
		_ = s.Close()
	}
	b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
}

// One more connection, with its handshake and a first tunnel.
func BenchmarkNewConnection(b *testing.B) {
	g := serve(b, Config{}, map[string]any{"echo": host(func(s tunnel.Stream) { _, _ = io.CopyN(s, s, 5) })})
	began := processorTime(b)
	for b.Loop() {
		conn, err := (&Dialer{TLS: testClientTLS()}).Dial(b.Context(), g.addr)
		if err != nil {
			b.Fatal(err)
		}
		s := open(b, conn, "echo")
		say(b, s, "hello")
		hear(b, s, "hello")
		_ = conn.Close()
	}
	b.ReportMetric(float64((processorTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
}

// What idle connections and further idle streams of theirs take, relay included. The
// clients are another process of this program, so that only the gateway is measured.
func BenchmarkIdle(b *testing.B) {
	const connections, more = 300, 9
	g := serve(b, Config{}, map[string]any{"echo": relayed(echo)})
	empty := resident(b)
	clients := startIdlers(b, g.addr.String(), connections, more)
	clients.step(b)
	one := resident(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	clients.step(b)
	all := resident(b)
	runtime.ReadMemStats(&after)
	pairs := tcpPairCost(b)
	const streams = connections * more * 1024
	b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/streams, "heap-KiB/stream")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/streams, "stack-KiB/stream")
	b.ReportMetric(pairs, "taken-off-KiB")
	b.ReportMetric(float64(one-empty)/connections/1024-pairs, "KiB/connection")
	b.ReportMetric(float64(all-one)/connections/more/1024-pairs, "KiB/stream")
	b.ReportMetric(float64(runtime.NumGoroutine())/(connections*(1+more)), "goroutines/stream")
	b.ReportMetric(0, "ns/op")
	clients.step(b)
}

// tcpPairCost is what the services of this process take, which are no part of the
// gateway: a TCP connection and two goroutines each.
func tcpPairCost(b *testing.B) float64 {
	const count = 1000
	before := resident(b)
	var all sync.WaitGroup
	var ends []io.Closer
	for range count {
		near, far := tcpPair()
		all.Go(func() { echo(far) })
		ends = append(ends, near)
	}
	cost := float64(resident(b)-before) / count / 1024
	for _, end := range ends {
		_ = end.Close()
	}
	all.Wait()
	return cost
}

// idlers are clients in another process, who wait after each step.
type idlers struct {
	say  io.WriteCloser
	hear *bufio.Reader
}

const idlersMark = "SALLYPORT_BENCH_IDLERS"

func startIdlers(b *testing.B, addr string, connections, more int) *idlers {
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", idlersMark, addr, connections, more))
	other.Stderr = os.Stderr
	say, err := other.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	hear, err := other.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := other.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = say.Close()
		if err := other.Wait(); err != nil {
			b.Error(err)
		}
	})
	return &idlers{say, bufio.NewReader(hear)}
}

// step has them do what comes next.
func (i *idlers) step(b *testing.B) {
	if _, err := io.WriteString(i.say, "\n"); err != nil {
		b.Fatal(err)
	}
	if _, err := i.hear.ReadString('\n'); err != nil {
		b.Fatal(err)
	}
}

// beIdlers is the other process.
func beIdlers(order string) error {
	var addr string
	var connections, more int
	if _, err := fmt.Sscan(order, &addr, &connections, &more); err != nil {
		return err
	}
	gateway, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	// Its certificate is of the other process's making.
	dialer := &Dialer{TLS: &tls.Config{InsecureSkipVerify: true}}
	ctx := context.Background()
	var conns []*Conn
	tunnels := func(conn *Conn, count int) error {
		for range count {
			s, err := conn.Open(ctx)
			if err == nil {
				err = socks.ClientHandshake(ctx, s, socks.Auth{User: "u", Password: password}, "echo", 443)
			}
			if err == nil {
				_, err = io.WriteString(s, "hello")
			}
			if err == nil {
				_, err = io.ReadFull(s, make([]byte, 5))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	in := bufio.NewReader(os.Stdin)
	for _, step := range []func() error{
		func() error {
			for range connections {
				conn, err := dialer.Dial(ctx, gateway)
				if err == nil {
					err = tunnels(conn, 1)
				}
				if err != nil {
					return err
				}
				conns = append(conns, conn)
			}
			return nil
		},
		func() error {
			for _, conn := range conns {
				if err := tunnels(conn, more); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return nil },
	} {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}
