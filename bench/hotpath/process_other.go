//go:build !linux

package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func processCPU(int) (time.Duration, error) { return 0, unmeasurable() }
func resident(int) (int64, error)           { return 0, unmeasurable() }
func descriptors() (int, error)             { return 0, unmeasurable() }
func kernel() string                        { return runtime.GOOS }
func used() usage                           { return usage{} }

func unmeasurable() error {
	return fmt.Errorf("hotpath measures on Linux only, not on %s", runtime.GOOS)
}
