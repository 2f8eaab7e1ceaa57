package redistest

import "syscall"

// endsWithParent lets the system end a server when the test's process is gone and
// could not do so.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
