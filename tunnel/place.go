package tunnel

import "sync"

// place is what a tunnel has at its server once it was handed to somebody else's
// goroutines: the server's way to end it, and its way to tell the server.
type place struct {
	server  *Server
	visitor *visitor
	serving *sync.WaitGroup // of the Serve that it came through
}

// lease makes t the one to end, in place of the connection. What set-up needed is
// let go of.
func (p *place) lease(t Tunnel) (over func()) {
	p.serving.Add(1)
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	v := p.visitor
	v.conn, v.tunnel = nil, t
	if p.server.state == stateClosed {
		go t.Abort() // who closed the server has not seen it
	}
	return func() {
		p.server.leave(v)
		p.serving.Done()
	}
}
