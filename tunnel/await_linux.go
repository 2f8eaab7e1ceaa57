package tunnel

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// awaitTCP looks for a byte and leaves it there. The runtime forgets an event once it
// was waited for, so it has to be looked for first. An error of the connection's is
// told but once, so it is told here.
func awaitTCP(conn *net.TCPConn) func() error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var b [1]byte
	var failed error
	found := func(fd uintptr) bool {
		for {
			_, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1,
				unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				return true
			case unix.EAGAIN:
				return false
			case unix.EINTR:
			default:
				failed = socketError("read", errno)
				return true
			}
		}
	}
	return func() error {
		if err := raw.Read(found); err != nil {
			return err
		}
		return failed
	}
}
