package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/bench/standin"
	"github.com/sallyport/sallyport/certs"
)

// TestMain makes the test binary the program as well: called by the name
// sallyport it is nothing else, with the race detector in it if the tests have
// it. The scripts and the transfers start it by that name, off the PATH.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"sallyport": main})
}

// leakless runs the tests, and then wants their goroutines to be gone.
type leakless struct{ *testing.M }

func (l leakless) Run() int {
	code := l.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience bounds every wait for another process. What is waited for takes
// milliseconds; this is for a machine that is busy with something else.
const patience = 30 * time.Second

// process is a program that was started.
type process struct {
	name           string
	cmd            *exec.Cmd
	stdout, stderr *transcript
	ended          chan struct{} // closed when it has ended, and all it wrote is there
}

// startProcess starts a program in dir. What it writes can be waited for, and
// also goes into NAME.out and NAME.err there.
func startProcess(dir, name string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, ended: make(chan struct{})}
	var err error
	if p.stdout, err = newTranscript(filepath.Join(dir, name+".out")); err != nil {
		return nil, err
	}
	if p.stderr, err = newTranscript(filepath.Join(dir, name+".err")); err != nil {
		return nil, errors.Join(err, p.stdout.close())
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = patience
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, p.stdout.close(), p.stderr.close())
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code says it
		_ = p.stdout.close()
		_ = p.stderr.close()
	}()
	return p, nil
}

// failure stands for any exit code but 0: for other people's programs, whose
// code depends on what they noticed first.
const failure = -1

// end waits until the process ends by itself, with this exit code.
func (p *process) end(code int) error {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return fmt.Errorf("%s still runs after %v", p.name, patience)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code && (code != failure || got <= 0) {
		return fmt.Errorf("%s ended with %d, not %d", p.name, got, code)
	}
	return checkRaces(p.name, p.stderr.String())
}

// kill is for the way out of a test that has failed.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// checkRaces looks for the race detector's words. It changes the exit code of
// a program only if that would have been 0.
func checkRaces(name, stderr string) error {
	if strings.Contains(stderr, "WARNING: DATA RACE") {
		return fmt.Errorf("%s has a data race:\n%s", name, stderr)
	}
	return nil
}

// transcript is what somebody has written so far.
type transcript struct {
	file *os.File // has it too; nil for none

	mu   sync.Mutex
	text []byte
	more chan struct{} // closed, and made anew, whenever something is written
}

func newTranscript(path string) (*transcript, error) {
	t := &transcript{more: make(chan struct{})}
	var err error
	if path != "" {
		t.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	}
	return t, err
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	close(t.more)
	t.more = make(chan struct{})
	if t.file == nil {
		return len(p), nil
	}
	return t.file.Write(p)
}

func (t *transcript) close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// await waits until the pattern has matched n times, and returns the first
// match with its groups. over, if not nil, is closed when no more will come.
func (t *transcript) await(pattern *regexp.Regexp, n int, over <-chan struct{}) ([]string, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for last := false; ; {
		t.mu.Lock()
		found := pattern.FindAllSubmatch(t.text, n)
		more := t.more
		t.mu.Unlock()
		if len(found) == n {
			var groups []string
			for _, group := range found[0] {
				groups = append(groups, string(group))
			}
			return groups, nil
		}
		if last {
			return nil, fmt.Errorf("it ended with %d of %d matches for %q", len(found), n, pattern)
		}
		select {
		case <-more:
		case <-over:
			last = true
		case <-late.C:
			return nil, fmt.Errorf("%d of %d matches for %q after %v", len(found), n, pattern, patience)
		}
	}
}

// ports hands out free ports for programs that must be told one. They lie below
// those that systems give to outgoing connections: another test's client
// cannot take one before the program does.
type ports struct {
	mu   sync.Mutex
	next int
}

const (
	firstPort = 20_000
	lastPort  = 31_999
)

// newPorts begins where other tests on this machine are not likely to be.
func newPorts() *ports { return &ports{next: firstPort + os.Getpid()*64%(lastPort-firstPort)} }

func (p *ports) free() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort {
		port := p.next
		if p.next++; p.next > lastPort {
			p.next = firstPort
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// mailServer is the stand-in behind the gateway. It runs in the test's process,
// so that mail comes when the test says so.
type mailServer struct {
	*standin.Server
	port   int
	roots  *x509.CertPool
	log    *transcript // "holding KIND", "answered KIND STATUS"
	served chan error
}

// The hosts that the mail server stands for.
const (
	mailHost = "mail.example.com"
	ewsHost  = "ews.example.com"
)

// startMailServer listens on a free port, with certificates in dir.
func startMailServer(dir string) (*mailServer, error) {
	identity, err := certs.OpenDev(dir, []string{mailHost, ewsHost})
	if err != nil {
		return nil, err
	}
	m := &mailServer{served: make(chan error, 1)}
	if m.roots, err = certs.DevRoots(dir); err != nil {
		return nil, err
	}
	if m.log, err = newTranscript(""); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m.port = listener.Addr().(*net.TCPAddr).Port
	m.Server = standin.New(standin.Config{
		TLS: &tls.Config{GetCertificate: identity.GetCertificate, MinVersion: tls.VersionTLS12},
		Hooks: &standin.Hooks{
			Holding: func(k standin.Kind) { fmt.Fprintf(m.log, "holding %v\n", k) },
			Request: func(r standin.Request) { fmt.Fprintf(m.log, "answered %v %d\n", r.Kind, r.Status) },
		},
	})
	go func() { m.served <- m.Serve(listener) }()
	return m, nil
}

func (m *mailServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(m.Shutdown(ctx), <-m.served)
}

// writeExample writes the shipped example with other ports than its own.
func writeExample(path string, authority, gateway, mail int) error {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "sallyport.yaml"))
	if err != nil {
		return err
	}
	text := string(data)
	for old, port := range map[string]int{"127.0.0.1:8442": authority, "127.0.0.1:8443": gateway, mailHost + ":8444": mail} {
		if strings.Count(text, old) != 1 {
			return fmt.Errorf("the shipped example should have %s once", old)
		}
		host, _, _ := strings.Cut(old, ":")
		text = strings.Replace(text, old, fmt.Sprintf("%s:%d", host, port), 1)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
