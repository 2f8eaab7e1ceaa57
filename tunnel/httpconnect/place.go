package httpconnect

// place is a request's on its connection.
//
//	enter ─► pending ─ granted, open ─► tunnel ─► over
//	            └─────────────────────────────────►┘
//
// Only tunnels keep a connection: a client whose requests are refused, however many
// they are, is as good as none. nil is the place of a request that has a connection of
// its own.
type place struct {
	shared *shared
	stage  stage // the connection's mu guards it
}

// stage is how far a request has come. It only grows.
type stage uint8

const (
	stagePending stage = iota // no tunnel yet
	stageTunnel
	stageOver
)

// enter counts one more request; false means that there are too many. The library
// bounds those that the client has under way; some more may be over for the client,
// who has reset them, and not yet for the server.
func (s *shared) enter() (*place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= 2*s.carrier.config.MaxStreams || s.enough != nil && s.failures >= maxFailures {
		return nil, false
	}
	s.streams++
	return &place{shared: s}, true
}

// settled makes the request a tunnel.
func (p *place) settled() {
	if p == nil {
		return
	}
	s := p.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.stage != stagePending {
		return // it was ended in between
	}
	p.stage = stageTunnel
	s.tunnels++
	s.enough, s.lateUsed = nil, false
	if s.idle != nil {
		s.idle.Stop()
	}
}

// leave gives the place back. It may be called several times. A connection whose last
// tunnel was aborted is ended: whoever did it has a reason not to hear from this
// client again, whose ticket is revoked, or who takes nothing.
func (p *place) leave(aborted bool) {
	if p == nil {
		return
	}
	s := p.shared
	s.mu.Lock()
	was := p.stage
	p.stage = stageOver
	if was != stageOver {
		s.streams--
	}
	last := false
	if was == stageTunnel {
		s.tunnels--
		last = s.tunnels == 0
	}
	if last && s.idle != nil {
		s.idle.Reset(s.idleBound())
	}
	s.mu.Unlock()
	if last && aborted {
		s.end()
	}
}
