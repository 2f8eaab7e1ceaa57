//go:build unix

package exchange

import (
	"errors"
	"io"
	"syscall"
)

const rawCalls = true

// readOnce reads what there is. It returns false if there is nothing yet; the caller
// then waits until there may be, and calls it again.
func (m *meter) readOnce(fd uintptr) bool {
	m.resume()
	for {
		n, err := syscall.Read(int(fd), m.rest)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			m.block()
			return false
		case err != nil:
			m.err = err
		case n == 0:
			m.err = io.EOF
		default:
			m.n = n
		}
		return true
	}
}

// writeAll writes what is left. It returns false if the socket takes no more yet.
func (m *meter) writeAll(fd uintptr) bool {
	m.resume()
	for len(m.rest) > 0 {
		n, err := syscall.Write(int(fd), m.rest)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			m.block()
			return false
		case err != nil:
			m.err = err
			return true
		}
		m.n += n
		m.rest = m.rest[n:]
	}
	return true
}
