//go:build !linux

package load

import (
	"syscall"
	"time"
)

// bindWithoutPort is nil: only Linux binds an address and leaves the port for later.
var bindWithoutPort func(network, address string, c syscall.RawConn) error

const finest = 0

func sharpClock() {}

func nap(d time.Duration) { time.Sleep(d) }
