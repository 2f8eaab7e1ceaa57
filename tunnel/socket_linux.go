package tunnel

import (
	"io"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is one side of a parked tunnel: a descriptor, which does not block, and
// what the events have said about it. They are edges: what they said holds until
// the kernel says otherwise.
type socket struct {
	fd       int
	readable bool // a read may find something
	writable bool // a write may be taken
	hung     bool // the peer has ended its direction, or all of it: read on to see
	took     bool // bytes were read since somebody looked
	ended    bool // it is over with what ended our direction, and not with a reset
}

// take duplicates a connection's descriptor and lets go of the connection, with
// all that the runtime keeps for it.
func take(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	if ctlErr := raw.Control(func(of uintptr) {
		fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	}); ctlErr != nil {
		return -1, ctlErr
	}
	return fd, err
}

// read reads without waiting; errNoWait says that nothing is there. A read that
// fills less than it could has found all there was, unless the peer hung up:
// the end of the stream is no byte.
func (s *socket) read(p []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, p)
		if err != unix.EINTR {
			return s.readOutcome(n, len(p), err)
		}
	}
}

// readv is read into several places.
func (s *socket) readv(vecs []unix.Iovec, room int) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(s.fd), uintptr(unsafe.Pointer(&vecs[0])), uintptr(len(vecs)))
		switch errno {
		case 0:
			return s.readOutcome(int(n), room, nil)
		case unix.EINTR:
		default:
			return s.readOutcome(-1, room, errno)
		}
	}
}

func (s *socket) readOutcome(n, room int, err error) (int, error) {
	switch {
	case err == unix.EAGAIN:
		s.readable = false
		return 0, errNoWait
	case err != nil:
		return 0, socketError("read", err)
	case n == 0:
		return 0, io.EOF
	case n < room && !s.hung:
		s.readable = false
	}
	s.took = true
	return n, nil
}

// write writes what is taken without waiting.
func (s *socket) write(vecs []unix.Iovec) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(s.fd), uintptr(unsafe.Pointer(&vecs[0])), uintptr(len(vecs)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			s.writable = false
			return 0, errNoWait
		default:
			return 0, socketError("write", errno)
		}
	}
}

// closeWrite ends our direction.
func (s *socket) closeWrite() error {
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return socketError("shutdown", err)
	}
	return nil
}

// failure is what an asynchronous error said, or nil.
func (s *socket) failure() error {
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return socketError("getsockopt", err)
	case errno != 0:
		return socketError("read", unix.Errno(errno))
	}
	return nil
}

// close gives the descriptor back. With forget the kernel drops what it has not
// sent, and sends a reset.
func (s *socket) close(forget bool) {
	if forget {
		_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(s.fd)
}

// socketError is in the form of package net's errors. Between whom it was, the
// account says.
func socketError(call string, err error) error {
	return &net.OpError{Op: call, Net: "tcp", Err: os.NewSyscallError(call, err)}
}
