package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKilledCoordinator has its child die with it.
func TestKilledCoordinator(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	coordinator := exec.Command(self, "-role", "doomed")
	stdin, err := coordinator.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := coordinator.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := coordinator.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(stdout, &pid)
	child, err2 := unix.PidfdOpen(pid, 0)
	if err := errors.Join(err, err2, coordinator.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = coordinator.Wait()
	defer unix.Close(child)
	ended := []unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, int((10 * time.Second).Milliseconds())); n != 1 {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Errorf("the child of a killed coordinator lives on: %v", err)
	}
}

// TestProcessCPU compares the clock of a process with what it says of itself.
func TestProcessCPU(t *testing.T) {
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	seen, err := processCPU(os.Getpid())
	if after := spent(); err != nil || seen < before-time.Millisecond || seen > after+time.Millisecond {
		t.Errorf("the clock shows %s, and the process %s to %s: %v", seen, before, after, err)
	}
	if _, err := processCPU(1 << 23); err == nil { // above the highest there can be
		t.Error("a process that does not exist has processor time")
	}
}

func TestResident(t *testing.T) {
	const mib = 32
	before, err := resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := bytes.Repeat([]byte{1}, mib<<20)
	after, err := resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < mib<<10*3/4 {
		t.Errorf("%d MiB show as %d KiB", len(held)>>20, grown)
	}
}

func FuzzParseRSS(f *testing.F) {
	f.Add([]byte("55d0-7fff ---p 00000000 00:00 0 [rollup]\nRss:      1760 kB\nPss: 433 kB\n"), int64(1760))
	f.Add([]byte("Pss: 433 kB\n"), int64(-1))
	f.Add([]byte("Rss: 17 MB\nRss:\n"), int64(-1))
	f.Add([]byte("Rss: many kB\n"), int64(-1))
	f.Add([]byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, text []byte, want int64) {
		got, err := parseRSS(text)
		if err == nil && !bytes.Contains(text, []byte("Rss:")) {
			t.Errorf("%d KiB out of nothing", got)
		}
		if want > 0 && bytes.Contains(text, fmt.Appendf(nil, "\nRss:      %d kB\n", want)) && got != want {
			t.Errorf("%d KiB, not %d", got, want)
		}
	})
}

func FuzzParseBusy(f *testing.F) {
	f.Add([]byte("cpu  1 2 3 1000 1000 4 5 6 1000 1000\ncpu0 7 7 7 7 7 7 7 7 7 7\n"))
	f.Add([]byte("cpu"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		busy := parseBusy(text)
		if strings.HasPrefix(string(text), "cpu  1 2 3 1000 1000 4 5 6 1000 1000\n") && busy != 210*time.Millisecond {
			t.Errorf("%s, not 21 ticks", busy)
		}
	})
}
