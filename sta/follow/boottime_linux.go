package follow

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
