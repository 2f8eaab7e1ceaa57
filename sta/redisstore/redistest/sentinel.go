package redistest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// Sentinels watch over one master; two of three must agree that it is down.
type Sentinels struct {
	Addrs      []string
	MasterName string

	processes []*process
}

// StartSentinels starts three, which give master up after 300 ms of silence, and
// waits until they know one another and its replica.
func StartSentinels(t testing.TB, master *Server) *Sentinels {
	t.Helper()
	s := &Sentinels{MasterName: "sallyport"}
	for range 3 {
		s.start(t, master)
	}
	for _, p := range s.processes {
		next := 0
		for range 2 { // both others
			var err error
			if next, err = p.await("+sentinel ", next); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.await("+slave ", 0); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *Sentinels) start(t testing.TB, master *Server) {
	t.Helper()
	for range 10 {
		port, dir := freePort(t), t.TempDir()
		lines := []string{
			"bind 127.0.0.1", fmt.Sprintf("port %d", port), "dir " + dir, "logfile \"\"",
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", s.MasterName, master.port),
			fmt.Sprintf("sentinel down-after-milliseconds %s 300", s.MasterName),
			fmt.Sprintf("sentinel failover-timeout %s 5000", s.MasterName),
		}
		if master.Password != "" {
			lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", s.MasterName, master.Password))
		}
		p := run(t, "redis-server", dir, strings.Join(lines, "\n")+"\n", "--sentinel")
		_, err := p.await("+monitor master", 0)
		if err == nil {
			t.Cleanup(func() { p.signal(syscall.SIGKILL) })
			s.Addrs, s.processes = append(s.Addrs, address(port)), append(s.processes, p)
			return
		}
		p.signal(syscall.SIGKILL)
		if !errors.Is(err, errEnded) {
			t.Fatal(err)
		}
	}
	t.Fatal("the Sentinel does not start")
}

// AwaitFailover waits until all of them have switched to another master, once.
func (s *Sentinels) AwaitFailover(t testing.TB) {
	t.Helper()
	for _, p := range s.processes {
		if _, err := p.await("+switch-master", 0); err != nil {
			t.Fatal(err)
		}
	}
}
