package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to say what is waited for.
const patience = 20 * time.Second

// process is a running redis-server and what it has said.
type process struct {
	command *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex // guards below
	lines []string
	news  chan struct{} // closed, and replaced, when there is a line
}

// run starts program with a configuration file in dir.
func run(t testing.TB, program, dir, config string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing; install it: apt-get install -y redis-server redis-sentinel", program)
	}
	file := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil { // it may hold passwords
		t.Fatal(err)
	}
	p := &process{
		command: exec.Command(path, append([]string{file}, args...)...),
		ended:   make(chan struct{}), news: make(chan struct{}),
	}
	p.command.Dir = dir
	p.command.SysProcAttr = endsWithParent()
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.command.Stderr = p.command.Stdout
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	return p
}

// listen takes down what the process says, until it has ended.
func (p *process) listen(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.command.Wait() // a process that is killed has an error of its own
	close(p.ended)
}

// said looks for a text among the lines from one on. from is where to go on,
// and news is closed when there are more.
func (p *process) said(text string, from int) (found bool, next int, news <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := from; i < len(p.lines); i++ {
		if strings.Contains(p.lines[i], text) {
			return true, i + 1, p.news
		}
	}
	return false, len(p.lines), p.news
}

var errEnded = errors.New("it has ended")

// await waits until the process says a text, from a line on, and gives the line
// behind it.
func (p *process) await(text string, from int) (next int, err error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for ended := false; ; {
		found, next, news := p.said(text, from)
		switch {
		case found:
			return next, nil
		case ended:
			return next, fmt.Errorf("%q: %w:\n%s", text, errEnded, p.transcript())
		}
		from = next
		select {
		case <-news:
		case <-p.ended:
			ended = true
		case <-deadline.C:
			return next, fmt.Errorf("%q was not said within %s:\n%s", text, patience, p.transcript())
		}
	}
}

func (p *process) transcript() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[max(0, len(p.lines)-20):], "\n")
}

// signal sends one, and waits for the end where that is what it is for.
func (p *process) signal(s syscall.Signal) {
	_ = p.command.Process.Signal(s) // one that has ended already gets none
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		<-p.ended
	}
}

// freePort gives a port that nobody listens on. Ports from 32,000 up may be given
// out by the system at any moment.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if listener, err := net.Listen("tcp", address(port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
