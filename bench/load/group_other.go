//go:build !unix

package load

import "os/exec"

// asGroup does nothing where there are no process groups.
func asGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
