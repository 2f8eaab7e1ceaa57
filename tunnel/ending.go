package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
)

// CloseReason says why a tunnel ended. The list is closed: it is a metric
// label.
type CloseReason string

// The close reasons.
const (
	ClientClosed  CloseReason = "client_closed"  // the client finished first, and the service after it
	ServiceClosed CloseReason = "service_closed" // the other way round
	ClientError   CloseReason = "client_error"   // the client's stream failed
	ServiceError  CloseReason = "service_error"  // the service's stream failed
	Idle          CloseReason = "idle"           // Limits.Idle
	HalfClose     CloseReason = "half_close"     // Limits.HalfClose
	Stall         CloseReason = "stall"          // Limits.WriteStall
	Cut           CloseReason = "cut"            // our side ended the tunnel
	Defect        CloseReason = "defect"         // a panic, which was reported
)

// Result is the account of a tunnel.
type Result struct {
	Up     int64 // bytes from client to service, as accepted by the service's stream
	Down   int64 // bytes from service to client
	Reason CloseReason
	Err    error // the cause of ClientError and ServiceError, else nil
}

// ending gathers how a tunnel comes to its end. The first fault counts, and
// before it nothing but the first clean end.
type ending struct {
	mu       sync.Mutex  // never taken for a mere byte
	finished CloseReason // whose direction came to a clean end first; "" if none did
	fault    CloseReason // what ended the tunnel otherwise; "" if nothing did
	err      error
}

// finish notes the clean end of a direction.
func (e *ending) finish(reason CloseReason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.finished == "" {
		e.finished = reason
	}
}

// note records a fault. A stream that had come to its end already, and then
// fails, has merely been closed for good.
func (e *ending) note(reason CloseReason, err error) {
	if isCut(err) {
		reason, err = Cut, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	expected := reason == ClientError && e.finished == ClientClosed ||
		reason == ServiceError && e.finished == ServiceClosed
	if e.fault == "" && !expected {
		e.fault, e.err = reason, err
	}
}

func (e *ending) verdict() (CloseReason, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fault != "" {
		return e.fault, e.err
	}
	return e.finished, nil
}

// isCut reports whether a stream failed because our side closed it.
func isCut(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
