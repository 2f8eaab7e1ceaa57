package httpconnect

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// Inside is a listener of tunnel.Carried: a static proxy without authentication, in
// plain HTTP/1.1, for servers on the inside that know no tickets. Its clients are
// those whose address is allowed; others are closed without a word. It goes by the
// address of the connection alone: Forwarded and X-Forwarded-For count for nothing,
// and the PROXY protocol is no request.
//
// Closing it closes l.
func Inside(l net.Listener, allowed func(netip.Addr) bool) net.Listener {
	return &inside{Listener: l, allowed: allowed}
}

type inside struct {
	net.Listener
	allowed func(netip.Addr) bool
}

// Accept satisfies net.Listener.
func (l *inside) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(tunnel.Stream)
		if ok && l.allowed(addrPort(conn.RemoteAddr()).Addr().Unmap().WithZone("")) {
			return &insider{Stream: tcp}, nil
		}
		_ = conn.Close()
	}
}

// insider is a connection of the inside door.
type insider struct {
	tunnel.Stream
	ahead []byte // what came behind the request
	wait  time.Time
}

var _ tunnel.Carried = (*insider)(nil)

func (s *insider) Peer() tunnel.Peer {
	return tunnel.Peer{
		Carrier: CarrierInside, Remote: addrPort(s.RemoteAddr()), Local: addrPort(s.LocalAddr()),
	}
}

func (s *insider) Abort() { tunnel.Abort(s.Stream) }
func (s *insider) Break() { tunnel.Break(s.Stream) }

// Read returns what came ahead first.
func (s *insider) Read(p []byte) (int, error) {
	if len(s.ahead) > 0 {
		n := copy(p, s.ahead)
		s.ahead = s.ahead[n:]
		return n, nil
	}
	s.ahead = nil
	return s.Stream.Read(p)
}

func (s *insider) Negotiation(a tunnel.Admission) tunnel.Negotiation {
	s.wait = a.Peer.Deadline
	n := &insideNegotiation{stream: s}
	n.peer, n.voice = a.Peer, insideVoice{s, a.Settle}
	return n
}

// insideNegotiation reads the request when it is asked for the credential.
type insideNegotiation struct {
	negotiation
	stream *insider
}

// Credential reads the request. It is of nobody.
func (n *insideNegotiation) Credential(ctx context.Context) (tunnel.Credential, error) {
	if n.step == stepCredential {
		n.wish = n.stream.hear(ctx)
	}
	return n.negotiation.Credential(ctx)
}

// hear reads one request, which the end of ctx ends.
func (s *insider) hear(ctx context.Context) wish {
	moved := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(moved)
		_ = s.SetReadDeadline(aLongTimeAgo)
	})
	heard := newHearing(s.Stream)
	r, hosts, err := heard.next()
	if !stop() {
		<-moved
		_ = s.SetReadDeadline(s.wait)
	}
	switch {
	case errors.Is(heard.err, errHeadTop):
		return wish{refusal: tooLarge()}
	case err != nil && heard.err != nil:
		return wish{refusal: broken(ctx, heard.err)}
	case err != nil:
		return wish{refusal: malformed(err.Error())}
	case r.Method != http.MethodConnect:
		refusal := flawed(&Flaw{"not a CONNECT", "have the server ask for https:// addresses by this proxy: it fetches nothing itself"})
		refusal.Status, refusal.Label = http.StatusMethodNotAllowed, LabelUnsupported
		return wish{refusal: refusal}
	}
	rest, _ := heard.in.Peek(heard.in.Buffered())
	s.ahead = append(s.ahead, rest...)
	return (&Carrier{}).wishOf(r, hosts, true)
}

// broken is the refusal of a client whose connection failed while it was heard.
func broken(ctx context.Context, err error) *tunnel.Refusal {
	refusal := gone(err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		refusal.Status, refusal.Label, refusal.Text = 503, tunnel.LabelCancelled, "request: ended from our side"
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		refusal.Status, refusal.Label, refusal.Text = 408, tunnel.LabelTimeout, "request: the client took too long"
	default:
		refusal.Text = "request: the client went away"
	}
	return refusal
}

// insideVoice answers on a connection of a request's own, and settles.
type insideVoice struct {
	stream *insider
	settle func() error
}

const (
	lingerBound = time.Second
	lingerBytes = 64 << 10
)

// refuse answers and reads on for a while, since a close with bytes unread would
// send a reset, which may overtake the answer.
func (v insideVoice) refuse(a answer) {
	_ = v.stream.SetDeadline(time.Now().Add(lingerBound))
	_, err := v.stream.Write(a.http1(http.MethodConnect, true))
	if err == nil {
		err = v.stream.CloseWrite()
	}
	if err == nil {
		_, _ = io.CopyN(io.Discard, v.stream, lingerBytes)
	}
	_ = v.stream.Close()
}

func (v insideVoice) succeed() (tunnel.Stream, error) {
	if err := v.settle(); err != nil {
		return nil, err
	}
	_, err := io.WriteString(v.stream, established)
	if err == nil {
		err = v.stream.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = v.stream.Close()
		return nil, gone(err)
	}
	if tcp, ok := v.stream.Stream.(*net.TCPConn); ok && len(v.stream.ahead) == 0 {
		return tcp, nil // nothing but a connection: its tunnel can be parked
	}
	return v.stream, nil
}
