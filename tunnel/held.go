package tunnel

import "net"

// handingOut hands out the stream of a Carried so that its server knows of the tunnel
// that it becomes.
type handingOut struct {
	Negotiation
	visitor *visitor
}

func (g handingOut) Succeed() (Stream, error) {
	s, err := g.Negotiation.Succeed()
	if err != nil {
		return nil, err
	}
	return &held{Stream: s, visitor: g.visitor}, nil
}

// held is a stream of another carrier, of whose tunnel a server keeps account.
type held struct {
	Stream
	visitor *visitor
}

// Abort is the stream's.
func (h *held) Abort() { Abort(h.Stream) }

func (h *held) holder() *visitor { return h.visitor }

// below is the connection, if it is nothing but one: then the tunnel can be parked.
func (h *held) below() *net.TCPConn {
	tcp, _ := h.Stream.(*net.TCPConn)
	return tcp
}
