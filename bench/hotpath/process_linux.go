package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownGroup puts a child into a process group of its own, so that it can be ended
// with whatever it started, and a Ctrl-C reaches only the coordinator. Should the
// coordinator die the kernel ends the child.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// processCPU is the processor time of a whole process so far, in user and kernel
// mode, all threads, in nanoseconds. It reads the clock that clock_getcpuclockid(3)
// names: the process id inverted, above three bits that say "all threads, as
// scheduled".
func processCPU(pid int) (time.Duration, error) {
	const scheduled = 2
	var now unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &now); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(now.Nano()), nil
}

// resident is the resident set of a process in KiB. smaps_rollup walks the page
// tables; the counters in statm are summed lazily and can be a few MiB off.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	return parseRSS(text)
}

func parseRSS(rollup []byte) (int64, error) {
	for line := range bytes.Lines(rollup) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == "Rss:" && fields[2] == "kB" {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("smaps_rollup of %d bytes has no Rss line", len(rollup))
}

// descriptors is how many files a process may have open. The runtime has raised
// the soft limit to the hard one, and does so in children that are Go programs.
func descriptors() (int, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<30)), err
}

// used is the processor time of the machine so far, stolen time included, and of
// this process and all children that it has waited for.
func used() usage {
	u := usage{at: time.Now()}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	u.all = parseBusy(text)
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var spent unix.Rusage
		if unix.Getrusage(who, &spent) == nil {
			u.ours += time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
		}
	}
	return u
}

// parseBusy sums the first line of /proc/stat but for idle and iowait, and but
// for guests, which are in user time already. It counts ticks of 10 ms.
func parseBusy(stat []byte) (busy time.Duration) {
	const idle, iowait, guest = 4, 5, 9
	first, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(first)
	for i := 1; i < min(len(fields), guest); i++ {
		if ticks, err := strconv.ParseInt(fields[i], 10, 64); err == nil && i != idle && i != iowait {
			busy += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return busy
}

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
}
