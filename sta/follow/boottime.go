package follow

import "time"

// Clock counts the time since the machine was started, whatever anybody sets the
// time of day to, and while the machine sleeps.
type Clock interface {
	// Boottime is the time since the start.
	Boottime() time.Duration
	// BootID tells one start from another; "" if nobody knows.
	BootID() string
}

// Kernel is the clock of the kernel that this process runs on. On systems other
// than Linux there is none, and so no grace.
type Kernel struct{}
