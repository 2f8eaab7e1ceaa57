package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"
)

// The kinds of failure, to be told apart by errors.Is. The text of an error
// names each server that was asked and what came of it.
var (
	// ErrTimeout: no server answered in time, by the pool's limits or the
	// caller's.
	ErrTimeout = errors.New("no answer in time")
	// ErrFailed: everything else: servers that are unreachable, refuse, fail
	// or talk nonsense, a caller that gave up (context.Canceled is in the
	// chain too), a pool that is closed (ErrClosed is) or has no servers.
	ErrFailed = errors.New("no server gave an answer")
	// ErrClosed is in the chain when the pool was closed.
	ErrClosed = errors.New("the pool is closed")
)

// Question is what a server is asked, in class IN, with recursion desired.
type Question struct {
	// Name is normalised: lower case, A-labels, no trailing dot. Any printable
	// ASCII may stand in a label but the backslash; the root cannot be asked.
	Name string
	// Type is the record type, of those that a server answers with records:
	// no zone transfer, no OPT.
	Type uint16
}

// Reply is an answer: records, no such name (NXDOMAIN), or no such records.
type Reply struct {
	// Msg belongs to the caller. Its question is as it was asked, in lower
	// case. Names in records may come in any case: compare without it. An OPT
	// record may be among the additional ones.
	Msg *dns.Msg
	// Server is who answered.
	Server Server
}

// Config is what a Pool is made of.
type Config struct {
	// Servers in order of preference: the first that is up is asked first.
	// 1 to 16, each once. SystemPool takes them from its file instead.
	Servers []Server
	// RootCAs vouch for servers over TLS and HTTPS; nil is the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one attempt at one server, from dialling to the last byte;
	// 0 is 1.5 s.
	Timeout time.Duration
	// Attempts bounds how often servers are asked for one question, in all;
	// 0 is 3, or as many as there are servers if there are more.
	Attempts int
	// Dial connects to a server; nil is a net.Dialer. The network is "udp" or
	// "tcp". A udp connection must keep datagrams apart and take none from
	// another sender, deadlines must work, and the context must be honoured,
	// or Ask and Close wait.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now tells the time for what a pool remembers of servers; nil is time.Now.
	Now func() time.Time
	// Hooks may be left empty.
	Hooks Hooks
}

// Hooks tell what a pool finds out about its servers. Each may be nil; all are
// called on the way to an answer, by several goroutines, so they must be quick
// and not call the pool.
type Hooks struct {
	// Down: the server failed three times in a row, and was not heard of late if
	// the last time was silence; cause is the last failure.
	Down func(server Server, cause error)
	// Up: a server that was down has answered.
	Up func(server Server)
	// Lied: a message came from the server, or in its name, that does not
	// answer what was asked. It was dropped, and the waiting went on.
	Lied func(server Server, about Lie)
	// Panicked: a defect ended an attempt; nil lets it end the process.
	Panicked func(value any, stack []byte)
}

// Lie is what was wrong with a dropped message, in one word: id, question, case
// or garbage.
type Lie string

// Everything that can be wrong with a message while it is still unclear whether
// the server sent it.
const (
	lieID       Lie = "id"       // no query with this id is open
	lieQuestion Lie = "question" // the id is right, the question is another
	lieCase     Lie = "case"     // the name comes back in other letters (UDP only)
	lieGarbage  Lie = "garbage"  // not an answer in the form of RFC 1035 §4.1
)
