package epoll

// slots is the table of who is registered. A slot is used again by whoever
// comes next, under another generation:
//
//	       put                      take
//	free ───────▶ held, generation g ───────▶ free, generation g+1
//
// The table grows to the largest number that was ever in at once, 32 bytes each.
// A token's 31 bits name more slots than there are descriptors, of which each
// takes two.
type slots struct {
	table []slot
	free  uint32 // the first free slot, plus one; zero: there is none
	held  int
}

type slot struct {
	owner      Owner // nil: the slot is free
	fds        [2]int32
	generation uint32 // what an event must carry to be for the slot's tenant
	next       uint32 // of a free slot: the next one, plus one
}

// put gives the owner a slot. Called with the poller's mutex held, like all
// methods.
func (s *slots) put(o Owner, fds [2]int) Token {
	i := s.free
	if i == 0 {
		s.table = append(s.table, slot{generation: 1})
		i = uint32(len(s.table))
	} else {
		s.free = s.table[i-1].next
	}
	t := &s.table[i-1]
	t.owner, t.fds, t.next = o, [2]int32{int32(fds[0]), int32(fds[1])}, 0
	s.held++
	return token(i-1, t.generation)
}

// owner returns whom the token names, or nil if that one has gone.
func (s *slots) owner(t Token) Owner {
	if held := s.find(t); held != nil {
		return held.owner
	}
	return nil
}

// take frees the token's slot and returns its descriptors, if it is still held.
//
// The generation may come round again after 2³² tenants. An event that is older
// than that would have to have waited while all of them came and went, in a
// buffer of 256.
func (s *slots) take(t Token) (fds [2]int, ok bool) {
	held := s.find(t)
	if held == nil {
		return fds, false
	}
	fds = [2]int{int(held.fds[0]), int(held.fds[1])}
	*held = slot{generation: max(held.generation+1, 1), next: s.free} // zero is left out: no token is zero
	s.free = t.slot() + 1
	s.held--
	return fds, true
}

func (s *slots) find(t Token) *slot {
	if i := t.slot(); int64(i) < int64(len(s.table)) {
		if held := &s.table[i]; held.owner != nil && held.generation == t.generation() {
			return held
		}
	}
	return nil
}

func token(slot, generation uint32) Token {
	return Token(generation)<<32 | Token(slot)<<1
}

func (t Token) generation() uint32 { return uint32(t >> 32) }
func (t Token) slot() uint32       { return uint32(t) >> 1 }
func (t Token) side() int          { return int(t & 1) }
