package follow

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock counts the time since the machine was started, whatever anybody sets the
// time of day to, and while the machine sleeps.
type Clock interface {
	// Boottime is the time since the start.
	Boottime() time.Duration
	// BootID tells one start from another; "" if nobody knows.
	BootID() string
}

// Kernel is the clock of the kernel that this process runs on.
type Kernel struct{}

// Boottime reads CLOCK_BOOTTIME. Should that ever fail, the time is before
// everything, and nothing counts as fresh.
func (Kernel) Boottime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return never
	}
	return time.Duration(now.Nano())
}

// BootID is random, drawn by the kernel when it starts.
func (Kernel) BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
