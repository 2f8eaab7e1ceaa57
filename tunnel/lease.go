package tunnel

// lease makes t the one to end, in place of the connection: it goes on without the
// goroutine that served it so far. What set-up needed is let go of.
func (v *visitor) lease(t Tunnel) {
	s := v.server
	v.serving.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	v.conn, v.cancel, v.tunnel = nil, nil, t // it is live, so nobody sheds it
	if s.state == stateClosed {
		go t.Abort() // who closed the server has not seen it
	}
}

// over is told when a leased tunnel has ended.
func (v *visitor) over() {
	v.server.leave(v)
	v.serving.Done()
}
