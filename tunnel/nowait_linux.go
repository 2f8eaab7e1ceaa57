package tunnel

import (
	"errors"
	"net"
)

// noWaitError is what crypto/tls takes for a deadline: an error that leaves the
// connection as good as before, half-read records included.
type noWaitError struct{}

func (noWaitError) Error() string   { return "tunnel: no more bytes at the moment" }
func (noWaitError) Timeout() bool   { return true }
func (noWaitError) Temporary() bool { return true }

var errNoWait net.Error = noWaitError{}

func isNoWait(err error) bool { return errors.Is(err, errNoWait) }
