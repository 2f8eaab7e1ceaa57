package tunnel

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
	layer, plain, ahead := s.Conn.Release()
	return &directCodec{layer: layer, early: append(s.in.rest(), plain...), ahead: ahead}
}
