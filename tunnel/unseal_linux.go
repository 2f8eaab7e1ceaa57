package tunnel

import (
	"net"
	"slices"
)

func (e *entrance) below() *net.TCPConn {
	tcp, _ := e.wire.Conn.(*net.TCPConn) // what wraps one may do more than that
	return tcp
}

// rest takes all that came ahead.
func (a *ahead) rest() []byte {
	if !a.held() {
		return nil
	}
	b := slices.Clone(a.buf[a.r:a.w])
	a.r = a.w
	a.releaseIfEmpty()
	return b
}

// unseal gives nothing: the bytes are the tunnel's.
func (h *held) unseal() codec { return plainCodec{} }

// unseal exchanges the connection below crypto/tls for one in memory.
func (s *tlsStream) unseal() codec {
	c := &stdCodec{conn: s.Conn, early: s.in.rest(), fresh: true}
	c.mem.records = s.wire.records
	s.wire.open()
	s.wire.Conn = &c.mem
	return c
}

// unseal takes the layer out from under the blocking form.
func (s *directStream) unseal() codec {
	_, plain, ahead := s.Conn.Release()
	s.codec.early, s.codec.ahead = append(s.in.rest(), plain...), ahead
	return s.codec
}
