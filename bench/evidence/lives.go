package evidence

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lives is an error if this host has no such process. One that we may not signal is
// one.
func Lives(pid int) error {
	p, err := os.FindProcess(pid)
	if err == nil && pid > 0 {
		err = p.Signal(syscall.Signal(0))
	}
	if errors.Is(err, os.ErrProcessDone) || pid <= 0 {
		return fmt.Errorf("there is no process %d on this host", pid)
	}
	return nil
}
