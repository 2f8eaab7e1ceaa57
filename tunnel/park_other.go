//go:build !linux

package tunnel

import "github.com/sallyport/sallyport/tunnel/record"

// directCodec is only where a stream's record layer is.
type directCodec struct{ layer record.Layer }

// park is for systems with epoll.
func (r *Relays) park(_, _ Stream, _ Limits) joined { return nil }
