//go:build !linux

package tunnel

// park is for systems with epoll.
func (r *Relays) park(_, _ Stream, _ Limits) joined { return nil }
