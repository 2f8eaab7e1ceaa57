//go:build !linux

package gateway

import (
	"syscall"
	"time"
)

// prepareSocket sets nothing: what there is to set is Linux's.
func prepareSocket(syscall.RawConn, time.Duration) error { return nil }

// portRange is not known.
func portRange() int { return 0 }
