package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// pin has every thread of this process run on some cores only. The kernel keeps the
// set for each thread, and a new one takes that of the one it comes from, so it is gone
// over the threads until none was missed.
func pin(cores []int) error {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	done := make(map[int]bool)
	for missed := true; missed; {
		missed = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, entry := range threads {
			id, err := strconv.Atoi(entry.Name())
			if err != nil || done[id] {
				continue
			}
			missed, done[id] = true, true
			if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("the kernel does not give these cores: %w", err)
			}
		}
	}
	// As many threads at work as there are cores to work on.
	runtime.GOMAXPROCS(len(cores))
	return nil
}
