package quic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alone runs the test once more, in a network namespace of its own that has no way
// out, and returns true there. It needs no privilege where users may make namespaces,
// as on Debian.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "SALLYPORT_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	again := exec.Command(os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1")
	again.Env = append(os.Environ(), mark+"="+t.Name())
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

// ip runs the program of that name, which may not be on everybody's PATH.
func ip(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		path = "/usr/sbin/ip"
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s (package iproute2)", strings.Join(args, " "), err, out)
	}
}

// A phone loses the network that it was on: its address is gone, and both sides'
// packets cannot even be sent. The connection outlives it, and goes on from another
// network.
func TestPathIsCut(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	const wifi, mobile = "10.9.1.1", "10.9.2.1"
	ip(t, "link", "set", "lo", "up")
	ip(t, "addr", "add", wifi+"/32", "dev", "lo")
	ip(t, "addr", "add", mobile+"/32", "dev", "lo")

	g := serve(t, Config{}, map[string]any{"source": relayed(source)})
	conn, err := (&Dialer{TLS: testClientTLS(), Listen: func(context.Context) (net.PacketConn, error) {
		return udpSocket(t, wifi+":0"), nil
	}}).Dial(within(t), g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := open(t, conn, "source")
	ask(t, s, download)
	sum := sha256.New()
	if _, err := io.CopyN(sum, s, download/10); err != nil {
		t.Fatal(err)
	}

	ip(t, "addr", "del", wifi+"/32", "dev", "lo")
	_ = s.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	early, err := io.Copy(sum, s)
	if !errors.Is(err, os.ErrDeadlineExceeded) || early == download-download/10 {
		t.Fatalf("after the cut %d bytes came, then %v", early, err)
	}

	began := time.Now()
	if err := conn.Migrate(within(t), udpSocket(t, mobile+":0")); err != nil {
		t.Fatal(err)
	}
	moved := time.Since(began)
	_ = s.SetReadDeadline(time.Time{})
	in := &pauses{Reader: s, last: began}
	if _, err := io.Copy(sum, in); err != nil || !bytes.Equal(sum.Sum(nil), sumOfNoise(download)) {
		t.Errorf("other bytes came, or not all: %v", err)
	}
	t.Logf("after 500 ms without a network: moved in %v, longest pause from then on %v", moved, in.longest)
}
