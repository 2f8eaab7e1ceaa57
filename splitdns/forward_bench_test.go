package splitdns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// BenchmarkForward asks for names that nobody has in a cache: dnsperf sends each
// once, to this resolver and to unbound in turn, and both ask one authoritative
// server, knot, on the same machine. A resolver of two threads is what unbound is
// given; dnsperf and knot want their share of the processors, too. The figure that
// counts is the ratio, of one run:
//
//	apt-get install unbound knot dnsperf
//	go test -run '^$' -bench Forward -benchtime 5x ./splitdns
func BenchmarkForward(b *testing.B) {
	dir := b.TempDir()
	server := freePort(b)
	startKnot(b, dir, server)
	peer := freePort(b)
	startUnbound(b, dir, peer, server)
	ours := serveForward(b, server)

	var here, there forwarded
	for round := 0; b.Loop(); round++ {
		// In turn, so that both have the machine's good and bad moments.
		first, second := &here, &there
		at, then := ours, peer
		if round%2 == 1 {
			first, second, at, then = second, first, then, at
		}
		first.add(dnsperf(b, dir, at, round*2))
		second.add(dnsperf(b, dir, then, round*2+1))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(here.perSecond(), "queries/s")
	b.ReportMetric(there.perSecond(), "unbound-queries/s")
	b.ReportMetric(here.perSecond()/there.perSecond(), "of-unbound")
	b.ReportMetric(here.latency(), "ms")
	b.ReportMetric(there.latency(), "unbound-ms")
}

// forwarded sums up runs of dnsperf.
type forwarded struct{ rate, mean, runs float64 }

func (f *forwarded) add(rate, mean float64) {
	f.rate, f.mean, f.runs = f.rate+rate, f.mean+mean, f.runs+1
}

func (f *forwarded) perSecond() float64 { return f.rate / f.runs }
func (f *forwarded) latency() float64   { return f.mean / f.runs * 1000 }

// namesPerRun are asked for in one run, each once.
const namesPerRun = 20_000

// dnsperf asks for names that no run before asked for, and wants all answered. It
// gives the answers a second and the mean latency in seconds.
func dnsperf(b *testing.B, dir string, port, run int) (rate, mean float64) {
	b.Helper()
	var questions bytes.Buffer
	for i := range namesPerRun {
		fmt.Fprintf(&questions, "n%d-%d.example A\n", run, i)
	}
	file := filepath.Join(dir, "questions")
	must(b, os.WriteFile(file, questions.Bytes(), 0o600))
	out, err := exec.Command("dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(port), "-d", file, "-n", "1", "-c", "4", "-q", "50").CombinedOutput()
	if err != nil {
		b.Fatalf("dnsperf: %v (package dnsperf)\n%s", err, out)
	}
	figure := func(pattern string) float64 {
		found := regexp.MustCompile(pattern).FindSubmatch(out)
		if found == nil {
			b.Fatalf("dnsperf does not tell %s:\n%s", pattern, out)
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		must(b, err)
		return n
	}
	if good := figure(`NOERROR (\d+)`); good < namesPerRun*0.999 {
		b.Fatalf("not all were answered:\n%s", out)
	}
	return figure(`Queries per second:\s+([\d.]+)`), figure(`Average Latency \(s\):\s+([\d.]+)`)
}

// serveForward puts a resolver behind a port, with the cache that it has by
// default, and gives the port.
func serveForward(b *testing.B, server int) int {
	b.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(server))
	pool, err := upstream.NewPool(upstream.Config{Servers: []upstream.Server{{Network: "udp", Addr: at}}})
	must(b, err)
	b.Cleanup(pool.Close)
	resolver, err := New(Config{Public: pool})
	must(b, err)
	b.Cleanup(resolver.Close)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- stub.ServePackets(ctx, packets, forwarder{resolver}) }()
	b.Cleanup(func() { cancel(); <-ended })
	return packets.LocalAddr().(*net.UDPAddr).Port
}

// forwarder answers whoever asks.
type forwarder struct{ resolver *Resolver }

func (f forwarder) Answer(ctx context.Context, q *stub.Query) []byte {
	records, err := f.resolver.Look(ctx, q.Name, q.Type)
	if err != nil {
		return q.Fail(dns.RcodeServerFailure)
	}
	return q.Reply(records.RRs, records.Rcode)
}

func startKnot(b *testing.B, dir string, port int) {
	b.Helper()
	zone := "$ORIGIN example.\n@ 3600 SOA ns hostmaster 1 3600 900 604800 300\n@ 3600 NS ns\nns 3600 A 127.0.0.1\n* 3600 A 192.0.2.25\n"
	must(b, os.WriteFile(filepath.Join(dir, "example.zone"), []byte(zone), 0o600))
	config := fmt.Sprintf("server:\n  listen: 127.0.0.1@%d\n  rundir: %s\n  udp-workers: 1\n  tcp-workers: 1\n"+
		"database:\n  storage: %s/db\nzone:\n  - domain: example.\n    file: %s/example.zone\n", port, dir, dir, dir)
	must(b, os.WriteFile(filepath.Join(dir, "knot.conf"), []byte(config), 0o600))
	startServer(b, port, "n0.example.", "knot", "/usr/sbin/knotd", "-c", filepath.Join(dir, "knot.conf"))
}

func startUnbound(b *testing.B, dir string, port, server int) {
	b.Helper()
	config := fmt.Sprintf(`server:
  interface: 127.0.0.1
  port: %d
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  num-threads: 2
  so-reuseport: yes
  do-not-query-localhost: no
  module-config: "iterator"
  outgoing-range: 4096
  num-queries-per-thread: 2048
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@%d
remote-control:
  control-enable: no
`, port, dir, server)
	must(b, os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(config), 0o600))
	startServer(b, port, "n0.example.", "unbound", "/usr/sbin/unbound", "-d", "-p", "-c", filepath.Join(dir, "unbound.conf"))
}

// startServer runs a program that answers for a name once it is ready, until the
// benchmark's end.
func startServer(b *testing.B, port int, name, pack, program string, args ...string) {
	b.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v (package %s)", err, pack)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := dns.Client{Timeout: 100 * time.Millisecond}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil && len(answer.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not answer: %v\n%s", program, err, said.String())
		}
	}
}

func freePort(b *testing.B) int {
	b.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(b, err)
	defer packets.Close()
	return packets.LocalAddr().(*net.UDPAddr).Port
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
