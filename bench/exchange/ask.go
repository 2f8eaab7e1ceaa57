package exchange

import (
	"errors"
	"fmt"
	"time"
)

// The bounds of an ask.
const (
	MaxBody  = 1 << 40 // bytes of one body
	MaxHold  = time.Hour
	MaxWrite = 64 << 10 // bytes of one write
)

// What ends an exchange, beside what the connection itself reports.
var (
	// ErrGarbled says that bytes of a body are not where they belong, or that an
	// answer is another exchange's.
	ErrGarbled = errors.New("exchange: bytes were lost, doubled or swapped")
	// ErrProtocol says that a head cannot be one: the other side is something else.
	ErrProtocol = errors.New("exchange: the other side does not speak this protocol")
	// ErrVersion says that the other side speaks another version of it.
	ErrVersion = errors.New("exchange: the other side speaks another version")
	// ErrRefused says that the service did not take the ask.
	ErrRefused = errors.New("exchange: the service refuses the ask")
)

// Ask is one question of a client to the service: what goes up, what comes down,
// and how long the service is to hold the answer back. On a connection asks follow
// one another; the next is sent when the answer to the last has come whole.
type Ask struct {
	// Up and Down are the bytes of the bodies, 0 to MaxBody each. The ask's own
	// head and the answer's are not in them.
	Up, Down int64
	// Hold is how long the service waits before it answers, from the last byte of
	// the ask on: a long poll. At most MaxHold.
	Hold time.Duration
	// Write is how many bytes the service gives to one write, 1 to MaxWrite; 0
	// leaves it to the service. Through a gateway it decides the size of TLS records.
	// The answer's head goes with the first write, on top.
	Write int
}

// Check says what is out of bounds, all of it in one error.
func (a Ask) Check() error {
	var errs []error
	if a.Up < 0 || a.Up > MaxBody {
		errs = append(errs, fmt.Errorf("up is %d bytes, not 0 to %d", a.Up, int64(MaxBody)))
	}
	if a.Down < 0 || a.Down > MaxBody {
		errs = append(errs, fmt.Errorf("down is %d bytes, not 0 to %d", a.Down, int64(MaxBody)))
	}
	if a.Hold < 0 || a.Hold > MaxHold {
		errs = append(errs, fmt.Errorf("hold is %v, not 0 to %v", a.Hold, MaxHold))
	}
	if a.Write < 0 || a.Write > MaxWrite {
		errs = append(errs, fmt.Errorf("write is %d bytes, not 0 to %d", a.Write, MaxWrite))
	}
	return errors.Join(errs...)
}

// Answer is what the service says ahead of the body.
type Answer struct {
	// Late is how much longer than Hold the service took from the last byte of the
	// ask until it began to answer: its own share of the client's latency.
	Late time.Duration
}
