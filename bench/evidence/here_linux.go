package evidence

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// here is the machine that this process runs on.
func here() place { return place{procRoot: "/proc", sysRoot: "/sys", kernel: new(asked)} }

// processor reads the clock that clock_getcpuclockid(3) names: the process's number
// inverted, above three bits that say "all threads, as scheduled". Threads that have
// ended are in it.
func (*asked) processor(pid int) (time.Duration, error) {
	const scheduled = 2
	var now unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &now); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(now.Nano()), nil
}
