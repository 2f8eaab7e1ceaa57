package epoll

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Events is what happened to a socket since it was last told. Only the low four
// bits are ever set; an owner that keeps them in a word of its own has the rest
// of it for itself.
type Events uint32

const (
	// Readable says that bytes, or the end of the stream, have arrived.
	Readable Events = 1 << iota

	// Writable says that there is room to send. It also comes with other
	// events while there is room, so it alone is no reason to do anything.
	Writable

	// Hangup says that the peer will send no more: it has shut down its side
	// (RDHUP), both sides are shut down (HUP), or the connection has failed
	// (ERR). Bytes that came before may still lie there, so a short read
	// after it does not mean that the socket is empty: read until the end of
	// the stream, or an error. It is also said of urgent data (PRI): a read
	// stops short at its mark, whatever lies behind (tcp(7)).
	Hangup

	// Broken comes with Hangup when the connection has failed, by a reset for
	// instance (ERR): no byte will be taken any more.
	Broken
)

// String names the events, for tests and stack dumps: "readable|hangup".
func (e Events) String() string {
	var names []string
	for i, name := range []string{"readable", "writable", "hangup", "broken"} {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Owner is told what happens to the two sockets of a tunnel. Side is 0 or 1,
// the socket's index in what was given to Add.
//
// Ready is called on the poller's goroutine, so never twice at once by one
// poller. It must not block, for every other tunnel waits meanwhile. Alone says
// that none does at the moment: it was the only event that was found, so to start
// a goroutine may take longer than what there is to do. It may call Add, Remove
// and Len, but not Close.
type Owner interface {
	Ready(side int, e Events, alone bool)
}

// Token names what was added. The zero Token names nothing.
type Token uint64

// ErrUnsupported is New's answer on systems without epoll. It is an
// errors.ErrUnsupported.
var ErrUnsupported = fmt.Errorf("epoll: %w", errors.ErrUnsupported)

// ErrClosed is Add's answer after Close. It is an os.ErrClosed.
var ErrClosed = fmt.Errorf("epoll: %w", os.ErrClosed)
