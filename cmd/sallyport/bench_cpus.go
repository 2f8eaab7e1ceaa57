package main

import (
	"fmt"
	"strconv"
	"strings"
)

// maxCore is one more than the highest core that a list may name.
const maxCore = 1024

// pinTo has this process run on the cores of a list only; an empty one changes nothing.
func pinTo(list string) error {
	if list == "" {
		return nil
	}
	cores, err := parseCores(list)
	if err != nil {
		return err
	}
	if err := pin(cores); err != nil {
		return fmt.Errorf("--cpus %s: %w", list, err)
	}
	return nil
}

// parseCores reads a list such as 2-5,8.
func parseCores(list string) ([]int, error) {
	var cores []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, is := strings.Cut(part, "-")
		if !is {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || from < 0 || to < from || to >= maxCore {
			return nil, fmt.Errorf("--cpus: %.40q is not a list of cores such as 2-5,8", list)
		}
		for core := from; core <= to; core++ {
			cores = append(cores, core)
		}
	}
	return cores, nil
}
