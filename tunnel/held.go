package tunnel

import "net"

// handingOut hands out the stream of a Carried so that its server knows of the tunnel
// that it becomes.
type handingOut struct {
	Negotiation
	visitor *visitor
	granted bool
}

func (h *handingOut) Succeed() (Stream, error) {
	s, err := h.Negotiation.Succeed()
	if err != nil {
		return nil, err
	}
	h.granted = true
	return &held{Stream: s, visitor: h.visitor}, nil
}

// Refuse does nothing to a stream that is somebody else's by now.
func (h *handingOut) Refuse(err error) {
	if !h.granted {
		h.Negotiation.Refuse(err)
	}
}

// held is a stream of another carrier, of whose tunnel a server keeps account.
type held struct {
	Stream
	visitor *visitor
}

// Abort is the stream's.
func (h *held) Abort() { Abort(h.Stream) }

// Break is the stream's.
func (h *held) Break() { Break(h.Stream) }

func (h *held) holder() *visitor { return h.visitor }

// below is the connection, if it is nothing but one: then the tunnel can be parked.
func (h *held) below() *net.TCPConn {
	tcp, _ := h.Stream.(*net.TCPConn)
	return tcp
}
