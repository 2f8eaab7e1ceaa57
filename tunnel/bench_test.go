package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	socks5 "github.com/armon/go-socks5"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// The benchmarks compare this package with the naive gateway: armon/go-socks5
// with its two io.Copy, over crypto/tls as it comes. Both run in the same
// process, one after the other, with the same certificate (ECDSA P-256), TLS
// 1.3, AES-128-GCM and X25519, over loopback TCP to the same plain service.
//
//	go test ./tunnel -run '^$' -bench 'Relay|Setup' -count 10 > new.txt
//	go tool benchstat -col /gateway new.txt     (golang.org/x/perf/cmd/benchstat)
//
// cpu-s/GiB and cpu-ms/op are the user and system time of the whole process,
// so those of the TLS client and of the service are in both columns alike: the
// gateway's own gain is larger than the ratio shown. MB/s on a machine with few
// processors is the same sum seen from another side. Compare within one run
// only, and on an otherwise quiet machine.

// bulk is what one operation of BenchmarkRelay moves.
const bulk = 64 << 20

func BenchmarkRelay(b *testing.B) {
	for _, dir := range []string{"down", "up"} {
		for _, gw := range gateways() {
			b.Run("dir="+dir+"/gateway="+gw.name, func(b *testing.B) {
				svc := startBulkService(b)
				addr := gw.start(b)
				conn := dialThrough(b, addr, svc)
				defer conn.Close()
				move := map[string]func(testing.TB, net.Conn, int){"down": pullBulk, "up": pushBulk}[dir]
				move(b, conn, 1<<20) // past TCP's slow start and the small records of a young connection
				b.SetBytes(bulk)
				before := processCPU(b)
				for b.Loop() {
					move(b, conn, bulk)
				}
				spent := processCPU(b) - before
				b.ReportMetric(spent.Seconds()/(float64(b.N)*bulk/(1<<30)), "cpu-s/GiB")
			})
		}
	}
}

// BenchmarkSetup makes a new tunnel each time, with a full handshake, moves one
// byte each way, and closes it.
func BenchmarkSetup(b *testing.B) {
	for _, gw := range gateways() {
		b.Run("gateway="+gw.name, func(b *testing.B) {
			svc := startBulkService(b)
			addr := gw.start(b)
			before := processCPU(b)
			for b.Loop() {
				conn := dialThrough(b, addr, svc)
				pushBulk(b, conn, 1)
				_ = conn.Close()
			}
			spent := processCPU(b) - before
			b.ReportMetric(spent.Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// TestBenchmarkedGatewaysWork keeps the benchmarks honest: both gateways must
// check the credential, and carry every byte.
func TestBenchmarkedGatewaysWork(t *testing.T) {
	for _, gw := range gateways() {
		t.Run(gw.name, func(t *testing.T) {
			svc := startBulkService(t)
			addr := gw.start(t)
			conn := dialThrough(t, addr, svc)
			pullBulk(t, conn, 3<<20)
			pushBulk(t, conn, 3<<20)
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			wrong := dialTLS(t, addr)
			defer wrong.Close()
			host, port := hostPort(t, svc)
			err := socks.ClientHandshake(t.Context(), wrong, socks.Auth{User: "u", Password: "wrong"}, host, port)
			if !errors.Is(err, socks.ErrAuth) {
				t.Errorf("wrong password: %v", err)
			}
		})
	}
}

type gatewayUnderTest struct {
	name  string
	start func(testing.TB) (addr string)
}

func gateways() []gatewayUnderTest {
	return []gatewayUnderTest{
		{"naive", startNaive},
		{"std", func(t testing.TB) string { return startOurs(t, StdRecords) }},
		{"direct", func(t testing.TB) string { return startOurs(t, DirectRecords) }},
	}
}

// benchTLS pins what would otherwise differ from machine to machine.
func benchTLS() *tls.Config {
	return &tls.Config{
		Certificates:     []tls.Certificate{testCertificate()},
		CurvePreferences: []tls.CurveID{tls.X25519},
		MinVersion:       tls.VersionTLS13,
	}
}

func startNaive(t testing.TB) string {
	proxy, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{"u": "p"},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := listenLoopback(t)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _ = proxy.ServeConn(tls.Server(conn, benchTLSShared())) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return l.Addr().String()
}

var benchTLSShared = sync.OnceValue(benchTLS)

func startOurs(t testing.TB, records Records) string {
	server, err := NewServer(Config{TLS: ServerTLS(benchTLS()), Handler: dialingHandler{relaysOf(t)}, Records: records})
	if err != nil {
		t.Fatal(err)
	}
	l := listenLoopback(t)
	return serve(t, server, l)
}

// dialingHandler lets in whoever knows the password, to wherever they want.
type dialingHandler struct{ relays *Relays }

// Joined and Ended satisfy Ender.
func (dialingHandler) Joined(Tunnel) {}
func (dialingHandler) Ended(Result)  {}

func (h dialingHandler) ServeTunnel(ctx context.Context, n Negotiation) {
	credential, err := n.Credential(ctx)
	if err == nil && credential.Secret != "p" {
		err = &Refusal{Label: "wrong_password"}
	}
	if err != nil {
		n.Refuse(err)
		return
	}
	destination, err := n.Destination(ctx)
	if err != nil {
		n.Refuse(err)
		return
	}
	var dialer net.Dialer
	service, err := dialer.DialContext(ctx, "tcp", destination.String())
	if err != nil {
		n.Refuse(&Refusal{Reply: socks.HostUnreachable, Label: "dial", Err: err})
		return
	}
	client, err := n.Succeed()
	if err != nil {
		_ = service.Close()
		return
	}
	h.relays.Run(client, service.(*net.TCPConn), Limits{}, h)
}

// The bulk service reads a command, D or U and eight bytes of length, and sends
// or takes as many bytes; a U is answered with one byte when all have come.
func startBulkService(t testing.TB) string {
	l := listenLoopback(t)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serveBulk(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return l.Addr().String()
}

func serveBulk(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 256<<10)
	for {
		var command [9]byte
		if _, err := io.ReadFull(conn, command[:]); err != nil {
			return
		}
		left := 0
		for _, c := range command[1:] {
			left = left<<8 | int(c)
		}
		if command[0] == 'D' {
			for left > 0 {
				n, err := conn.Write(buf[:min(left, len(buf))])
				if err != nil {
					return
				}
				left -= n
			}
			continue
		}
		for left > 0 {
			n, err := conn.Read(buf[:min(left, len(buf))])
			if err != nil {
				return
			}
			left -= n
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			return
		}
	}
}

func bulkCommand(name byte, n int) []byte {
	command := []byte{name}
	for shift := 56; shift >= 0; shift -= 8 {
		command = append(command, byte(n>>shift))
	}
	return command
}

var benchBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

func pullBulk(t testing.TB, conn net.Conn, n int) {
	if _, err := conn.Write(bulkCommand('D', n)); err != nil {
		t.Fatal(err)
	}
	buf := benchBuffers.Get().(*[256 << 10]byte)
	defer benchBuffers.Put(buf)
	for n > 0 {
		k, err := conn.Read(buf[:min(n, len(buf))])
		if err != nil {
			t.Fatal(err)
		}
		n -= k
	}
}

func pushBulk(t testing.TB, conn net.Conn, n int) {
	if _, err := conn.Write(bulkCommand('U', n)); err != nil {
		t.Fatal(err)
	}
	buf := benchBuffers.Get().(*[256 << 10]byte)
	defer benchBuffers.Put(buf)
	for n > 0 {
		k, err := conn.Write(buf[:min(n, len(buf))])
		if err != nil {
			t.Fatal(err)
		}
		n -= k
	}
	if _, err := io.ReadFull(conn, buf[:1]); err != nil {
		t.Fatal(err)
	}
}

func processCPU(t testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func dialTLS(t testing.TB, addr string) *tls.Conn {
	conn, err := tls.Dial("tcp", addr, &tls.Config{
		RootCAs:          testRoots(),
		ServerName:       testName,
		CurvePreferences: []tls.CurveID{tls.X25519},
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func dialThrough(t testing.TB, gateway, service string) net.Conn {
	conn := dialTLS(t, gateway)
	host, port := hostPort(t, service)
	if err := socks.ClientHandshake(context.Background(), conn, socks.Auth{User: "u", Password: "p"}, host, port); err != nil {
		t.Fatal(err)
	}
	return conn
}
