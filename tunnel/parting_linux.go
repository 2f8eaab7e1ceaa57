package tunnel

// farewell is how a tunnel's peers learn of its end.
type farewell uint8

const (
	saysGoodbye farewell = iota
	breaksOff            // as Break does: they get everything, and then no good end
	forgets              // as Abort does
)

// close ends the tunnel on both sides. The descriptors of one that breaks off are left
// to settle. Called with mu held.
func (t *parked) close(how farewell) {
	t.relays.poller.Remove(t.token)
	t.relays.due.Clear(&t.due)
	if how != forgets && t.down.load == nil {
		t.sayGoodbye(how)
	}
	for _, f := range []*flow{&t.up, &t.down} {
		t.drop(f)
	}
	_, isPlain := t.codec.(plainCodec)
	t.codec.wipe()
	t.codec = nil
	t.over, t.parting = true, true
	t.client.ended = how == saysGoodbye || how == breaksOff && !isPlain
	t.service.ended = how == saysGoodbye
	switch {
	case how != breaksOff:
		t.part(false)
	case t.client.ended:
		_ = t.client.closeWrite() // it may have failed, which is as good
	}
}

// sayGoodbye sends the client what ends our direction, if it takes it at once.
func (t *parked) sayGoodbye(how farewell) {
	l := t.codec.owed()
	if l == nil {
		l = takeLoad(false)
	}
	defer l.release()
	_ = t.codec.end(l, how == breaksOff) // it has nothing to say then
	if l.left > 0 && t.client.writable {
		_, _ = t.client.write(l.pending())
	}
}

// part closes the descriptors, if that has not been done. With forget both peers are
// sent a reset, and nothing else. Called with mu held.
func (t *parked) part(forget bool) {
	if !t.parting {
		return
	}
	t.parting = false
	t.client.close(forget || !t.client.ended)
	t.service.close(forget || !t.service.ended)
}

// owesPeers is how much there is to wait for before part.
func (t *parked) owesPeers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.parting {
		return 0
	}
	return unsent(t.client.fd) + unsent(t.service.fd)
}

// settle tells those who wait for the end. It waits until peers have what they are
// still to get, and nobody else does.
func (t *parked) settle() {
	awaitNone(t.owesPeers)
	t.mu.Lock()
	t.part(false)
	reason, err := t.ending.verdict()
	result := Result{Up: t.up.moved, Down: t.down.moved, Reason: reason, Err: err}
	ender, holder := t.ender, t.holder
	t.mu.Unlock()
	if holder != nil {
		defer holder.over()
	}
	defer t.relays.survive(func() {})
	ender.Ended(result)
}
