package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// DeviceDNS is the name at which a device asks for the addresses of what it may
// reach: a tunnel to it on port 53 leads to the snapshot's DNS and nowhere else.
// The name is nobody's, since "internal" is set aside for private use, and is never
// looked up.
const DeviceDNS = "dns.sallyport.internal"

const deviceDNSPort = 53

// dnsIdle is how long a tunnel to the DNS may say nothing. A device asks anew for
// the price of a tunnel (RFC 7766 §6.2.3); and it has a few of them at a time, which
// those that it lost on its way from one network to the next must not take up.
const dnsIdle = time.Minute

// isForDeviceDNS tells whether the destination is the gateway's own DNS. The list
// has no say in that: neither need it have the name, nor can it lead it elsewhere.
func (t *trial) isForDeviceDNS() bool {
	return t.ask.Host.Name == DeviceDNS && t.ask.Port == deviceDNSPort
}

// decideOnDeviceDNS allows it to devices that may reach anything at all.
func (t *trial) decideOnDeviceDNS() error {
	if t.ask.Inside || t.on.DNS == nil || t.policy.NetworkAccess() == policy.AccessUnrestricted {
		t.decision = policy.Decision{Rule: t.policy.Name() + "/deny", Reason: policy.NotListed}
		return t.refusePolicy()
	}
	t.decision = policy.Decision{Allow: true, Rule: t.policy.Name() + "/dns", Reason: policy.Listed}
	t.dns = true
	return nil
}

// serveDNS gives a stream at whose other end the DNS answers, until the stream is
// closed or the snapshot is replaced.
func (f *inForce) serveDNS(view *View) tunnel.Stream {
	near, far := newPipe()
	ctx, cancel := context.WithCancel(f.current)
	s := &dnsStream{pipeEnd: near, cancel: cancel, over: make(chan struct{})}
	f.uses.Add(1) // beside the one of whoever sets the tunnel up
	go func() {
		defer close(s.over)
		defer f.drop()
		defer cancel()
		defer far.Close()
		defer f.panicked.catch()
		_ = f.DNS.ServeDNS(ctx, far, view) // what is wrong with one stream, only that device needs to know
	}()
	return s
}

// dnsStream is the tunnel's side.
type dnsStream struct {
	*pipeEnd
	cancel context.CancelFunc
	over   chan struct{} // closed when the other end is served no more
}

// Close ends the other end too.
func (s *dnsStream) Close() error {
	s.cancel()
	return s.pipeEnd.Close()
}

// dnsBehind is closed when the gateway's DNS behind a stream serves no more; nil for a
// stream that leads elsewhere.
func dnsBehind(s tunnel.Stream) <-chan struct{} {
	if dns, ok := s.(*dnsStream); ok {
		return dns.over
	}
	return nil
}

// pipeEnd is one end of two pipes in memory, which half-close apart as those of a
// TCP connection do. What was written has been read: nothing is held in between.
type pipeEnd struct {
	in, out net.Conn
	closed  atomic.Bool // by this end
}

var _ tunnel.Stream = (*pipeEnd)(nil)

func newPipe() (near, far *pipeEnd) {
	nearIn, farOut := net.Pipe()
	farIn, nearOut := net.Pipe()
	return &pipeEnd{in: nearIn, out: nearOut}, &pipeEnd{in: farIn, out: farOut}
}

func (e *pipeEnd) Read(p []byte) (int, error) {
	n, err := e.in.Read(p)
	return n, e.cause(err)
}

func (e *pipeEnd) Write(p []byte) (int, error) {
	n, err := e.out.Write(p)
	return n, e.cause(err)
}

// cause tells a pipe that this end closed from one that the other end did, which
// io.ErrClosedPipe does not.
func (e *pipeEnd) cause(err error) error {
	switch {
	case !errors.Is(err, io.ErrClosedPipe):
		return err
	case e.closed.Load():
		return net.ErrClosed
	default:
		return syscall.EPIPE
	}
}

func (e *pipeEnd) CloseWrite() error { return e.out.Close() }

func (e *pipeEnd) Close() error {
	e.closed.Store(true)
	return errors.Join(e.out.Close(), e.in.Close())
}

func (e *pipeEnd) LocalAddr() net.Addr  { return e.in.LocalAddr() }
func (e *pipeEnd) RemoteAddr() net.Addr { return e.in.RemoteAddr() }

func (e *pipeEnd) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func (e *pipeEnd) SetReadDeadline(t time.Time) error { return e.cause(e.in.SetReadDeadline(t)) }

// SetWriteDeadline does nothing to a direction that has been ended.
func (e *pipeEnd) SetWriteDeadline(t time.Time) error {
	if err := e.cause(e.out.SetWriteDeadline(t)); !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return nil
}
