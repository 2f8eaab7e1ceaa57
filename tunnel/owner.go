package tunnel

import "sync"

// Owner is who a connection that carries many tunnels belongs to: whoever presents
// the first good credential on it. The zero Owner is nobody yet.
type Owner struct {
	mu  sync.Mutex
	who any
}

// Is tells whether the connection is who's, and makes it so if it is nobody's. It is
// everybody's on a nil Owner, that of a connection with one tunnel. Who must be
// comparable, and not nil.
func (o *Owner) Is(who any) bool {
	if o == nil {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.who == nil {
		o.who = who
	}
	return o.who == who
}
