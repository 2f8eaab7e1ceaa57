package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// alone runs the test once more, in a network namespace of its own that has no
// way out: it may have any addresses, public ones and port 53 among them, and
// disturbs nobody. It returns true there.
//
// It needs no privilege where users may make namespaces, as on Debian. What is built
// for the test is built out here.
func alone(t *testing.T, programs ...tool) bool {
	t.Helper()
	const mark = "SALLYPORT_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	for _, b := range programs {
		b.provide(t)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1")
	again.Env = append(os.Environ(), mark+"="+t.Name(), "GORACE=atexit_sleep_ms=0")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The signal comes when the thread that started it is gone, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := again.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil && strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Logf("%s", out)
	case errors.As(err, &exit) || err == nil:
		t.Errorf("in its namespace: %v\n%s", err, out)
	default:
		t.Errorf("a namespace is needed, which this user may not make here: %v", err)
	}
	return false
}

// tool is a program as users have it, without the race detector, for what is about
// megabits and milliseconds.
type tool struct{ name, pkg string }

var (
	builtSallyport = tool{"sallyport-built", "."}
	builtHotpath   = tool{"hotpath-built", "../../bench/hotpath"}
)

// provide builds the program beside the sallyport of the tests, where the PATH finds
// it, also that of a test that runs alone; the folder goes with the whole test run.
// The first test that needs it builds it for all.
func (b tool) provide(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(b.name); err == nil {
		return
	}
	beside, err := exec.LookPath("sallyport")
	if err != nil {
		t.Fatal(err)
	}
	// Built as make build does it, so that what was compiled there is at hand already.
	begun := filepath.Join(t.TempDir(), b.name)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", begun, b.pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", b.pkg, err, out)
	}
	// It appears whole: another test may be looking for it.
	if err := os.Rename(begun, filepath.Join(filepath.Dir(beside), b.name)); err != nil {
		t.Fatal(err)
	}
}

// addresses gives the namespace addresses; loopback is among them.
func addresses(t *testing.T, addrs ...string) {
	t.Helper()
	commands := [][]string{{"link", "set", "lo", "up"}}
	for _, addr := range addrs {
		commands = append(commands, []string{"addr", "add", addr + "/32", "dev", "lo"})
	}
	for _, args := range commands {
		if out, err := exec.Command(program("ip"), args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s (package iproute2)", strings.Join(args, " "), err, out)
		}
	}
}

// program finds one that is for administrators, whose folder is not on everybody's
// PATH.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// dnsServer runs unbound at an address, port 53, with these records and no others.
func dnsServer(t *testing.T, dir, addr string, records ...string) {
	t.Helper()
	var data strings.Builder
	for _, record := range records {
		fmt.Fprintf(&data, "  local-data: '%s'\n", record)
	}
	name := "unbound-" + addr
	file := filepath.Join(dir, name+".conf")
	config := fmt.Sprintf(`server:
  interface: %s
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "%s"
  pidfile: ""
  log-queries: yes
  num-threads: 1
  local-zone: "." static
%sremote-control:
  control-enable: no
`, addr, dir, data.String())
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(dir, name, os.Environ(), program("unbound"), "-d", "-p", "-c", file)
	if err != nil {
		t.Fatalf("%v (package unbound)", err)
	}
	t.Cleanup(p.kill)
	if _, err := p.stderr.await(regexp.MustCompile("start of service"), 1, p.ended); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, p.stderr.String())
	}
}

// banner accepts at an address and says which it is, to whoever comes.
func banner(t *testing.T, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(addr + "\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
}
