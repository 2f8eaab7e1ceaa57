package stub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// packetsInFlight bounds the questions of one socket that are being answered.
const packetsInFlight = 256

// ServePackets answers the queries of a socket, one a packet, until ctx ends or
// the socket is closed; it closes it itself on return, when every goroutine
// that was started is gone. It returns ctx's error, or what the socket failed
// with.
//
// It is for sockets on loopback: see the package's Bounds.
func ServePackets(ctx context.Context, pc net.PacketConn, h Handler) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	release := closeAtEnd(inner, pc)
	s := &packetServer{pc: pc, handler: h, ctx: inner, slots: make(chan struct{}, packetsInFlight)}
	err := s.read()
	cancel()
	s.answering.Wait()
	release()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("stub: reading a query: %w", err)
}

type packetServer struct {
	pc        net.PacketConn
	handler   Handler
	ctx       context.Context // ends with the socket
	slots     chan struct{}
	answering sync.WaitGroup
}

// read takes packet after packet until that fails for good. Failures of another
// kind, such as a machine short of memory, are waited out.
func (s *packetServer) read() error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	backoff := shortest
	packet := make([]byte, maxQuery+1) // the byte too many tells a query that was cut off
	for {
		size, from, err := s.pc.ReadFrom(packet)
		var network net.Error
		switch {
		case err == nil:
			backoff = shortest
			s.take(packet[:size], from)
		case errors.Is(err, net.ErrClosed), !errors.As(err, &network):
			return err
		default:
			select {
			case <-time.After(backoff):
				backoff = min(2*backoff, longest)
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		}
	}
}

// take answers a packet, which is the caller's again on return.
func (s *packetServer) take(packet []byte, from net.Addr) {
	if !mayAnswer(from) {
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return // dropped: the asker asks again
	}
	wire := append([]byte(nil), packet...)
	s.answering.Go(func() {
		defer func() { <-s.slots }()
		if answer := s.answer(wire); answer != nil {
			// An asker that is gone by now is no failure of the socket's.
			_, _ = s.pc.WriteTo(answer, from)
		}
	})
}

func (s *packetServer) answer(wire []byte) []byte {
	query, err := Parse(wire)
	var rejected *rejection
	if errors.As(err, &rejected) {
		return rejected.answer // never larger than what its question takes
	}
	answer := s.handler.Answer(s.ctx, query)
	if len(answer) > query.edns.packetSize() {
		return query.truncate(answer)
	}
	return answer
}

// mayAnswer is false for askers that cannot be: port 0 takes no packet, and
// what comes from port 53 is a name server, which two servers made to talk to
// one another by a forged packet would both be.
func mayAnswer(from net.Addr) bool {
	udp, ok := from.(*net.UDPAddr)
	return !ok || udp.Port != 0 && udp.Port != 53
}

// truncate cuts an answer to what fits into a packet for the asker. It keeps
// whole records, and TC says that there is more over a stream.
func (q *Query) truncate(answer []byte) []byte {
	var m dns.Msg
	if err := m.Unpack(answer); err == nil && IsAnswer(answer, q.wire) {
		m.Truncate(q.edns.packetSize())
		if cut, err := m.Pack(); err == nil && len(cut) <= q.edns.packetSize() {
			return cut
		}
	}
	// What the handler brought is not for this question, or cannot be cut. The asker may see for itself.
	m = *q.answer(Success, nil)
	m.Truncated = true
	cut, err := m.Pack()
	if err != nil {
		return nil // cannot be: the question was read off the wire
	}
	return cut
}
