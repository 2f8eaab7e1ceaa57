package certs

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrNotLoopback is the cause when development certificates are asked to serve
// a listener that others can reach.
var ErrNotLoopback = errors.New("development certificates serve loopback listeners only")

// CheckLoopback refuses a listener for OpenDev's certificates unless its
// address is a loopback one. The unspecified address listens everywhere and is
// refused too.
func CheckLoopback(addr netip.AddrPort) error {
	if addr.Addr().Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("certs: %w, and %s is none; listen on 127.0.0.1 or give certificate files", ErrNotLoopback, addr)
}
