//go:build !linux

package tunnel

import "net"

// awaitTCP is for systems whose calls we know.
func awaitTCP(*net.TCPConn) func() error { return nil }
