package gateway

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// prepareSocket sets what must be there before a socket is bound and connects.
func prepareSocket(c syscall.RawConn, userTimeout time.Duration) error {
	var err error
	called := c.Control(func(fd uintptr) {
		// Without this a bind takes a port at once, which then serves for no other
		// service; so the kernel chooses it when it connects, and looks at both ends.
		// It is set without a source too, since package net binds to "any" then.
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil && userTimeout > 0 {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		}
	})
	if called != nil {
		return called
	}
	return os.NewSyscallError("setsockopt", err)
}

// portRange is how many ports the kernel has for connections from one address to
// one service; 0 means that it does not say.
func portRange() int {
	const folder = "/proc/sys/net/ipv4/" // it goes for IPv6 too
	within, err := os.ReadFile(folder + "ip_local_port_range")
	if err != nil {
		return 0
	}
	reserved, err := os.ReadFile(folder + "ip_local_reserved_ports")
	if err != nil {
		return 0
	}
	return countPorts(string(within), string(reserved))
}
