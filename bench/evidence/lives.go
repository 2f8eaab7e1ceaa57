package evidence

import (
	"errors"
	"os"
	"syscall"
)

// Lives is whether this host has such a process. One that we may not signal is one.
func Lives(pid int) bool {
	if pid <= 0 {
		return false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
