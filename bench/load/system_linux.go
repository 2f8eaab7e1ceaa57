package load

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT of ip(7), which package syscall
// lacks. Without it a bound source takes a port of its own before the destination is
// known, and 28,000 tunnels use up the ports that would serve as many for each
// destination.
const ipBindAddressNoPort = 24

func bindWithoutPort(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", failed)
}

const (
	prSetTimerSlack = 29 // PR_SET_TIMERSLACK of prctl(2)
	// finest is how long before its end a wait is left to the kernel's own clock:
	// the runtime's timers may be a millisecond late.
	finest = 2 * time.Millisecond
)

// sharpClock binds the goroutine to a thread whose sleeps are exact to some ten
// microseconds instead of sixty. The thread ends with the goroutine.
func sharpClock() {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1000, 0) // at worst 50 µs as before
}

// nap sleeps for a time shorter than finest, and cannot be woken.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal ends it early; the caller looks at the clock
}
