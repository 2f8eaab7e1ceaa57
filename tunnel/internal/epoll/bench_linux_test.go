package epoll

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What does it cost to be woken? A byte goes to an echo and comes back, and the
// echo is served in one of four ways:
//
//	by=goroutine   one that blocks in net.Conn.Read, the runtime's way
//	by=go          this poller, with a new goroutine for each event
//	by=worker      this poller, with one resident goroutine that gets them by a channel
//	by=ready       this poller, within Ready: not allowed, but the floor
//
// The poller owns a duplicate of the descriptor, and the net.Conn is closed, as
// a parked tunnel has it. Compare by
//
//	go test -run '^$' -bench Echo -count 6 ./tunnel/internal/epoll | tee new.txt
//	benchstat -col /by new.txt
func BenchmarkEcho(b *testing.B) {
	for _, over := range []string{"tcp", "unix"} {
		for _, conns := range []int{1, 32} {
			for _, by := range []string{"goroutine", "go", "worker", "ready"} {
				b.Run(fmt.Sprintf("over=%s/conns=%d/by=%s", over, conns, by), func(b *testing.B) {
					benchmarkEcho(b, connect(b, over, conns), by)
				})
			}
		}
	}
}

// line is a client's connection and its server's.
type line struct{ client, server net.Conn }

func benchmarkEcho(b *testing.B, lines []line, by string) {
	var servers sync.WaitGroup
	if by == "goroutine" {
		for _, l := range lines {
			servers.Go(func() { echoBlocking(l.server) })
		}
	} else {
		p := start(b)
		handle := func(fd int) { echo(fd) }
		switch by {
		case "go":
			handle = func(fd int) { go echo(fd) }
		case "worker":
			work := make(chan int, len(lines))
			servers.Go(func() {
				for fd := range work {
					echo(fd)
				}
			})
			handle = func(fd int) { work <- fd }
			defer servers.Wait()
			defer close(work)
			defer p.Close() // before work is closed: Ready sends on it
		}
		for _, l := range lines {
			fd, idle := duplicate(b, l.server), pair(b)
			l.server.Close()
			add(b, p, &served{fd, handle}, [2]int{fd, idle[0]})
		}
	}

	took := make([][]time.Duration, len(lines))
	rounds := b.N/len(lines) + 1
	for i := range took {
		took[i] = make([]time.Duration, 0, rounds)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var clients sync.WaitGroup
	for i, l := range lines {
		clients.Go(func() {
			buf := []byte{'x'}
			for range rounds {
				began := time.Now()
				if _, err := l.client.Write(buf); err != nil {
					b.Error(err)
					return
				}
				if _, err := l.client.Read(buf); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	for _, l := range lines {
		l.client.Close()
	}
	if by == "goroutine" {
		servers.Wait()
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds()), "p99-ns")
}

type served struct {
	fd     int
	handle func(fd int)
}

func (s *served) Ready(side int, e Events, _ bool) {
	if side == 0 && e&Readable != 0 && e&Hangup == 0 {
		s.handle(s.fd)
	}
}

func echo(fd int) {
	var buf [64]byte
	if n, err := unix.Read(fd, buf[:]); err == nil && n > 0 {
		_, _ = unix.Write(fd, buf[:n])
	}
}

func echoBlocking(c net.Conn) {
	buf := make([]byte, 64)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func connect(b *testing.B, over string, n int) []line {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	lines := make([]line, n)
	for i := range lines {
		if over == "tcp" {
			if lines[i].client, err = net.Dial("tcp", l.Addr().String()); err != nil {
				b.Fatal(err)
			}
			if lines[i].server, err = l.Accept(); err != nil {
				b.Fatal(err)
			}
		} else {
			fds, err := openPair()
			if err != nil {
				b.Fatal(err)
			}
			lines[i] = line{conn(b, fds[0]), conn(b, fds[1])}
		}
		b.Cleanup(func() { lines[i].client.Close(); lines[i].server.Close() })
	}
	return lines
}

// conn makes a net.Conn of the descriptor, and takes it over.
func conn(b *testing.B, fd int) net.Conn {
	b.Helper()
	file := os.NewFile(uintptr(fd), "pair") // net.FileConn duplicates it
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkAddRemove(b *testing.B) {
	p := start(b)
	fds := pair(b)
	b.ReportAllocs()
	for b.Loop() {
		token, err := p.Add(&nobody{}, fds)
		if err != nil {
			b.Fatal(err)
		}
		p.Remove(token)
	}
}
