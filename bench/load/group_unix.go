//go:build unix

package load

import (
	"os"
	"os/exec"
	"syscall"
)

// asGroup has a command and whatever it starts be one process group, which is killed
// whole when the command's context ends: a script's own children would live on. It is
// not tied to our own end (Pdeathsig): that is sent when the thread ends which started
// the command, and threads come and go.
func asGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error {
		if err := syscall.Kill(-command.Process.Pid, syscall.SIGKILL); err != syscall.ESRCH {
			return err
		}
		return os.ErrProcessDone // it ended by itself just now
	}
}

// endGroup kills what a command that has ended left behind in its group.
func endGroup(command *exec.Cmd) {
	if command.Process != nil {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
}
